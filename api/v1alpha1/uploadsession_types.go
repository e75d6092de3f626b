package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConflictPolicy says what happens when an object exists under the key.
// +kubebuilder:validation:Enum=Fail;Replace;Adopt
type ConflictPolicy string

const (
	// ConflictPolicyFail ends the session with reason KeyExists and leaves the existing object alone.
	ConflictPolicyFail ConflictPolicy = "Fail"
	// ConflictPolicyReplace replaces the existing object atomically.
	ConflictPolicyReplace ConflictPolicy = "Replace"
	// ConflictPolicyAdopt takes the existing object for the session's own where it has the size and the digest of
	// the spec: the session is published without a byte, with reason Adopted. Where it has not, the session
	// ends with reason KeyExists and leaves it alone.
	ConflictPolicyAdopt ConflictPolicy = "Adopt"
)

// CompletionMode says what starts verification and publication.
// +kubebuilder:validation:Enum=Automatic;Explicit
type CompletionMode string

const (
	// CompletionModeAutomatic completes the session as soon as every chunk is held.
	CompletionModeAutomatic CompletionMode = "Automatic"
	// CompletionModeExplicit waits for the client's complete call.
	CompletionModeExplicit CompletionMode = "Explicit"
)

// DigestAlgorithm is an algorithm for the digest of a whole object.
// +kubebuilder:validation:Enum=SHA256;BLAKE3
type DigestAlgorithm string

const (
	// DigestAlgorithmSHA256 is SHA-256, written 'sha256:'. It takes the bytes of an object in
	// order, so that chunks which come out of order are read back.
	DigestAlgorithmSHA256 DigestAlgorithm = "SHA256"
	// DigestAlgorithmBLAKE3 is BLAKE3 with 32 bytes, written 'blake3:'. Where the size of the
	// chunks is a power of two and at least 1024 bytes it takes them in any order.
	DigestAlgorithmBLAKE3 DigestAlgorithm = "BLAKE3"
)

// ReclaimPolicy says what becomes of the published object when its session is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type ReclaimPolicy string

const (
	// ReclaimPolicyRetain leaves the object under its key.
	ReclaimPolicyRetain ReclaimPolicy = "Retain"
	// ReclaimPolicyDelete removes the object that the session published from under its key. What
	// another session or anybody else has put there since stays.
	ReclaimPolicyDelete ReclaimPolicy = "Delete"
)

// DesiredState is what the user wants of a session.
// +kubebuilder:validation:Enum=Active;Suspended;Cancelled
type DesiredState string

const (
	// DesiredStateActive lets the session be admitted and take chunks.
	DesiredStateActive DesiredState = "Active"
	// DesiredStateSuspended keeps what is held and takes no chunks; its idle timeout stands still.
	DesiredStateSuspended DesiredState = "Suspended"
	// DesiredStateCancelled ends the session and frees its staged bytes. It can't be taken back.
	DesiredStateCancelled DesiredState = "Cancelled"
)

// UploadOutcome is how a session ended.
// +kubebuilder:validation:Enum=Published;Failed;Aborted;Expired
type UploadOutcome string

const (
	// UploadOutcomePublished means that the object is complete, verified and visible under its key.
	UploadOutcomePublished UploadOutcome = "Published"
	// UploadOutcomeFailed means that the object could not be verified or published.
	UploadOutcomeFailed UploadOutcome = "Failed"
	// UploadOutcomeAborted means that a client or the user ended the session.
	UploadOutcomeAborted UploadOutcome = "Aborted"
	// UploadOutcomeExpired means that a timeout passed.
	UploadOutcomeExpired UploadOutcome = "Expired"
)

// StoreReference names an UploadStore in the namespace of the session.
type StoreReference struct {
	// name is the name of the UploadStore, a DNS label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Label().validate(self).hasValue()",message="must be a DNS label: lower-case letters, digits and '-'"
	Name string `json:"name,omitempty"`
}

// UploadSessionSpec is what is to be uploaded, where to, and on what terms.
// It is immutable but for desiredState, the timeouts and ttlSecondsAfterFinished.
//
// +kubebuilder:validation:XValidation:rule="self.storeRef == oldSelf.storeRef",message="storeRef is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="self.key == oldSelf.key",message="key is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="self.sizeBytes == oldSelf.sizeBytes",message="sizeBytes is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="has(self.chunkSizeBytes) == has(oldSelf.chunkSizeBytes) && (!has(self.chunkSizeBytes) || self.chunkSizeBytes == oldSelf.chunkSizeBytes)",message="chunkSizeBytes is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="has(self.digest) == has(oldSelf.digest) && (!has(self.digest) || self.digest == oldSelf.digest)",message="digest is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="has(self.digestAlgorithm) == has(oldSelf.digestAlgorithm) && (!has(self.digestAlgorithm) || self.digestAlgorithm == oldSelf.digestAlgorithm)",message="digestAlgorithm is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="!has(self.digest) || !has(self.digestAlgorithm) || self.digest.startsWith(self.digestAlgorithm.lowerAscii() + ':')",message="digest must be of digestAlgorithm; give only one of them, or make them agree"
// +kubebuilder:validation:XValidation:rule="self.conflictPolicy == oldSelf.conflictPolicy",message="conflictPolicy is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="self.conflictPolicy != 'Adopt' || has(self.digest)",message="conflictPolicy Adopt needs digest, by which the existing object is known"
// +kubebuilder:validation:XValidation:rule="self.completion == oldSelf.completion",message="completion is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="self.reclaimPolicy == oldSelf.reclaimPolicy",message="reclaimPolicy is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="has(self.owner) == has(oldSelf.owner) && (!has(self.owner) || self.owner == oldSelf.owner)",message="owner is immutable; create another session"
// +kubebuilder:validation:XValidation:rule="has(self.uploaders) == has(oldSelf.uploaders) && (!has(self.uploaders) || self.uploaders == oldSelf.uploaders)",message="uploaders are immutable; create another session"
// +kubebuilder:validation:XValidation:rule="has(self.attributes) == has(oldSelf.attributes) && (!has(self.attributes) || self.attributes == oldSelf.attributes)",message="attributes are immutable; create another session"
// +kubebuilder:validation:XValidation:rule="oldSelf.desiredState != 'Cancelled' || self.desiredState == 'Cancelled'",message="desiredState can't leave Cancelled; create another session"
// +kubebuilder:validation:XValidation:rule="!has(self.chunkSizeBytes) || (self.sizeBytes + self.chunkSizeBytes - 1) / self.chunkSizeBytes <= 100000",message="a session has at most 100000 chunks; choose a larger chunkSizeBytes"
// +kubebuilder:validation:XValidation:rule="oldSelf.hasValue() || !has(self.chunkSizeBytes) || self.chunkSizeBytes >= 4096 || self.sizeBytes <= self.chunkSizeBytes * 1000",optionalOldSelf=true,message="chunks of a session that has more than 1000 have at least 4096 bytes; choose a larger chunkSizeBytes"
type UploadSessionSpec struct {
	// storeRef names the UploadStore, in the same namespace, that takes the object. Immutable.
	// +required
	StoreRef StoreReference `json:"storeRef,omitzero"`

	// key is where the object appears in the store: a relative slash-separated path with no
	// empty, '.' or '..' element, of at most 1024 bytes, each element at most 255 bytes, without
	// backslash, control character, line separator, direction mark and U+FFFD, which stands for bytes that were no text. Its first element must not be '.slipway'. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 1024",message="must be at most 1024 bytes long"
	// +kubebuilder:validation:XValidation:rule="self.split('/').all(e, e != '' && e != '.' && e != '..')",message="must be a relative path with no empty, '.' or '..' element"
	// +kubebuilder:validation:XValidation:rule="self.split('/').all(e, size(bytes(e)) <= 255)",message="each element must be at most 255 bytes long"
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{061C}\\x{200E}\\x{200F}\\x{202A}-\\x{202E}\\x{2066}-\\x{2069}\\x{FFFD}\\\\]')",message="must not hold a control character, a line separator, a direction mark, U+FFFD or a backslash"
	// +kubebuilder:validation:XValidation:rule="self.split('/')[0].lowerAscii() != '.slipway'",message="'.slipway' is reserved"
	Key string `json:"key,omitempty"`

	// sizeBytes is the exact size of the object in bytes, from 0 to 2^47 (128 TiB). Immutable.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=140737488355328
	SizeBytes *int64 `json:"sizeBytes,omitempty"`

	// chunkSizeBytes is the size of every chunk but the last in bytes, from 1 byte to 1 GiB, and at least
	// 4096 bytes where there are more than 1000 chunks: the volume keeps 32 bytes of each.
	// Without it the store's default counts; status.admission.chunkSizeBytes says what holds. Immutable.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1073741824
	ChunkSizeBytes int64 `json:"chunkSizeBytes,omitempty"`

	// digest is the digest of the whole object as 'sha256:' or 'blake3:' and 64 lower-case hex
	// digits. Without it the object's digest is computed and recorded, or compared to the one
	// that the complete call sends. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^(sha256|blake3):[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`

	// digestAlgorithm is the algorithm of the object's digest: SHA256 or BLAKE3. Without it that
	// of digest counts, or SHA256 where there is no digest either. Where both are given they
	// agree. The digest that the complete call sends must be of this algorithm. Immutable.
	// +optional
	DigestAlgorithm DigestAlgorithm `json:"digestAlgorithm,omitempty"`

	// conflictPolicy says what happens when an object exists under the key: Fail (the default),
	// Replace, or Adopt, which takes an object that has sizeBytes and digest for this session's, and
	// fails where it has not. Adopt needs digest. The object stays that of the session which published
	// it: reclaimPolicy does not concern an adopted one. Immutable.
	// +optional
	// +default="Fail"
	ConflictPolicy ConflictPolicy `json:"conflictPolicy,omitempty"`

	// completion says what starts verification and publication: Automatic (the default), as
	// soon as every chunk is held, or Explicit, the client's complete call. Immutable.
	// +optional
	// +default="Automatic"
	Completion CompletionMode `json:"completion,omitempty"`

	// owner is whose session it is, as the API server names its users, of 1 to 512 characters, without
	// those that a key may not have but for the backslash. The
	// limits for each owner of an UploadQuota count by it; all sessions of a namespace without one
	// count as one owner. The policies of config/policy write it at creation and let nobody choose
	// another; without them whoever creates the session does. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{061C}\\x{200E}\\x{200F}\\x{202A}-\\x{202E}\\x{2066}-\\x{2069}\\x{FFFD}]')",message="must not hold a control character, a line separator, a direction mark or U+FFFD"
	Owner string `json:"owner,omitempty"`

	// uploaders are ServiceAccounts of the namespace, at most 16, who may send, read and end the session as
	// its owner may, in a store whose spec.access is Owner; each a name of at most 253 characters.
	// RBAC has to let them too. None by default. Immutable.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a ServiceAccount"
	Uploaders []string `json:"uploaders,omitempty"`

	// attributes are kept with the object: at most 16 pairs, keys of 1 to 63 letters, digits,
	// '.', '_' and '-', values of at most 256 characters, without those that a key may not have
	// but for the backslash. Immutable.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[A-Za-z0-9._-]{1,63}$'))",message="attribute names have 1 to 63 letters, digits, '.', '_' or '-'"
	Attributes map[string]AttributeValue `json:"attributes,omitempty"`

	// desiredState is what the user wants: Active (the default), Suspended (keeps what is held,
	// takes no chunks) or Cancelled (ends the session; can't be taken back).
	// +optional
	// +default="Active"
	DesiredState DesiredState `json:"desiredState,omitempty"`

	// idleTimeoutSeconds ends the session this many seconds after the last accepted byte, or
	// after admission when none came, from 10 seconds to 30 days. Without it the store's default
	// counts; the store may have a limit. A chunk in flight always wins.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	IdleTimeoutSeconds int32 `json:"idleTimeoutSeconds,omitempty"`

	// activeDeadlineSeconds ends the session this many seconds after its admission, whether or
	// not bytes arrive, from 10 seconds to 30 days. The time during which the session is suspended
	// does not count, up to the store's limits.maxSuspendedSeconds. Without it the store's default
	// counts; the store may have a limit. status.expirationTime says what holds.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	ActiveDeadlineSeconds int32 `json:"activeDeadlineSeconds,omitempty"`

	// queueDeadlineSeconds ends the session, with reason QueueDeadlineExceeded, this many seconds after
	// status.startTime if it has not been admitted by then, whatever it waits for and also while it is
	// suspended, from 10 seconds to 30 days. Default 604800, 7 days.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	QueueDeadlineSeconds int32 `json:"queueDeadlineSeconds,omitempty"`

	// reclaimPolicy says what becomes of the published object when the session is deleted, by
	// whomever and also by ttlSecondsAfterFinished: Retain (the default) leaves it under its key,
	// Delete removes it, unless something else was put there since. Immutable.
	// +optional
	// +default="Retain"
	ReclaimPolicy ReclaimPolicy `json:"reclaimPolicy,omitempty"`

	// ttlSecondsAfterFinished deletes the session this many seconds after it ended, from 0 to
	// 30 days, and with reclaimPolicy Delete the published object too. A minute passes in any case, so
	// that a client whose reply was lost can ask how the session ended. Without it the default that
	// the store had at the session's admission counts; without that too, the resource is kept.
	// Staged bytes are freed at the end either way.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// AttributeValue is the value of one attribute: text without control characters, line
// separators, direction marks and U+FFFD.
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="!self.matches(r'[\\p{Cc}\\p{Zl}\\p{Zp}\\x{061C}\\x{200E}\\x{200F}\\x{202A}-\\x{202E}\\x{2066}-\\x{2069}\\x{FFFD}]')",message="must not hold a control character, a line separator, a direction mark or U+FFFD"
type AttributeValue string

// UploadSessionAdmission is what the operator granted.
type UploadSessionAdmission struct {
	// replica is the dataplane replica that holds the session.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Replica string `json:"replica,omitempty"`

	// endpoint is the base URL of that replica.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self)",message="must be a URL"
	Endpoint string `json:"endpoint,omitempty"`

	// chunkSizeBytes is the size of every chunk but the last: the session's own or the store's default.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1073741824
	ChunkSizeBytes int64 `json:"chunkSizeBytes,omitempty"`

	// idleTimeoutSeconds is the store's default at admission; spec.idleTimeoutSeconds comes before it.
	// +required
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	IdleTimeoutSeconds int32 `json:"idleTimeoutSeconds,omitempty"`

	// activeDeadlineSeconds is the store's default at admission; spec.activeDeadlineSeconds comes before it.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	ActiveDeadlineSeconds int32 `json:"activeDeadlineSeconds,omitempty"`

	// ttlSecondsAfterFinished is the store's default at admission, if it had one;
	// spec.ttlSecondsAfterFinished comes before it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// maxIdleTimeoutSeconds is the store's limit at admission, if it had one; no idle timeout is longer.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	MaxIdleTimeoutSeconds int32 `json:"maxIdleTimeoutSeconds,omitempty"`

	// maxActiveDeadlineSeconds is the store's limit at admission, if it had one; no deadline is later.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	MaxActiveDeadlineSeconds int32 `json:"maxActiveDeadlineSeconds,omitempty"`

	// maxSuspendedSeconds is the store's limit at admission: for how long in all the deadline stands
	// still while the session is suspended.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	MaxSuspendedSeconds int32 `json:"maxSuspendedSeconds,omitempty"`

	// access is Owner where the store's spec.access was that at admission.
	// +optional
	Access StoreAccess `json:"access,omitempty"`

	// reservedBytes is how much of the volume is reserved for the session.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=140737488355328
	ReservedBytes *int64 `json:"reservedBytes,omitempty"`

	// admittedTime is when the session was admitted.
	// +required
	AdmittedTime metav1.Time `json:"admittedTime,omitzero"`
}

// UploadSessionProgress is how far an upload is. It follows the dataplane with
// a delay of seconds; the dataplane's own status is live.
type UploadSessionProgress struct {
	// receivedBytes is how many bytes of whole chunks are held durably.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=140737488355328
	ReceivedBytes *int64 `json:"receivedBytes,omitempty"`

	// receivedChunks is how many chunks are held durably.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	ReceivedChunks *int32 `json:"receivedChunks,omitempty"`

	// totalChunks is how many chunks the object has; an empty object has none.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	TotalChunks *int32 `json:"totalChunks,omitempty"`

	// percent is receivedBytes of the object's size in whole percent, rounded down.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *int32 `json:"percent,omitempty"`

	// lastActivityTime is when the last byte was accepted.
	// +optional
	LastActivityTime metav1.Time `json:"lastActivityTime,omitzero"`
}

// UploadSessionResult is how the session ended on the volume. Once it is there
// no staged byte is left and it does not change.
//
// +kubebuilder:validation:XValidation:rule="self.outcome != 'Published' || (has(self.key) && has(self.sizeBytes) && has(self.digest) && has(self.publishedTime))",message="a published result has key, sizeBytes, digest and publishedTime"
type UploadSessionResult struct {
	// outcome is how the session ended: Published, Failed, Aborted or Expired.
	// +required
	Outcome UploadOutcome `json:"outcome,omitempty"`

	// reason is why, in CamelCase, for machines; it becomes the reason of condition Succeeded.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z0-9]*$`
	Reason string `json:"reason,omitempty"`

	// message is why and what to do next, for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// key is where the object was published.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Key string `json:"key,omitempty"`

	// sizeBytes is the size of the published object.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=140737488355328
	SizeBytes *int64 `json:"sizeBytes,omitempty"`

	// digest is the verified digest of the published object, 'sha256:' or 'blake3:' and 64
	// lower-case hex digits.
	// +optional
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^(sha256|blake3):[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`

	// publishedTime is when the object appeared under its key, or when it was adopted.
	// +optional
	PublishedTime metav1.Time `json:"publishedTime,omitzero"`

	// finishedTime is when the session ended.
	// +required
	FinishedTime metav1.Time `json:"finishedTime,omitzero"`
}

// UploadSessionDisplay is what kubectl get shows of a session, short enough for a table.
// +kubebuilder:validation:MinProperties=1
type UploadSessionDisplay struct {
	// key is spec.key; of one of more than 40 bytes both ends, with '…' between them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Key string `json:"key,omitempty"`

	// owner is spec.owner; of one of more than 40 bytes both ends, with '…' between them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Owner string `json:"owner,omitempty"`

	// message is the message of condition Succeeded; one of more than 100 bytes ends with '…'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	Message string `json:"message,omitempty"`
}

// UploadSessionStatus is what is known of a session. The operator writes
// conditions, admission, display, its times and observedGeneration; the dataplane writes
// progress, result and reclaimedTime.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.admission) || (has(self.admission) && self.admission == oldSelf.admission)",message="admission is written once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.result) || (has(self.result) && self.result == oldSelf.result)",message="result is written once"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.reclaimedTime) || (has(self.reclaimedTime) && self.reclaimedTime == oldSelf.reclaimedTime)",message="reclaimedTime is written once"
type UploadSessionStatus struct {
	// conditions are Admitted (a replica and the room are granted), AcceptingChunks (chunks are taken now),
	// Succeeded (Unknown while the session is active; its reason says how it stands), Ready (the object
	// is published) and, once the session ended without an object, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// admission is what the operator granted; written once, by the operator.
	// +optional
	Admission UploadSessionAdmission `json:"admission,omitzero"`

	// progress is how far the upload is; written by the dataplane, at most every few seconds.
	// +optional
	Progress UploadSessionProgress `json:"progress,omitzero"`

	// result is how the session ended on the volume; written once, by the dataplane.
	// +optional
	Result UploadSessionResult `json:"result,omitzero"`

	// reclaimedTime is when the dataplane had removed the published object of a session that is
	// being deleted and whose reclaimPolicy is Delete, or had found that something else is under
	// its key; written once, by the dataplane.
	// +optional
	ReclaimedTime metav1.Time `json:"reclaimedTime,omitzero"`

	// display is what kubectl get shows of the session, written by the operator. Programs read what it is short for.
	// +optional
	Display UploadSessionDisplay `json:"display,omitzero"`

	// startTime is when the operator first saw the session.
	// +optional
	StartTime metav1.Time `json:"startTime,omitzero"`

	// expirationTime is the absolute deadline: admission plus spec.activeDeadlineSeconds or the
	// store's default, within the store's limit, plus how long the session was suspended. Of a
	// session that is suspended it is when it ends if it stays so.
	// +optional
	ExpirationTime metav1.Time `json:"expirationTime,omitzero"`

	// suspendedTime is since when the session is suspended, as the operator saw it; absent while it
	// is not, and before its admission.
	// +optional
	SuspendedTime metav1.Time `json:"suspendedTime,omitzero"`

	// suspendedSeconds is how long the session was suspended after its admission, until it was last resumed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	SuspendedSeconds *int32 `json:"suspendedSeconds,omitempty"`

	// completionTime is when the session ended in whatever way.
	// +optional
	CompletionTime metav1.Time `json:"completionTime,omitzero"`

	// observedGeneration is the generation of the spec that the operator last acted on; -1 before it
	// has, so that tools which compare it with metadata.generation know that.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
}

// UploadSession is one resumable upload of one object.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=upl,categories=slipway
// +kubebuilder:selectablefield:JSONPath=`.spec.storeRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.owner`
// +kubebuilder:selectablefield:JSONPath=`.status.admission.replica`
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.storeRef.name`
// +kubebuilder:printcolumn:name="Key",type=string,JSONPath=`.status.display.key`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Percent",type=integer,JSONPath=`.status.progress.percent`
// +kubebuilder:printcolumn:name="Size",type=integer,JSONPath=`.spec.sizeBytes`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Received",type=integer,JSONPath=`.status.progress.receivedBytes`,priority=1
// +kubebuilder:printcolumn:name="Replica",type=string,JSONPath=`.status.admission.replica`,priority=1
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.status.display.owner`,priority=1
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.result.digest`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.display.message`,priority=1
type UploadSession struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is to be uploaded.
	// +required
	Spec UploadSessionSpec `json:"spec,omitzero"`

	// status is what is known of the upload.
	// +optional
	// +default={"observedGeneration": -1}
	Status UploadSessionStatus `json:"status,omitzero"`
}

// UploadSessionList is a list of UploadSessions.
//
// +kubebuilder:object:root=true
type UploadSessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []UploadSession `json:"items"`
}
