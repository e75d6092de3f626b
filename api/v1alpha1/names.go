package v1alpha1

// Condition types.
const (
	// ConditionAdmitted is True once a replica and the room for the session are granted.
	ConditionAdmitted = "Admitted"
	// ConditionAcceptingChunks is True while a session takes chunks.
	ConditionAcceptingChunks = "AcceptingChunks"
	// ConditionReady is True once the object of a session is published, or while a store takes
	// sessions: what the resource is for is there. Tools such as Helm and Flux wait for it.
	ConditionReady = "Ready"
	// ConditionStalled is True once a session ended without an object, and missing otherwise, as
	// kstatus has it: tools stop waiting for Ready.
	ConditionStalled = "Stalled"
	// ConditionSucceeded is Unknown while a session is active, True once its object is
	// published, False once it ended in any other way.
	ConditionSucceeded = "Succeeded"
)

// Reasons of the conditions of an UploadSession. While a session is active the
// reason of Succeeded says what it waits for.
const (
	// ReasonAdmitted means that a replica and the room are granted.
	ReasonAdmitted = "Admitted"
	// ReasonCounting is why a UploadQuota is Ready: sessions are admitted within it.
	ReasonCounting = "Counting"
	// ReasonStoreNotFound means that no UploadStore has the name that storeRef gives.
	ReasonStoreNotFound = "StoreNotFound"
	// ReasonStoreNotReady means that the store has no live replica.
	ReasonStoreNotReady = "StoreNotReady"
	// ReasonInsufficientSpace means that the volume has no room for the object now.
	ReasonInsufficientSpace = "InsufficientSpace"
	// ReasonQuotaExceeded means that an UploadQuota which queues has no room for the session now.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonQuotaRejected means that an UploadQuota which rejects had no room for the session. Terminal.
	ReasonQuotaRejected = "QuotaRejected"
	// ReasonQueueDeadlineExceeded means that the session was not admitted within queueDeadlineSeconds. Terminal.
	ReasonQueueDeadlineExceeded = "QueueDeadlineExceeded"
	// ReasonExceedsStoreLimits means that the session asks for more than the store allows. Terminal.
	ReasonExceedsStoreLimits = "ExceedsStoreLimits"
	// ReasonUploading means that the session takes chunks.
	ReasonUploading = "Uploading"
	// ReasonReplicaNotReady means that the replica which holds the session is not alive; the
	// session waits for it to come back.
	ReasonReplicaNotReady = "ReplicaNotReady"
	// ReasonSuspended means that desiredState is Suspended.
	ReasonSuspended = "Suspended"
	// ReasonCancelling means that desiredState is Cancelled and the replica has not confirmed yet.
	ReasonCancelling = "Cancelling"
	// ReasonDeleting means that the resource is being deleted and the replica has not confirmed yet.
	ReasonDeleting = "Deleting"
	// ReasonExpiring means that a timeout passed and the replica has not confirmed yet.
	ReasonExpiring = "Expiring"
	// ReasonFinished means that the session ended.
	ReasonFinished = "Finished"
)

// Reasons of a result, and so of condition Succeeded once a session has ended.
const (
	// ReasonPublished means that the object is complete, verified and visible under its key.
	ReasonPublished = "Published"
	// ReasonAdopted means that the object was under the key already, and conflictPolicy is Adopt.
	ReasonAdopted = "Adopted"
	// ReasonCancelled means that desiredState became Cancelled.
	ReasonCancelled = "Cancelled"
	// ReasonDeleted means that the resource was deleted while it was active.
	ReasonDeleted = "Deleted"
	// ReasonAborted means that a client aborted the upload.
	ReasonAborted = "Aborted"
	// ReasonIdleTimeout means that no byte was accepted for the idle timeout.
	ReasonIdleTimeout = "IdleTimeout"
	// ReasonDeadlineExceeded means that activeDeadlineSeconds passed.
	ReasonDeadlineExceeded = "DeadlineExceeded"
	// ReasonDigestMismatch means that the bytes held do not have the digest that spec.digest gives.
	ReasonDigestMismatch = "DigestMismatch"
	// ReasonKeyExists means that an object exists under the key and conflictPolicy is Fail, or Adopt and it is another one.
	ReasonKeyExists = "KeyExists"
	// ReasonKeyUnusable means that no object can be published under the key, for example because
	// one of its parents is an object.
	ReasonKeyUnusable = "KeyUnusable"
	// ReasonStoreGone means that the store was deleted while the session was active.
	ReasonStoreGone = "StoreGone"
)

// ReasonReplicaGone is the reason of a session that ended because its replica is gone for good:
// see GoneForGoodAnnotation.
const ReasonReplicaGone = "ReplicaGone"

// ReasonStagedBytesLeft is the reason of the event that tells of a deleted session whose replica
// did not confirm in time that its staged bytes are freed.
const ReasonStagedBytesLeft = "StagedBytesLeft"

// ReasonObjectLeft is the reason of the event that tells of a deleted session with reclaimPolicy
// Delete whose replica did not confirm in time that its object is removed.
const ReasonObjectLeft = "ObjectLeft"

// Reasons of condition Ready of an UploadStore.
const (
	// ReasonDataplaneReady means that at least one replica is alive.
	ReasonDataplaneReady = "DataplaneReady"
	// ReasonDataplaneMissing means that no replica has ever renewed a Lease for the store.
	ReasonDataplaneMissing = "DataplaneMissing"
	// ReasonDataplaneLost means that every replica's Lease has run out.
	ReasonDataplaneLost = "DataplaneLost"
	// ReasonInvalidReport means that a replica's Lease does not carry what it should.
	ReasonInvalidReport = "InvalidReport"
	// ReasonClaimInUse means that another store, which was created first, has the claim.
	ReasonClaimInUse = "ClaimInUse"
)

// Reasons of condition Ready of a Managed store. With DataplaneReady and ClaimInUse they are all that it has. While
// sessions are taken the condition is True, and another reason than DataplaneReady says what is not
// yet as the spec asks for.
const (
	// ReasonClaimNotFound means that the claim does not exist.
	ReasonClaimNotFound = "ClaimNotFound"
	// ReasonClaimNotBound means that the claim has no volume.
	ReasonClaimNotBound = "ClaimNotBound"
	// ReasonClaimNotShared means that more replicas are asked for than the claim, which is not
	// ReadWriteMany, lets run.
	ReasonClaimNotShared = "ClaimNotShared"
	// ReasonObjectInTheWay means that an object under one of the names that the store needs is
	// somebody else's.
	ReasonObjectInTheWay = "ObjectInTheWay"
	// ReasonDataplaneRefused means that the API server refuses one of the store's objects.
	ReasonDataplaneRefused = "DataplaneRefused"
	// ReasonPodRefused means that the API server refuses the replica's Pod, by a quota for example.
	ReasonPodRefused = "PodRefused"
	// ReasonPodUnschedulable means that no node takes a replica's Pod.
	ReasonPodUnschedulable = "PodUnschedulable"
	// ReasonImageNotPulled means that the image of a replica can't be pulled.
	ReasonImageNotPulled = "ImageNotPulled"
	// ReasonDataplaneFailing means that a replica's container ends again and again, or can't be started.
	ReasonDataplaneFailing = "DataplaneFailing"
	// ReasonDataplaneStarting means that a replica is on its way.
	ReasonDataplaneStarting = "DataplaneStarting"
	// ReasonRollingOut means that some replicas are not as the spec says yet.
	ReasonRollingOut = "RollingOut"
	// ReasonUpdatePending means that the Pods are as an earlier version of the operator had them, and
	// wait for their turn or for a change of the spec.
	ReasonUpdatePending = "UpdatePending"
	// ReasonScalingDown means that replicas go once their sessions have ended.
	ReasonScalingDown = "ScalingDown"
	// ReasonStoreDeleting means that the store is being deleted, and waits for its sessions to end.
	ReasonStoreDeleting = "StoreDeleting"
)

// ReasonSecretInTheWay is the reason of the event that tells a store of a Secret under one of the
// names that the operator needs which is somebody else's.
const ReasonSecretInTheWay = "SecretInTheWay"

// ReasonSecretReplaced is the reason of the event that tells a store of a Secret that somebody made beforehand, with the
// operator's label, under one of the names that it needs: it is deleted and made anew.
const ReasonSecretReplaced = "SecretReplaced"

// SelectStore is the selectable field of an UploadSession that names its store.
const SelectStore = "spec.storeRef.name"

// StagingFinalizer keeps a deleted session until its replica has freed the
// staged bytes and, with reclaimPolicy Delete, removed the object, or a bounded time has passed.
const StagingFinalizer = "uploads.slipway.dev/staging"

// StoreFinalizer keeps a deleted Managed store until none of its sessions is active and what it
// has outside its namespace is removed.
const StoreFinalizer = "uploads.slipway.dev/store"

// AppliedAnnotation has the digest of what the operator asks for of an object that it keeps for a
// Managed store.
const AppliedAnnotation = "uploads.slipway.dev/applied"

// ReplicasServiceName names the headless Service of a Managed store, under which each replica has
// a name of its own.
func ReplicasServiceName(store string) string { return store + "-replicas" }

// FingerprintAnnotation has the digest of the spec with which a client had a dataplane create the
// session, so that the same idempotency key with another spec is found out.
const FingerprintAnnotation = "uploads.slipway.dev/request-fingerprint"

// Field managers of server-side apply. The two never own the same field.
const (
	// OperatorFieldManager owns the status but for progress and result.
	OperatorFieldManager = "slipway-operator"
	// DataplaneFieldManager owns status.progress, status.result and status.reclaimedTime.
	DataplaneFieldManager = "slipway-dataplane"
)

// TokenAudience is what a client's token must have been issued for: one store, so that whoever runs
// the dataplane of another store can do nothing at this one with the tokens that are shown to them.
func TokenAudience(namespace, store string) string {
	return GroupVersion.Group + "/" + namespace + "/" + store
}

// A dataplane replica shows that it is alive by renewing a Lease in the
// namespace of its store, which carries these labels and annotations. The
// Lease's name is LeaseNamePrefix and the replica's name.
const (
	// LeaseNamePrefix comes before the replica's name in the name of its Lease.
	LeaseNamePrefix = "slipway-"
	// StoreLabel names the store that a Lease belongs to.
	StoreLabel = "uploads.slipway.dev/store"
	// EndpointAnnotation is the replica's base URL.
	EndpointAnnotation = "uploads.slipway.dev/endpoint"
	// CapacityBytesAnnotation is the size of the replica's volume in bytes, decimal.
	CapacityBytesAnnotation = "uploads.slipway.dev/capacity-bytes"
	// AvailableBytesAnnotation is what is available on the replica's volume in bytes, decimal.
	AvailableBytesAnnotation = "uploads.slipway.dev/available-bytes"
	// CABundleAnnotation is what clients trust when they call the replica: certificates in PEM,
	// at most MaxCABundleBytes. Without it there is nothing that they need be told.
	CABundleAnnotation = "uploads.slipway.dev/ca-bundle"
	// GoneForGoodAnnotation says that the replica never comes back, nor its volume. Whoever knows
	// that puts it on the Lease, with the Lease's holderIdentity as its value: it is about that
	// process, and means nothing once another one holds the Lease.
	GoneForGoodAnnotation = "uploads.slipway.dev/gone-for-good"
)

// DefaultMaxSuspendedSeconds is for how long in all the deadline of a suspended session stands still,
// where its admission does not say.
const DefaultMaxSuspendedSeconds = 604800

// DefaultActiveDeadlineSeconds is the deadline of a session where neither it nor its admission
// names one, as an earlier version may have left it.
const DefaultActiveDeadlineSeconds = 86400

// DefaultQueueDeadlineSeconds is how long a session that does not say waits to be admitted: 7 days.
const DefaultQueueDeadlineSeconds = 604800

// MaxChunks is the largest number of chunks of a session.
const MaxChunks = 100000

// FewChunks is how many chunks a session may have whatever their size; where it has more, each but the
// last has at least MinChunkBytes bytes.
const (
	FewChunks     = 1000
	MinChunkBytes = 4096
)

// MaxCABundleBytes bounds what one replica tells clients to trust, in bytes.
const MaxCABundleBytes = 16 << 10
