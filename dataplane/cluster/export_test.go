package cluster

import (
	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// ProgressOf is what a dataplane writes of an upload whose session looks like that.
func ProgressOf(s *v1alpha1.UploadSession) *applyv1alpha1.UploadSessionApplyConfiguration {
	m := session.Meta{Spec: session.Spec{Size: 10, ChunkSize: 10}, HeldChunks: 1, HeldBytes: 10}
	return shadowOf(upload.Status{Meta: m}).configuration(s)
}
