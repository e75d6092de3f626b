package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// ExtraArg is one more argument of a dataplane, a flag and its value in one.
// +kubebuilder:validation:MinLength=3
// +kubebuilder:validation:MaxLength=1024
type ExtraArg string

// MetadataValue is the value of a label or of an annotation.
// +kubebuilder:validation:MaxLength=4096
type MetadataValue string

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name is the name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a Secret"
	Name string `json:"name,omitempty"`
}

// DataplanePod is what the user says of the Pods of a Managed store. All else of
// them is the operator's: the volume, the keys, the ports, the probes and what
// the restricted Pod Security Standard asks for.
// +kubebuilder:validation:MinProperties=1
type DataplanePod struct {
	// image is the dataplane's image, at most 512 characters. Default the one that the operator
	// was installed with, which is of the operator's version.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// imagePullPolicy says when the image is pulled: Always, IfNotPresent or Never. By default as
	// Kubernetes does: Always where the image has the tag latest or none, IfNotPresent otherwise.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// imagePullSecrets name Secrets in the store's namespace with which the image is pulled, at
	// most 16. None by default.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []SecretReference `json:"imagePullSecrets,omitempty"`

	// resources are what the dataplane's container requests and is limited to, in place of the
	// default as a whole: requests of 100m of CPU and 128Mi of memory, a limit of 256Mi of memory.
	// Where limits.maxConcurrentChunks is above 64 the default limit is 512Ki more for each further chunk.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.claims)",message="claims can't be set: the dataplane uses no devices"
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`

	// nodeSelector is the labels that a node must have, at most 32. None by default.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && !format.qualifiedName().validate(k).hasValue() && !format.labelValue().validate(self[k]).hasValue())",message="must be labels"
	NodeSelector map[string]LabelValue `json:"nodeSelector,omitempty"`

	// affinity says near what, and far from what, the Pods are scheduled. None by default.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// tolerations are the taints of nodes that the Pods bear, at most 64. None by default.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// topologySpreadConstraints say how the Pods are spread over the cluster, at most 16; those
	// without a labelSelector are about the store's Pods. None by default.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// priorityClassName names the Pods' PriorityClass. Default the cluster's own default.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be the name of a PriorityClass"
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// labels are more labels of the Pods, at most 32. Those of Slipway (uploads.slipway.dev/...)
	// and app.kubernetes.io/managed-by, name and component are the operator's. None by default.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && !format.qualifiedName().validate(k).hasValue() && !format.labelValue().validate(self[k]).hasValue())",message="must be labels"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('uploads.slipway.dev/') && !(k in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/name', 'app.kubernetes.io/component']))",message="labels of uploads.slipway.dev, and app.kubernetes.io/managed-by, name and component, are set by the operator"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are annotations of the Pods, at most 32 with values of at most 4096 characters;
	// those of Slipway (uploads.slipway.dev/...) are the operator's. None by default.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && !format.qualifiedName().validate(k.lowerAscii()).hasValue())",message="annotation names must be qualified names"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('uploads.slipway.dev/'))",message="annotations of uploads.slipway.dev are set by the operator"
	Annotations map[string]MetadataValue `json:"annotations,omitempty"`

	// extraArgs are more flags of the dataplane, such as --log-level=DEBUG, at most 32, each with
	// its value after a "=". Those that the operator itself sets can't be among them, nor those that
	// say who is let in (--audience, --insecure-...). None by default.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^--[a-z][a-z0-9-]*(=|$)')",message="must be a flag with its value, such as --log-level=DEBUG"
	// +kubebuilder:validation:items:XValidation:rule="!self.matches('^--(root|namespace|store|store-uid|replica|listen|advertise-url|health-address|tls-dir|ticket-keys|kubeconfig|shutdown-grace|max-concurrent-chunks)(=|$)')",message="is a flag that the operator sets, from the rest of the spec"
	// +kubebuilder:validation:items:XValidation:rule="!self.matches('^--(audience|insecure)')",message="is a flag that says who is let in, which is not for extraArgs: clients' tokens are for uploads.slipway.dev/<namespace>/<store>"
	ExtraArgs []ExtraArg `json:"extraArgs,omitempty"`
}
