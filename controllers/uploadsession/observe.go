package uploadsession

import (
	"context"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/heartbeat"
	"github.com/slipway-dev/slipway/liveness"
)

// observation is all that is known of a session at one time.
type observation struct {
	session *v1alpha1.UploadSession
	// store is the session's store, nil when there is none.
	store *v1alpha1.UploadStore
	// granted is what the queue grants a session that asks, refusal why it grants nothing.
	granted v1alpha1.UploadSessionAdmission
	refusal *admission.Refusal
	// replica is how the session's replica stands by its Lease; read when no store tells that it is alive.
	replica liveness.Life
}

// observe does all the reads of a reconcile. What the queue grants counts until
// it is told what became of it.
func observe(ctx context.Context, reader client.Reader, queue *Queue, replicas *liveness.Observer, key types.NamespacedName, now time.Time) (observation, error) {
	var session v1alpha1.UploadSession
	if err := reader.Get(ctx, key, &session); err != nil {
		return observation{}, err
	}
	o := observation{session: &session, replica: liveness.NoLife()}

	var store v1alpha1.UploadStore
	switch err := reader.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: session.Spec.StoreRef.Name}, &store); {
	case err == nil:
		o.store = &store
	case !apierrors.IsNotFound(err):
		return observation{}, fmt.Errorf("get the session's store: %w", err)
	}

	if err := o.observeReplica(ctx, reader, replicas); err != nil {
		return observation{}, err
	}

	if admission.Asks(&session) {
		var known bool
		// The API server keeps whole seconds.
		if o.granted, o.refusal, known = queue.ask(&session, now.Truncate(time.Second)); !known {
			return observation{}, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("uploadsessions").GroupResource(), key.Name)
		}
	}
	return o, nil
}

// observeReplica reads the Lease of the session's replica where it says what
// the store does not.
func (o *observation) observeReplica(ctx context.Context, reader client.Reader, replicas *liveness.Observer) error {
	replica := o.session.Status.Admission.Replica
	if !admission.Holds(o.session) && !admission.Reclaims(o.session) || listed(o.store, replica) {
		return nil
	}
	var lease coordinationv1.Lease
	key := types.NamespacedName{Namespace: o.session.Namespace, Name: heartbeat.LeaseName(replica)}
	if err := reader.Get(ctx, key, &lease); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("get the Lease of the session's replica: %w", err)
	}
	o.replica = replicas.Observe(&lease)
	return nil
}

// listed reports whether a store, which may be missing, shows a replica as alive.
func listed(store *v1alpha1.UploadStore, replica string) bool {
	return store != nil && slices.ContainsFunc(store.Status.Replicas, func(r v1alpha1.UploadStoreReplica) bool {
		return r.Name == replica
	})
}
