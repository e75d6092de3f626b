package uploadsession

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
)

// retryConflictAfter is how long a reconcile whose observation was out of date waits.
const retryConflictAfter = 100 * time.Millisecond

// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions/status,verbs=get;patch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions/finalizers,verbs=update
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores,verbs=get;list;watch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler takes UploadSessions from their creation to their end.
type Reconciler struct {
	// Client reads and writes. Its reads must show its own writes, or two sessions could be
	// granted the same room. It finds sessions by the field v1alpha1.SelectStore.
	Client client.Client
	// Recorder takes the events.
	Recorder events.EventRecorder
	// Clock tells the time.
	Clock clock.PassiveClock
}

// SetupWithManager lets the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	waiting := func(s *v1alpha1.UploadSession) bool { return !admission.Admitted(s) && !admission.Finished(s) }
	return ctrl.NewControllerManagedBy(mgr).
		Named("uploadsession").
		For(&v1alpha1.UploadSession{}, builder.WithPredicates(updates(moreThanProgress))).
		Watches(&v1alpha1.UploadStore{}, r.sessionsOfStore(waiting)).
		Watches(&v1alpha1.UploadStore{}, r.sessionsOfStore(admission.Holds), builder.WithPredicates(updates(replicasChanged))).
		// One at a time: two admissions at once would not see each other.
		WithOptions(controller.Options{MaxConcurrentReconciles: 1}).
		Complete(r)
}

// Reconcile observes a session, plans and applies.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o, err := observe(ctx, r.Client, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	p := planFor(o, r.Clock.Now())
	if err := r.apply(ctx, o.session, p); apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: retryConflictAfter}, nil
	} else if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{RequeueAfter: p.requeueAfter}, nil
}

// sessionsOfStore asks for the sessions of a store that a change of it concerns.
func (r *Reconciler) sessionsOfStore(concerned func(*v1alpha1.UploadSession) bool) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, store client.Object) []reconcile.Request {
		var sessions v1alpha1.UploadSessionList
		err := r.Client.List(ctx, &sessions, client.InNamespace(store.GetNamespace()), client.MatchingFields{v1alpha1.SelectStore: store.GetName()})
		if err != nil {
			log.FromContext(ctx).Error(err, "the sessions of a changed store are not looked at", "store", client.ObjectKeyFromObject(store))
			return nil
		}
		var requests []reconcile.Request
		for i := range sessions.Items {
			if session := &sessions.Items[i]; concerned(session) {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(session)})
			}
		}
		return requests
	})
}

// updates lets through the updates of which changed is true, and every other event.
func updates[T client.Object](changed func(before, after T) bool) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e crevent.UpdateEvent) bool {
		before, ok := e.ObjectOld.(T)
		after, alike := e.ObjectNew.(T)
		return ok && alike && changed(before, after)
	}}
}

// moreThanProgress is false for the writes by which the dataplane reports
// progress, which are most of all writes and change nothing here.
func moreThanProgress(before, after *v1alpha1.UploadSession) bool {
	return before.Generation != after.Generation ||
		!equality.Semantic.DeepEqual(before.Finalizers, after.Finalizers) ||
		!equality.Semantic.DeepEqual(before.Status.Result, after.Status.Result) ||
		!equality.Semantic.DeepEqual(ownStatus(before), ownStatus(after))
}

func replicasChanged(before, after *v1alpha1.UploadStore) bool {
	return !equality.Semantic.DeepEqual(before.Status.Replicas, after.Status.Replicas)
}
