package uploadsession

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/heartbeat"
)

// observation is all that is known of a session at one time.
type observation struct {
	session *v1alpha1.UploadSession
	// store is the session's store, nil when there is none.
	store *v1alpha1.UploadStore
	// sessions are the sessions of the store, read for a session that asks to be admitted.
	sessions []v1alpha1.UploadSession
	// replicaUntil is when the Lease of the session's replica runs out, zero without a
	// Lease; read when there is no store to tell whether the replica is alive.
	replicaUntil time.Time
}

// asks reports whether the session asks to be admitted now.
func (o observation) asks() bool {
	s := o.session
	return !admission.Admitted(s) && !admission.Finished(s) && s.DeletionTimestamp.IsZero() &&
		s.Spec.DesiredState == v1alpha1.DesiredStateActive
}

// observe does all the reads of a reconcile.
func observe(ctx context.Context, reader client.Reader, key types.NamespacedName) (observation, error) {
	var session v1alpha1.UploadSession
	if err := reader.Get(ctx, key, &session); err != nil {
		return observation{}, err
	}
	o := observation{session: &session}

	var store v1alpha1.UploadStore
	switch err := reader.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: session.Spec.StoreRef.Name}, &store); {
	case err == nil:
		o.store = &store
	case !apierrors.IsNotFound(err):
		return observation{}, fmt.Errorf("get the session's store: %w", err)
	}

	if o.store == nil && admission.Holds(&session) {
		var lease coordinationv1.Lease
		name := heartbeat.LeaseName(session.Status.Admission.Replica)
		switch err := reader.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: name}, &lease); {
		case err == nil:
			o.replicaUntil = heartbeat.Until(&lease)
		case !apierrors.IsNotFound(err):
			return observation{}, fmt.Errorf("get the Lease of the session's replica: %w", err)
		}
	}

	if o.store != nil && o.asks() {
		var sessions v1alpha1.UploadSessionList
		if err := reader.List(ctx, &sessions, client.InNamespace(key.Namespace), client.MatchingFields{v1alpha1.SelectStore: store.Name}); err != nil {
			return observation{}, fmt.Errorf("list the sessions of the store: %w", err)
		}
		o.sessions = sessions.Items
	}
	return o, nil
}
