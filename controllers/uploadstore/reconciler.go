package uploadstore

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/telemetry"
)

// retryConflictAfter is how long a reconcile whose observation was out of date waits.
const retryConflictAfter = 100 * time.Millisecond

// countWithin is how long after a change of a session its store's reservedBytes shows it. Nothing
// is decided by it: what is free is counted from the sessions themselves.
const countWithin = 5 * time.Second

// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores,verbs=get;list;watch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores/status,verbs=get;patch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions,verbs=get;list;watch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch

// Reconciler keeps the status of UploadStores.
type Reconciler struct {
	// Client reads and writes. It finds sessions by the field v1alpha1.SelectStore.
	Client client.Client
	// Clock tells the time.
	Clock clock.PassiveClock
}

// SetupWithManager lets the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("uploadstore").
		For(&v1alpha1.UploadStore{}, builder.WithPredicates(specChanges())).
		Watches(&coordinationv1.Lease{}, handler.EnqueueRequestsFromMapFunc(storeOfLease)).
		Watches(&v1alpha1.UploadSession{}, countLater(), builder.WithPredicates(reservationChanges())).
		Complete(telemetry.Reconciler("uploadstore", r))
}

// Reconcile observes a store, plans and applies.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o, err := observe(ctx, r.Client, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	p := planFor(o, r.Clock.Now())
	if err := apply(ctx, r.Client, o.store, p); apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: retryConflictAfter}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: p.requeueAfter}, nil
}

func storeOfLease(_ context.Context, lease client.Object) []reconcile.Request {
	store, ok := lease.GetLabels()[v1alpha1.StoreLabel]
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: lease.GetNamespace(), Name: store}}}
}

// countLater looks at the store of a session some time after the session
// changed: all changes of that time are one count and one write.
func countLater() handler.EventHandler {
	type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]
	count := func(queue requests, obj client.Object) {
		if session, ok := obj.(*v1alpha1.UploadSession); ok {
			store := types.NamespacedName{Namespace: session.Namespace, Name: session.Spec.StoreRef.Name}
			queue.AddAfter(reconcile.Request{NamespacedName: store}, countWithin)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue requests) { count(queue, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue requests) { count(queue, e.ObjectNew) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue requests) { count(queue, e.Object) },
	}
}

// specChanges lets through new stores and changes of their specs. A status that
// the operator wrote itself is no reason to count again: while sessions come and
// go each count would bring on the next one at once.
func specChanges() predicate.Predicate { return predicate.GenerationChangedPredicate{} }

// reservationChanges lets through what changes how much of a store is
// reserved: admissions, ends, and admitted sessions that come or go.
func reservationChanges() predicate.Predicate {
	reserves := func(obj client.Object) bool {
		session, ok := obj.(*v1alpha1.UploadSession)
		return ok && admission.Holds(session)
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return reserves(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return reserves(e.ObjectOld) != reserves(e.ObjectNew) },
		DeleteFunc: func(e event.DeleteEvent) bool { return reserves(e.Object) },
	}
}
