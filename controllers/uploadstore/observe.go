package uploadstore

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// observation is all that is known of a store at one time.
type observation struct {
	store    *v1alpha1.UploadStore
	leases   []coordinationv1.Lease
	sessions []v1alpha1.UploadSession
	// run is what is known of a Managed store's objects, nil for a Sidecar store.
	run *run
}

// observe does all the reads of a reconcile.
func (r *Reconciler) observe(ctx context.Context, key types.NamespacedName) (observation, error) {
	var store v1alpha1.UploadStore
	if err := r.Client.Get(ctx, key, &store); err != nil {
		return observation{}, err
	}
	var leases coordinationv1.LeaseList
	if err := r.Client.List(ctx, &leases, client.InNamespace(key.Namespace), client.MatchingLabels{v1alpha1.StoreLabel: key.Name}); err != nil {
		return observation{}, fmt.Errorf("list the Leases of the store's replicas: %w", err)
	}
	sessions, err := sessionsOf(ctx, r.Client, key)
	if err != nil {
		return observation{}, err
	}
	o := observation{store: &store, leases: leases.Items, sessions: sessions}
	if store.Spec.Dataplane.Mode == v1alpha1.DataplaneModeManaged {
		err = r.observeRun(ctx, &o)
	}
	return o, err
}

func sessionsOf(ctx context.Context, reader client.Reader, store types.NamespacedName) ([]v1alpha1.UploadSession, error) {
	var sessions v1alpha1.UploadSessionList
	// They are counted and left as they are.
	ofStore := client.MatchingFields{v1alpha1.SelectStore: store.Name}
	if err := reader.List(ctx, &sessions, client.InNamespace(store.Namespace), ofStore, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list the store's sessions: %w", err)
	}
	return sessions.Items, nil
}
