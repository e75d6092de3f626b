package uploadstore

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/conditions"
)

// applyStatus writes the status and what it has to tell.
func (r *Reconciler) applyStatus(ctx context.Context, store *v1alpha1.UploadStore, p plan) error {
	if p.status != nil {
		desired := configuration(store).WithStatus(statusConfiguration(p.status))
		err := r.Client.Status().Apply(ctx, desired, client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply the store's status: %w", err)
		}
	}
	if e := p.event; e != nil {
		r.Recorder.Eventf(store, nil, e.eventType, e.reason, e.action, "%s", e.note)
	}
	return nil
}

// configuration is for a store as it was observed. The UID and the resource
// version say what the plan was made for, so that it never meets another store
// of that name, nor one that has changed.
func configuration(store *v1alpha1.UploadStore) *applyv1alpha1.UploadStoreApplyConfiguration {
	return applyv1alpha1.UploadStore(store.Name, store.Namespace).WithUID(store.UID).WithResourceVersion(store.ResourceVersion)
}

// statusConfiguration names every field that the operator owns: what it leaves
// out is removed.
func statusConfiguration(s *v1alpha1.UploadStoreStatus) *applyv1alpha1.UploadStoreStatusApplyConfiguration {
	c := applyv1alpha1.UploadStoreStatus().WithConditions(conditions.Apply(s.Conditions)...)
	for _, replica := range s.Replicas {
		configured := applyv1alpha1.UploadStoreReplica().WithName(replica.Name).WithEndpoint(replica.Endpoint)
		configured.ActiveSessions = replica.ActiveSessions
		c.WithReplicas(configured)
	}
	if s.Display != (v1alpha1.UploadStoreDisplay{}) {
		c.WithDisplay(displayConfiguration(s.Display))
	}
	if s.Endpoint != "" {
		c.WithEndpoint(s.Endpoint)
	}
	if len(s.CABundle) > 0 {
		c.WithCABundle(s.CABundle...)
	}
	c.CapacityBytes = s.CapacityBytes
	c.AvailableBytes = s.AvailableBytes
	c.ReservedBytes = s.ReservedBytes
	c.ObservedGeneration = s.ObservedGeneration
	return c
}

func displayConfiguration(d v1alpha1.UploadStoreDisplay) *applyv1alpha1.UploadStoreDisplayApplyConfiguration {
	c := applyv1alpha1.UploadStoreDisplay()
	if d.ClaimName != "" {
		c.WithClaimName(d.ClaimName)
	}
	if d.Endpoint != "" {
		c.WithEndpoint(d.Endpoint)
	}
	if d.Message != "" {
		c.WithMessage(d.Message)
	}
	return c
}
