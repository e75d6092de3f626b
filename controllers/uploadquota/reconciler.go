package uploadquota

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/retry"
	"github.com/slipway-dev/slipway/telemetry"
)

const (
	// retryConflictAfter is how long a reconcile whose observation was out of date waits.
	retryConflictAfter = 100 * time.Millisecond
	// countWithin is how long after a change of a session its quotas show it. All changes of that
	// time are one write.
	countWithin = 5 * time.Second
)

// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadquotas,verbs=get;list;watch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadquotas/status,verbs=get;patch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions,verbs=get;list;watch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores,verbs=get;list;watch

// Reconciler keeps the status of UploadQuotas.
type Reconciler struct {
	// Client reads and writes.
	Client client.Client
	// Clock tells the time.
	Clock clock.PassiveClock
}

// SetupWithManager lets the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("uploadquota").
		For(&v1alpha1.UploadQuota{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.UploadSession{}, r.onSessions()).
		Watches(&v1alpha1.UploadStore{}, handler.EnqueueRequestsFromMapFunc(r.ofStore), builder.WithPredicates(comingAndGoing())).
		WithOptions(controller.Options{RateLimiter: retry.Limiter()}).
		Complete(telemetry.Reconciler("uploadquota", r))
}

// Reconcile observes a quota, plans and applies.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o, err := observe(ctx, r.Client, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if err := apply(ctx, r.Client, o.quota, planFor(o, r.Clock.Now())); apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: retryConflictAfter}, nil
	} else if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{}, nil
}

// ofStore are the quotas that name a store.
func (r *Reconciler) ofStore(ctx context.Context, store client.Object) []reconcile.Request {
	var quotas v1alpha1.UploadQuotaList
	if err := r.Client.List(ctx, &quotas, client.InNamespace(store.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil // from a cache, which fails only when the manager stops
	}
	var requests []reconcile.Request
	for i := range quotas.Items {
		if q := &quotas.Items[i]; q.Spec.StoreRef.Name == store.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(q)})
		}
	}
	return requests
}

// comingAndGoing lets through what is new and what is gone.
func comingAndGoing() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
}

// onSessions counts again, some time after a session was admitted or let go.
func (r *Reconciler) onSessions() handler.EventHandler {
	type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]
	count := func(ctx context.Context, queue requests, session client.Object) {
		var quotas v1alpha1.UploadQuotaList
		if err := r.Client.List(ctx, &quotas, client.InNamespace(session.GetNamespace())); err != nil {
			log.FromContext(ctx).Error(err, "the quotas of a changed session do not show it", "session", client.ObjectKeyFromObject(session))
			return
		}
		for i := range quotas.Items {
			// A request that is there already keeps its time.
			queue.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&quotas.Items[i])}, countWithin)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue requests) {
			if holds(e.Object) && !e.IsInInitialList {
				count(ctx, queue, e.Object)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue requests) {
			if holds(e.ObjectOld) != holds(e.ObjectNew) {
				count(ctx, queue, e.ObjectNew)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue requests) {
			if holds(e.Object) {
				count(ctx, queue, e.Object)
			}
		},
	}
}

func holds(obj client.Object) bool {
	session, ok := obj.(*v1alpha1.UploadSession)
	return ok && admission.Holds(session)
}
