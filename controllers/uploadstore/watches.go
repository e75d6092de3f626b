package uploadstore

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/managed"
	"github.com/slipway-dev/slipway/controllers/retry"
	"github.com/slipway-dev/slipway/telemetry"
)

// SetupWithManager lets the manager run the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("uploadstore").
		For(&v1alpha1.UploadStore{}, builder.WithPredicates(specChanges())).
		Watches(&v1alpha1.UploadStore{}, handler.EnqueueRequestsFromMapFunc(othersOnClaim(mgr.GetClient())), builder.WithPredicates(comingAndGoing())).
		Watches(&appsv1.StatefulSet{}, handler.EnqueueRequestsFromMapFunc(storeOf)).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(storeOf)).
		Watches(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(storeOf)).
		Watches(&rbacv1.RoleBinding{}, handler.EnqueueRequestsFromMapFunc(storeOf)).
		Watches(&networkingv1.NetworkPolicy{}, handler.EnqueueRequestsFromMapFunc(storeOf)).
		Watches(&policyv1.PodDisruptionBudget{}, handler.EnqueueRequestsFromMapFunc(storeOf)).
		Watches(&rbacv1.ClusterRoleBinding{}, handler.EnqueueRequestsFromMapFunc(storeOfBinding)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(storeOf)).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(storesOfClaim(mgr.GetClient()))).
		Watches(&coordinationv1.Lease{}, handler.EnqueueRequestsFromMapFunc(storeOf)).
		Watches(&v1alpha1.UploadSession{}, countLater(), builder.WithPredicates(reservationChanges())).
		WithOptions(controller.Options{RateLimiter: retry.Limiter()}).
		Complete(telemetry.Reconciler("uploadstore", r))
}

// storeOf is the store that a label of a Lease or a Pod names.
func storeOf(_ context.Context, labeled client.Object) []reconcile.Request {
	store, ok := labeled.GetLabels()[v1alpha1.StoreLabel]
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: labeled.GetNamespace(), Name: store}}}
}

func storeOfBinding(_ context.Context, binding client.Object) []reconcile.Request {
	store, ok := managed.StoreOfClusterRoleBinding(binding.GetName())
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: store}}
}

// storesOfClaim are the Managed stores that keep their objects on a claim.
func storesOfClaim(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, claim client.Object) []reconcile.Request {
		return storesOn(ctx, reader, claim.GetNamespace(), claim.GetName(), func(s *v1alpha1.UploadStore) bool {
			return s.Spec.Dataplane.Mode == v1alpha1.DataplaneModeManaged
		})
	}
}

// othersOnClaim are the other stores that name the claim of a store: one of them has it when the store is gone.
func othersOnClaim(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		store, ok := obj.(*v1alpha1.UploadStore)
		if !ok {
			return nil
		}
		return storesOn(ctx, reader, store.Namespace, store.Spec.Volume.ClaimName, func(s *v1alpha1.UploadStore) bool { return s.Name != store.Name })
	}
}

// storesOn are the stores on a claim that are wanted.
func storesOn(ctx context.Context, reader client.Reader, namespace, claim string, wanted func(*v1alpha1.UploadStore) bool) []reconcile.Request {
	var stores v1alpha1.UploadStoreList
	if err := reader.List(ctx, &stores, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil // from a cache, which fails only when the manager stops
	}
	var requests []reconcile.Request
	for i := range stores.Items {
		if s := &stores.Items[i]; s.Spec.Volume.ClaimName == claim && wanted(s) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(s)})
		}
	}
	return requests
}

// comingAndGoing lets through what is new and what is gone.
func comingAndGoing() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
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

// reservationChanges lets through what changes how much of a store is reserved,
// and which of its replicas are needed: admissions, ends, and admitted sessions that come or go.
func reservationChanges() predicate.Predicate {
	reserves := func(obj client.Object) bool {
		session, ok := obj.(*v1alpha1.UploadSession)
		return ok && admission.Occupies(session)
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return reserves(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return reserves(e.ObjectOld) != reserves(e.ObjectNew) },
		DeleteFunc: func(e event.DeleteEvent) bool { return reserves(e.Object) },
	}
}
