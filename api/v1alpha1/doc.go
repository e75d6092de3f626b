// Package v1alpha1 is the API of Slipway: the kinds UploadSession, UploadStore
// and UploadQuota of the group uploads.slipway.dev.
//
// The room holds types, constants and generated code and nothing else: no
// logic, no defaults in Go, no client. Every rule about a field is a marker on
// that field, so that the API server is the one place that enforces it.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package=../applyconfiguration
// +groupName=uploads.slipway.dev
package v1alpha1
