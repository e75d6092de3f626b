package uploadquota

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/conditions"
)

// apply does all the writes of a reconcile.
func apply(ctx context.Context, writer client.Client, quota *v1alpha1.UploadQuota, p plan) error {
	if p.status == nil {
		return nil
	}
	// The UID and the resource version say what the plan was made for, so that
	// it never meets another quota of that name, nor one that has changed.
	desired := applyv1alpha1.UploadQuota(quota.Name, quota.Namespace).
		WithUID(quota.UID).
		WithResourceVersion(quota.ResourceVersion).
		WithStatus(statusConfiguration(p.status))
	err := writer.Status().Apply(ctx, desired, client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply the quota's status: %w", err)
	}
	return nil
}

func statusConfiguration(s *v1alpha1.UploadQuotaStatus) *applyv1alpha1.UploadQuotaStatusApplyConfiguration {
	hard := applyv1alpha1.UploadQuotaHard()
	hard.ActiveSessions, hard.ActiveSessionsPerOwner = s.Hard.ActiveSessions, s.Hard.ActiveSessionsPerOwner
	hard.ReservedBytes, hard.ReservedBytesPerOwner = s.Hard.ReservedBytes, s.Hard.ReservedBytesPerOwner
	if s.Hard.ObjectBytes != 0 {
		hard.WithObjectBytes(s.Hard.ObjectBytes)
	}
	c := applyv1alpha1.UploadQuotaStatus().
		WithConditions(conditions.Apply(s.Conditions)...).
		WithHard(hard).
		WithUsed(applyv1alpha1.UploadQuotaUsed().
			WithActiveSessions(*s.Used.ActiveSessions).
			WithActiveSessionsPerOwner(*s.Used.ActiveSessionsPerOwner).
			WithReservedBytes(*s.Used.ReservedBytes).
			WithReservedBytesPerOwner(*s.Used.ReservedBytesPerOwner)).
		WithSummary(s.Summary)
	c.ObservedGeneration = s.ObservedGeneration
	return c
}
