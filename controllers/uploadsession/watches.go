package uploadsession

import (
	"context"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/retry"
	"github.com/slipway-dev/slipway/liveness"
	"github.com/slipway-dev/slipway/telemetry"
)

// workers is how many sessions are reconciled at a time, of all namespaces in turn. They wait for the API
// server; who may start in a namespace is decided under its own lock.
const workers = 4

type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SetupWithManager lets the manager run the reconciler. All that the queue
// lives on comes by the watches of this one controller: its workers start when
// every handler has seen what there is.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	q := r.Queue
	attach := source.Func(func(_ context.Context, queue requests) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.wake = queue.Add
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("uploadsession").
		WatchesRawSource(attach).
		Watches(&v1alpha1.UploadSession{}, onSessions(q)).
		Watches(&v1alpha1.UploadStore{}, onStores(q)).
		Watches(&v1alpha1.UploadQuota{}, onQuotas(q)).
		Watches(&coordinationv1.Lease{}, onLeases(q)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, NewQueue: newFairQueue, RateLimiter: retry.Limiter()}).
		Complete(telemetry.Reconciler("uploadsession", r))
}

// on feeds the queue with what comes and goes.
func on[T client.Object](seen func(before, now T, queue requests), gone func(T)) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e crevent.CreateEvent, queue requests) {
			if now, ok := e.Object.(T); ok {
				var none T
				seen(none, now, queue)
			}
		},
		UpdateFunc: func(_ context.Context, e crevent.UpdateEvent, queue requests) {
			before, ok := e.ObjectOld.(T)
			now, alike := e.ObjectNew.(T)
			if ok && alike {
				seen(before, now, queue)
			}
		},
		DeleteFunc: func(_ context.Context, e crevent.DeleteEvent, _ requests) {
			if last, ok := e.Object.(T); ok {
				gone(last)
			}
		},
	}
}

func onSessions(q *Queue) handler.EventHandler {
	return on(func(before, now *v1alpha1.UploadSession, queue requests) {
		q.observe(now)
		if before == nil || moreThanProgress(before, now) {
			queue.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(now)})
		}
	}, q.forget)
}

func onStores(q *Queue) handler.EventHandler {
	return on(func(before, now *v1alpha1.UploadStore, queue requests) {
		q.change(now.Namespace, func(l *admission.Ledger) bool { return l.SetStore(now) })
		if before == nil || replicasChanged(before, now) {
			addAll(queue, q.holders(now.Namespace, now.Name))
		}
	}, func(last *v1alpha1.UploadStore) {
		q.change(last.Namespace, func(l *admission.Ledger) bool { l.DropStore(last); return true })
		for _, request := range q.holders(last.Namespace, last.Name) {
			q.add(request)
		}
	})
}

func onQuotas(q *Queue) handler.EventHandler {
	return on(func(_, now *v1alpha1.UploadQuota, _ requests) {
		q.change(now.Namespace, func(l *admission.Ledger) bool { return l.SetQuota(now) })
	}, func(last *v1alpha1.UploadQuota) {
		q.change(last.Namespace, func(l *admission.Ledger) bool { l.DropQuota(last); return true })
	})
}

func onLeases(q *Queue) handler.EventHandler {
	return on(func(before, now *coordinationv1.Lease, queue requests) {
		q.change(now.Namespace, func(l *admission.Ledger) bool { return report(l, now) })
		if liveness.SaidGone(now) && (before == nil || !liveness.SaidGone(before)) {
			addAll(queue, q.holders(now.Namespace, now.Labels[v1alpha1.StoreLabel]))
		}
	}, func(last *coordinationv1.Lease) {
		replica := strings.TrimPrefix(last.Name, v1alpha1.LeaseNamePrefix)
		q.change(last.Namespace, func(l *admission.Ledger) bool {
			l.DropReport(last.Namespace, replica, last.ResourceVersion)
			return true
		})
	})
}

func addAll(queue requests, list []reconcile.Request) {
	for _, request := range list {
		queue.Add(request)
	}
}

// moreThanProgress is false for the writes by which the dataplane reports
// progress, which are most of all writes and change nothing here.
func moreThanProgress(before, after *v1alpha1.UploadSession) bool {
	return before.Generation != after.Generation ||
		!equality.Semantic.DeepEqual(before.Finalizers, after.Finalizers) ||
		!equality.Semantic.DeepEqual(before.Status.Result, after.Status.Result) ||
		!before.Status.ReclaimedTime.Equal(&after.Status.ReclaimedTime) ||
		!equality.Semantic.DeepEqual(ownStatus(before), ownStatus(after))
}

func replicasChanged(before, after *v1alpha1.UploadStore) bool {
	return !admission.SameReplicas(before.Status.Replicas, after.Status.Replicas)
}
