package faults

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// users creates sessions as rig.World does, but with attributes, so that an
// upload comes to the operations that keep them.
type users struct {
	world *rig.World
	api   client.Client
}

func newUsers(w *rig.World) (*users, error) {
	known := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(known); err != nil {
		return nil, err
	}
	api, err := client.New(w.Plane.Config, client.Options{Scheme: known})
	return &users{w, api}, err
}

// begin creates a session and has it admitted.
func (u *users) begin(ctx context.Context, s *rig.Session) error {
	made := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: u.world.Namespace, Name: s.Name},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: "models"}, Key: s.Key,
			SizeBytes: ptr.To(s.Size), ChunkSizeBytes: s.ChunkSize,
			ConflictPolicy: v1alpha1.ConflictPolicyFail, Completion: v1alpha1.CompletionModeExplicit,
			Attributes: map[string]v1alpha1.AttributeValue{"kind": "test"},
		},
	}
	if s.Replace {
		made.Spec.ConflictPolicy = v1alpha1.ConflictPolicyReplace
	}
	if s.Reclaim {
		made.Spec.ReclaimPolicy = v1alpha1.ReclaimPolicyDelete
	}
	if err := u.api.Create(ctx, made); err != nil {
		return err
	}
	s.UID = string(made.UID)
	return u.world.Admit(ctx, s)
}
