package uploadsession

import (
	"slices"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// fair is the order in which the workers take requests: one of each namespace in turn, and those of a namespace in
// the order in which they came. However many sessions one namespace has, another's wait for one of them at most. It
// is a workqueue.Queue, and as such not safe for concurrent use.
type fair struct {
	waiting map[string][]reconcile.Request
	turns   []string // the namespaces that have requests, the next one first
	size    int
}

// newFairQueue is a controller.Options.NewQueue.
func newFairQueue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{
		Name: name,
		DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[reconcile.Request]{
			Name: name,
			Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[reconcile.Request]{
				Name: name, Queue: &fair{waiting: map[string][]reconcile.Request{}},
			}),
		}),
	})
}

// Touch hears of a request that waits already, and keeps its place.
func (*fair) Touch(reconcile.Request) {}

// Push puts a request behind those of its namespace.
func (f *fair) Push(r reconcile.Request) {
	if len(f.waiting[r.Namespace]) == 0 {
		f.turns = append(f.turns, r.Namespace)
	}
	f.waiting[r.Namespace] = append(f.waiting[r.Namespace], r)
	f.size++
}

// Len is how many requests wait.
func (f *fair) Len() int { return f.size }

// Pop takes the first request of the namespace whose turn it is. There must be one.
func (f *fair) Pop() reconcile.Request {
	namespace := f.turns[0]
	f.turns = slices.Delete(f.turns, 0, 1)
	list := f.waiting[namespace]
	first := list[0]
	if len(list) == 1 {
		delete(f.waiting, namespace)
	} else {
		f.waiting[namespace] = list[1:]
		f.turns = append(f.turns, namespace)
	}
	f.size--
	return first
}
