package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// QuotaExceededPolicy says what happens to a session that a quota has no room for.
// +kubebuilder:validation:Enum=Queue;Reject
type QuotaExceededPolicy string

const (
	// QuotaExceededPolicyQueue lets the session wait for its turn.
	QuotaExceededPolicyQueue QuotaExceededPolicy = "Queue"
	// QuotaExceededPolicyReject ends the session before a byte is taken.
	QuotaExceededPolicyReject QuotaExceededPolicy = "Reject"
)

// UploadQuotaHard is how much sessions may take. What is left out is not limited.
// +kubebuilder:validation:MinProperties=1
type UploadQuotaHard struct {
	// activeSessions is how many sessions may be admitted and not ended, from 0 (no session
	// starts) to 1000000.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	ActiveSessions *int32 `json:"activeSessions,omitempty"`

	// activeSessionsPerOwner is how many of them may be of one spec.owner, from 0 to 1000000. All
	// sessions without an owner count as one owner's.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	ActiveSessionsPerOwner *int32 `json:"activeSessionsPerOwner,omitempty"`

	// reservedBytes is how many bytes of volumes the sessions that are admitted and not ended may
	// reserve, from 0 (empty objects only) to 2^53 (8 PiB). Published objects don't count.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740992
	ReservedBytes *int64 `json:"reservedBytes,omitempty"`

	// reservedBytesPerOwner is how many of these bytes may be reserved by one spec.owner, from 0
	// to 2^53 (8 PiB). All sessions without an owner count as one owner's.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740992
	ReservedBytesPerOwner *int64 `json:"reservedBytesPerOwner,omitempty"`

	// objectBytes is the largest object in bytes, from 1 byte to 2^47 (128 TiB).
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=140737488355328
	ObjectBytes int64 `json:"objectBytes,omitempty"`
}

// UploadQuotaUsed is how much of a quota is taken.
type UploadQuotaUsed struct {
	// activeSessions is how many sessions are admitted and have not ended.
	// +required
	// +kubebuilder:validation:Minimum=0
	ActiveSessions *int32 `json:"activeSessions,omitempty"`

	// activeSessionsPerOwner is how many of them are of the owner who has most.
	// +required
	// +kubebuilder:validation:Minimum=0
	ActiveSessionsPerOwner *int32 `json:"activeSessionsPerOwner,omitempty"`

	// reservedBytes is how many bytes they reserve.
	// +required
	// +kubebuilder:validation:Minimum=0
	ReservedBytes *int64 `json:"reservedBytes,omitempty"`

	// reservedBytesPerOwner is how many of these bytes the owner reserves who reserves most.
	// +required
	// +kubebuilder:validation:Minimum=0
	ReservedBytesPerOwner *int64 `json:"reservedBytesPerOwner,omitempty"`
}

// UploadQuotaSpec is how much the sessions of a namespace may take. Every quota of the namespace
// holds. A change ends no session that is admitted already.
type UploadQuotaSpec struct {
	// hard is how much sessions may take.
	// +required
	Hard UploadQuotaHard `json:"hard,omitzero"`

	// storeRef names the UploadStore, in the same namespace, whose sessions the quota counts.
	// Without it the quota counts those of every store.
	// +optional
	StoreRef StoreReference `json:"storeRef,omitzero"`

	// onExceeded says what happens to a session that the quota has no room for: Queue (the
	// default), it waits for its turn; or Reject, it ends before a byte is taken.
	// +optional
	// +default="Queue"
	OnExceeded QuotaExceededPolicy `json:"onExceeded,omitempty"`
}

// UploadQuotaStatus is what is known of a quota. The operator writes it, with a delay of seconds,
// and never reads it: what is admitted is counted from the sessions.
// +kubebuilder:validation:MinProperties=1
type UploadQuotaStatus struct {
	// conditions are Ready: the quota counts, and the store exists that storeRef names, if it names one.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`

	// hard is what of spec.hard the operator last acted on.
	// +optional
	Hard UploadQuotaHard `json:"hard,omitzero"`

	// used is how much of it is taken.
	// +optional
	Used UploadQuotaUsed `json:"used,omitzero"`

	// summary is both in one line, 'name: used/hard' for each limit, for kubectl get.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Summary string `json:"summary,omitempty"`

	// observedGeneration is the generation of the spec that the operator last acted on; -1 before it
	// has, so that tools which compare it with metadata.generation know that.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
}

// UploadQuota limits what the UploadSessions of a namespace take together.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=upq,categories=slipway
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.storeRef.name`
// +kubebuilder:printcolumn:name="Used",type=string,JSONPath=`.status.summary`
// +kubebuilder:printcolumn:name="Exceeded",type=string,JSONPath=`.spec.onExceeded`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type UploadQuota struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is how much may be taken.
	// +required
	Spec UploadQuotaSpec `json:"spec,omitzero"`

	// status is how much is taken.
	// +optional
	// +default={"observedGeneration": -1}
	Status UploadQuotaStatus `json:"status,omitzero"`
}

// UploadQuotaList is a list of UploadQuotas.
//
// +kubebuilder:object:root=true
type UploadQuotaList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []UploadQuota `json:"items"`
}
