package uploadstore

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/conditions"
)

// apply does all the writes of a reconcile.
func apply(ctx context.Context, writer client.Client, store *v1alpha1.UploadStore, p plan) error {
	if p.status == nil {
		return nil
	}
	// The UID and the resource version say what the plan was made for, so that
	// it never meets another store of that name, nor one that has changed.
	desired := applyv1alpha1.UploadStore(store.Name, store.Namespace).
		WithUID(store.UID).
		WithResourceVersion(store.ResourceVersion).
		WithStatus(statusConfiguration(p.status))
	err := writer.Status().Apply(ctx, desired, client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply the store's status: %w", err)
	}
	return nil
}

// statusConfiguration names every field that the operator owns: what it leaves
// out is removed.
func statusConfiguration(s *v1alpha1.UploadStoreStatus) *applyv1alpha1.UploadStoreStatusApplyConfiguration {
	c := applyv1alpha1.UploadStoreStatus().WithConditions(conditions.Apply(s.Conditions)...)
	for _, replica := range s.Replicas {
		c.WithReplicas(applyv1alpha1.UploadStoreReplica().WithName(replica.Name).WithEndpoint(replica.Endpoint))
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
