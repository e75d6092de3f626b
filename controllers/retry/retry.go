package retry

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// First and Last bound how long after a failure a request is tried again. Whatever the fault was and however long it
// lasted, what waited for its end is seen to within Last of it. The dataplane has the same.
const (
	First = 100 * time.Millisecond
	Last  = 10 * time.Second
)

// Limiter returns what spaces out the retries of one controller. It is safe for concurrent use.
func Limiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](First, Last)
}
