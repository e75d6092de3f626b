package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DataplaneMode says who starts the dataplane of a store.
// +kubebuilder:validation:Enum=Managed;Sidecar
type DataplaneMode string

const (
	// DataplaneModeManaged means that the operator runs the dataplane, as a StatefulSet.
	DataplaneModeManaged DataplaneMode = "Managed"
	// DataplaneModeSidecar means that somebody else starts the dataplane, such as a Pod that
	// carries it beside its own containers.
	DataplaneModeSidecar DataplaneMode = "Sidecar"
)

// StoreAccess says who may send, read and end the sessions of a store.
// +kubebuilder:validation:Enum=Namespace;Owner
type StoreAccess string

const (
	// StoreAccessNamespace means that RBAC alone decides: whoever has the right in the namespace.
	StoreAccessNamespace StoreAccess = "Namespace"
	// StoreAccessOwner means that besides RBAC a session is only for its owner and its uploaders.
	StoreAccessOwner StoreAccess = "Owner"
)

// UpdatePolicy says when the Pods of a Managed store follow an upgrade of the operator.
// +kubebuilder:validation:Enum=InTurn;OnChange
type UpdatePolicy string

const (
	// UpdatePolicyInTurn means that the stores of the cluster are updated one after another.
	UpdatePolicyInTurn UpdatePolicy = "InTurn"
	// UpdatePolicyOnChange means that the store's Pods stay as they are until the spec is changed.
	UpdatePolicyOnChange UpdatePolicy = "OnChange"
)

// VolumeSource is where a store keeps its objects.
type VolumeSource struct {
	// claimName names the PersistentVolumeClaim, in the same namespace, that is the volume.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a PersistentVolumeClaim"
	ClaimName string `json:"claimName,omitempty"`
}

// CertificateSpec is what the certificate that the operator makes for a dataplane is for, beside
// the names of the store's Service and Pods.
// +kubebuilder:validation:MinProperties=1
type CertificateSpec struct {
	// dnsNames are more DNS names of the dataplane, at most 32, each in lower case, at most 253
	// characters, and with at most a first label "*". None by default.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!isIP(self) && !format.dns1123Subdomain().validate(self.startsWith('*.') ? self.substring(2) : self).hasValue()",message="must be a DNS name in lower case, with at most a first label of *"
	DNSNames []string `json:"dnsNames,omitempty"`

	// ipAddresses are IP addresses of the dataplane, of version 4 or 6, at most 32. None by default.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=39
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="must be an IP address"
	IPAddresses []string `json:"ipAddresses,omitempty"`
}

// DataplaneSpec is how the dataplane of a store runs.
//
// +kubebuilder:validation:XValidation:rule="self.mode == 'Managed' || !has(self.replicas)",message="replicas is for mode Managed; how many Pods carry a sidecar is said where they are made"
// +kubebuilder:validation:XValidation:rule="self.mode == 'Managed' || !has(self.updatePolicy)",message="updatePolicy is for mode Managed; the Pods that carry a sidecar are your own"
// +kubebuilder:validation:XValidation:rule="self.mode == 'Managed' || !has(self.pod)",message="pod is for mode Managed; the Pods that carry a sidecar are your own"
type DataplaneSpec struct {
	// mode says who starts the dataplane. Managed: the operator runs a StatefulSet and a Service
	// of the store's name. Sidecar: your Pods carry it. Immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="mode is immutable; create another store"
	Mode DataplaneMode `json:"mode,omitempty"`

	// replicas is how many Pods the operator runs, from 1 to 64; for mode Managed. More than one
	// share the volume, so its claim must be ReadWriteMany: while it is not, one is run. Fewer than
	// before takes effect once no active session is left on those that go. Default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Replicas int32 `json:"replicas,omitempty"`

	// updatePolicy says when the Pods follow an upgrade of the operator, which brings another image or
	// other flags; for mode Managed. InTurn: the stores of the cluster are updated one after another, each when the
	// one before has its replicas ready again or 10 minutes have passed. OnChange: the Pods stay as they are
	// until the spec is changed, this field too. A change of the spec takes effect at once either way. Default InTurn.
	// +optional
	UpdatePolicy UpdatePolicy `json:"updatePolicy,omitempty"`

	// pod is how these Pods differ from the default; for mode Managed.
	// +optional
	Pod DataplanePod `json:"pod,omitzero"`

	// certificate is what else the dataplane's certificate is for. By default it is for the names
	// of the store's Service and Pods, for localhost, 127.0.0.1 and ::1.
	// +optional
	Certificate CertificateSpec `json:"certificate,omitzero"`
}

// StoreLimits bounds what a session may ask for.
// +kubebuilder:validation:MinProperties=1
type StoreLimits struct {
	// maxObjectBytes is the largest object in bytes, from 1 byte to 2^47 (128 TiB). Without it
	// only the room on the volume limits an object.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=140737488355328
	MaxObjectBytes int64 `json:"maxObjectBytes,omitempty"`

	// maxChunkBytes is the largest chunk size in bytes, from 1 byte to 1 GiB. Default 64 MiB.
	// +optional
	// +default=67108864
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1073741824
	MaxChunkBytes int64 `json:"maxChunkBytes,omitempty"`

	// minFreeBytes is how much of the volume no session may reserve, from 0 to 2^47 (128 TiB):
	// the room for what the filesystem and the sessions' own records take beside the objects.
	// Default 64 MiB.
	// +optional
	// +default=67108864
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=140737488355328
	MinFreeBytes *int64 `json:"minFreeBytes,omitempty"`

	// maxConcurrentChunks is how many chunks one replica receives at once, from 1 to 4096; memory
	// grows with it. For mode Managed: a sidecar is told by its flag --max-concurrent-chunks.
	// Default as that flag says, 64.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4096
	MaxConcurrentChunks int32 `json:"maxConcurrentChunks,omitempty"`

	// maxIdleTimeoutSeconds is the longest idle timeout in seconds, from 10 seconds to 30 days. A
	// session that asks for more, also later, gets this much. What holds at its admission holds
	// for a session to its end. Without it a session gets what it asks for.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	MaxIdleTimeoutSeconds int32 `json:"maxIdleTimeoutSeconds,omitempty"`

	// maxActiveDeadlineSeconds is the latest deadline in seconds after the admission, from 10
	// seconds to 30 days. A session that asks for more, also later, gets this much. What holds at
	// its admission holds for a session to its end. Without it a session gets what it asks for.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	MaxActiveDeadlineSeconds int32 `json:"maxActiveDeadlineSeconds,omitempty"`

	// maxSuspendedSeconds is for how long in all a session's deadline stands still while it is
	// suspended, from 10 seconds to 30 days: a suspended session keeps its bytes and its part of the
	// volume. What holds at its admission holds for a session to its end. Default 604800, 7 days.
	// +optional
	// +default=604800
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	MaxSuspendedSeconds int32 `json:"maxSuspendedSeconds,omitempty"`
}

// StoreDefaults is what holds for a session that does not say.
// +kubebuilder:validation:MinProperties=1
type StoreDefaults struct {
	// chunkSizeBytes is the chunk size of a session that names none, from 1 byte to 1 GiB.
	// Default 16 MiB.
	// +optional
	// +default=16777216
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1073741824
	ChunkSizeBytes int64 `json:"chunkSizeBytes,omitempty"`

	// idleTimeoutSeconds is the idle timeout of a session that names none, from 10 seconds to
	// 30 days. Default 1 hour.
	// +optional
	// +default=3600
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	IdleTimeoutSeconds int32 `json:"idleTimeoutSeconds,omitempty"`

	// activeDeadlineSeconds is the deadline of a session that names none, in seconds after its
	// admission, from 10 seconds to 30 days. Default 1 day.
	// +optional
	// +default=86400
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=2592000
	ActiveDeadlineSeconds int32 `json:"activeDeadlineSeconds,omitempty"`

	// ttlSecondsAfterFinished deletes a session that says nothing of it this many seconds after
	// it ended, from 0 to 30 days and a minute at least, if it was admitted while this was so. Without it
	// such a session is kept.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// UploadStoreSpec is a place to upload to: a volume, its dataplane, its limits.
//
// +kubebuilder:validation:XValidation:rule="self.volume == oldSelf.volume",message="volume is immutable; create another store"
// +kubebuilder:validation:XValidation:rule="self.dataplane.mode == 'Managed' || !has(self.limits.maxConcurrentChunks)",message="limits.maxConcurrentChunks is for mode Managed; set a sidecar's flag --max-concurrent-chunks"
// +kubebuilder:validation:XValidation:rule="self.defaults.chunkSizeBytes <= self.limits.maxChunkBytes",message="defaults.chunkSizeBytes must not exceed limits.maxChunkBytes"
// +kubebuilder:validation:XValidation:rule="!has(self.limits.maxIdleTimeoutSeconds) || self.defaults.idleTimeoutSeconds <= self.limits.maxIdleTimeoutSeconds",message="defaults.idleTimeoutSeconds must not exceed limits.maxIdleTimeoutSeconds"
// +kubebuilder:validation:XValidation:rule="!has(self.limits.maxActiveDeadlineSeconds) || self.defaults.activeDeadlineSeconds <= self.limits.maxActiveDeadlineSeconds",message="defaults.activeDeadlineSeconds must not exceed limits.maxActiveDeadlineSeconds"
type UploadStoreSpec struct {
	// volume is where the objects are kept. Immutable.
	// +required
	Volume VolumeSource `json:"volume,omitzero"`

	// dataplane is how the dataplane runs.
	// +required
	Dataplane DataplaneSpec `json:"dataplane,omitzero"`

	// access says who may send, read and end a session, among those whom RBAC lets: Namespace
	// (the default), whoever has the right in the namespace; or Owner, the session's spec.owner, the
	// ServiceAccounts in its spec.uploaders, and who may "access-others" uploadsessions. What holds at
	// its admission holds for the content of a session to its end.
	// +optional
	// +default="Namespace"
	Access StoreAccess `json:"access,omitempty"`

	// limits bounds what a session may ask for.
	// +optional
	// +default={"maxChunkBytes":67108864,"minFreeBytes":67108864,"maxSuspendedSeconds":604800}
	Limits StoreLimits `json:"limits,omitzero"`

	// defaults is what holds for a session that does not say.
	// +optional
	// +default={"chunkSizeBytes":16777216,"idleTimeoutSeconds":3600,"activeDeadlineSeconds":86400}
	Defaults StoreDefaults `json:"defaults,omitzero"`
}

// UploadStoreReplica is one dataplane replica as its Lease shows it.
type UploadStoreReplica struct {
	// name is the name of the replica, unique in the namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// endpoint is the base URL of the replica.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self)",message="must be a URL"
	Endpoint string `json:"endpoint,omitempty"`

	// activeSessions is how many sessions that have not ended are pinned to the replica.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ActiveSessions *int32 `json:"activeSessions,omitempty"`
}

// UploadStoreDisplay is what kubectl get shows of a store, short enough for a table.
// +kubebuilder:validation:MinProperties=1
type UploadStoreDisplay struct {
	// claimName is spec.volume.claimName; of one of more than 40 bytes both ends, with '…' between them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	ClaimName string `json:"claimName,omitempty"`

	// endpoint is status.endpoint; of one of more than 40 bytes both ends, with '…' between them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Endpoint string `json:"endpoint,omitempty"`

	// message is the message of condition Ready; one of more than 100 bytes ends with '…'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	Message string `json:"message,omitempty"`
}

// UploadStoreStatus is what is known of a store. The operator writes it, from
// the Leases of the dataplane's replicas.
// +kubebuilder:validation:MinProperties=1
type UploadStoreStatus struct {
	// conditions are Ready: at least one dataplane replica is alive and its volume can be used.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// display is what kubectl get shows of the store. Programs read what it is short for.
	// +optional
	Display UploadStoreDisplay `json:"display,omitzero"`

	// endpoint is the base URL that clients use. While no replica is alive, which condition Ready
	// tells, it stays what it was.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self)",message="must be a URL"
	Endpoint string `json:"endpoint,omitempty"`

	// caBundle holds the certificates that clients trust when they call an endpoint of the store,
	// in PEM (base64 in JSON, as every caBundle of Kubernetes), at most 64 KiB: for mode Managed those that the operator
	// keeps in Secret slipway-dataplane, for mode Sidecar those that the replicas tell of, and while none is alive what
	// they told of last. Without it the endpoint's certificate is one that the clients' systems trust, or the endpoint
	// is not TLS.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	CABundle []byte `json:"caBundle,omitempty"`

	// capacityBytes is the size of the volume as its filesystem reports it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CapacityBytes *int64 `json:"capacityBytes,omitempty"`

	// availableBytes is how much of the volume can still be reserved, as its filesystem reports it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AvailableBytes *int64 `json:"availableBytes,omitempty"`

	// reservedBytes is the sum of what admitted sessions reserve.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ReservedBytes *int64 `json:"reservedBytes,omitempty"`

	// replicas are the dataplane replicas that are alive.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Replicas []UploadStoreReplica `json:"replicas,omitempty"`

	// observedGeneration is the generation of the spec that the operator last acted on; -1 before it
	// has, so that tools which compare it with metadata.generation know that.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
}

// UploadStore is a place to upload to. Its name is a DNS label of at most 52
// characters, so that the names of its replicas stay DNS labels, and not "ca",
// so that its certificate and the CA's are told apart.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=upst,categories=slipway
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 52 && !self.metadata.name.contains('.')",message="the name must be a DNS label of at most 52 characters"
// +kubebuilder:validation:XValidation:rule="self.metadata.name != 'ca'",message="the name must not be ca"
// +kubebuilder:printcolumn:name="Claim",type=string,JSONPath=`.status.display.claimName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.status.display.endpoint`
// +kubebuilder:printcolumn:name="Available",type=integer,JSONPath=`.status.availableBytes`
// +kubebuilder:printcolumn:name="Reserved",type=integer,JSONPath=`.status.reservedBytes`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.display.message`,priority=1
type UploadStore struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the store is.
	// +required
	Spec UploadStoreSpec `json:"spec,omitzero"`

	// status is what is known of the store.
	// +optional
	// +default={"observedGeneration": -1}
	Status UploadStoreStatus `json:"status,omitzero"`
}

// UploadStoreList is a list of UploadStores.
//
// +kubebuilder:object:root=true
type UploadStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []UploadStore `json:"items"`
}
