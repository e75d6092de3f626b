package v1alpha1

// What a Pod says to have the operator's webhook add the dataplane of a store
// to it, as a native sidecar.
const (
	// InjectLabel asks for the sidecar when its value is InjectEnabled. A Pod without it is never
	// shown to the webhook.
	InjectLabel = "uploads.slipway.dev/inject"
	// InjectEnabled is the value of InjectLabel.
	InjectEnabled = "true"
	// InjectStoreAnnotation names the UploadStore, in the Pod's namespace. Required.
	InjectStoreAnnotation = "uploads.slipway.dev/inject-store"
	// InjectVolumeAnnotation names the Pod's volume with the store's claim. By default it is the
	// volume that has the store's claim or, while there is no such store, the only one with a claim.
	InjectVolumeAnnotation = "uploads.slipway.dev/inject-volume"
	// InjectEndpointAnnotation is the base URL under which clients reach the Pod's dataplane. By
	// default it is that of the Service with the store's name or, where the Pod has a name below
	// that Service, of the Pod.
	InjectEndpointAnnotation = "uploads.slipway.dev/inject-endpoint"
)

// What the webhook adds to a Pod.
const (
	// SidecarContainerName names the container of the dataplane. A Pod with one of that name is left
	// as it is.
	SidecarContainerName = "slipway"
	// SidecarKeysVolumeName names the volume with the store's certificate and keys.
	SidecarKeysVolumeName = "slipway-keys"
)

// Names of the webhook, in the operator's own namespace and in the cluster.
const (
	// WebhookName names the Service of the webhook and the Secret with its certificate.
	WebhookName = "slipway-webhook"
	// InjectionConfigurationName names the MutatingWebhookConfiguration of the webhook.
	InjectionConfigurationName = "slipway-injection"
)
