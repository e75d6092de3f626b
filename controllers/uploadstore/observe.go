package uploadstore

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/liveness"
)

// observation is all that is known of a store at one time.
type observation struct {
	store    *v1alpha1.UploadStore
	replicas []replica
	sessions []v1alpha1.UploadSession
	// first is the store that has the claim where that is another one; nil where it is this store's own.
	first *v1alpha1.UploadStore
	// run is what is known of a Managed store's objects, nil for a Sidecar store.
	run *run
}

// replica is what is known of a replica of a store: its Lease, and how it stands by that.
type replica struct {
	lease *coordinationv1.Lease
	life  liveness.Life
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
	var others v1alpha1.UploadStoreList
	if err := r.Client.List(ctx, &others, client.InNamespace(key.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return observation{}, fmt.Errorf("list the stores of the namespace: %w", err)
	}
	o := observation{store: &store, sessions: sessions, first: firstOnClaim(&store, others.Items)}
	for i := range leases.Items {
		o.replicas = append(o.replicas, replica{&leases.Items[i], r.Liveness.Observe(&leases.Items[i])})
	}
	if store.Spec.Dataplane.Mode == v1alpha1.DataplaneModeManaged {
		if err := r.observeRun(ctx, &o); err != nil {
			return observation{}, err
		}
		o.run.bundle, err = r.observeBundle(ctx, key.Namespace, others.Items)
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

// firstOnClaim returns which of the other stores has the claim of a store, nil where none has.
func firstOnClaim(store *v1alpha1.UploadStore, others []v1alpha1.UploadStore) *v1alpha1.UploadStore {
	all := func(yield func(*v1alpha1.UploadStore) bool) {
		for i := range others {
			if others[i].Name != store.Name && !yield(&others[i]) {
				return
			}
		}
		yield(store)
	}
	if first := admission.FirstOnClaim(all, store.Spec.Volume.ClaimName); first != store {
		return first
	}
	return nil
}
