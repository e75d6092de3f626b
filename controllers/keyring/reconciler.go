package keyring

import (
	"context"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/metrics"
	"github.com/slipway-dev/slipway/controllers/retry"
	"github.com/slipway-dev/slipway/telemetry"
)

const (
	// retryConflictAfter is how long a reconcile whose observation was out of date waits.
	retryConflictAfter = 100 * time.Millisecond
	// lookAgainAfter is when a namespace is looked at again. Nothing that falls due is more urgent,
	// and what somebody deleted or damaged is found by then, as nobody watches Secrets.
	lookAgainAfter = 10 * time.Minute
)

// A rule can't bind create to names. Delete is for clusters where only those
// who may delete an object may set its owners.
// +kubebuilder:rbac:groups="",resources=secrets,verbs=create
// +kubebuilder:rbac:groups="",resources=secrets,resourceNames=slipway-ca;slipway-dataplane,verbs=get;update;delete
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler keeps the keys and certificates of the namespaces with an UploadStore.
type Reconciler struct {
	// Client reads and writes at the API server, without a cache.
	Client client.Client
	// Recorder takes the events.
	Recorder events.EventRecorder
	// Clock tells the time.
	Clock clock.PassiveClock
	// Random is where keys come from: crypto/rand.Reader.
	Random io.Reader
	// Metrics tells of the namespaces in which a Secret is in the way.
	Metrics *metrics.Secrets
}

// SetupWithManager lets the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("keyring").
		Watches(&v1alpha1.UploadStore{}, handler.EnqueueRequestsFromMapFunc(namespaceOf),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{RateLimiter: retry.Limiter()}).
		Complete(telemetry.Reconciler("keyring", r))
}

// Reconcile observes the namespace of the request, plans and applies.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o, err := observe(ctx, r.Client, req.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	p, err := planFor(o, r.Clock.Now(), r.Random)
	if err != nil {
		return ctrl.Result{}, err
	}
	err = r.apply(ctx, o, p)
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ctrl.Result{}, nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err):
		return ctrl.Result{RequeueAfter: retryConflictAfter}, nil
	case err != nil:
		return ctrl.Result{}, err
	case len(o.stores) == 0:
		return ctrl.Result{}, nil
	case len(p.deletes) > 0:
		return ctrl.Result{RequeueAfter: retryConflictAfter}, nil // to make them anew
	}
	return ctrl.Result{RequeueAfter: lookAgainAfter}, nil
}

// namespaceOf asks for the whole namespace of a store: one request for all of them.
func namespaceOf(_ context.Context, store client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: store.GetNamespace()}}}
}
