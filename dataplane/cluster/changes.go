package cluster

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// changes is the source of reconciles that the uploads themselves ask for,
// beside the watch. What changes before it starts is not lost: it starts with
// every upload that is known.
type changes struct {
	namespace string
	clock     session.Clock
	pace      *pace
	pending   *pending

	mu      sync.RWMutex
	uploads *upload.Service
	queue   workqueue.TypedRateLimitingInterface[reconcile.Request]
	ended   func() // told of every end; returns at once
}

var _ source.Source = (*changes)(nil)

// follow makes changed look at these uploads. It is called once, before Start.
func (c *changes) follow(uploads *upload.Service, ended func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uploads, c.ended = uploads, ended
}

// callInTurn enqueues uploads when it is their turn to write progress, until
// the context is done.
func (c *changes) callInTurn(ctx context.Context) error {
	c.pace.run(ctx, c.clock, c.enqueue)
	return nil
}

// Start makes changed reach the queue, and enqueues every upload that is known.
func (c *changes) Start(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	c.mu.Lock()
	c.queue = queue
	c.mu.Unlock()
	for _, id := range c.uploads.All() {
		if st, err := c.uploads.Known(id); err == nil {
			c.note(st) // perhaps the API server knows
			c.enqueue(st.Grant.Name)
		}
	}
	return nil
}

// changed asks for a reconcile of an upload: at once where it has just begun or
// has ended, else when its progress is due, once for all chunks until then. It
// returns at once, whatever the API server does.
func (c *changes) changed(name upload.Name) {
	c.mu.RLock()
	uploads, ended := c.uploads, c.ended
	c.mu.RUnlock()
	if uploads == nil {
		return
	}
	st, err := uploads.Find(name)
	if err == nil {
		c.note(st)
	}
	if err == nil && st.Result == nil && st.Meta.HeldChunks > 0 {
		if wait, ok := c.pace.rest(name, c.clock.Now()); ok {
			c.enqueueAfter(name, wait)
		}
		return
	}
	if err == nil && st.Result != nil {
		ended()
	}
	c.enqueue(name)
}

// note takes note that the API server is to be told of an upload.
func (c *changes) note(st upload.Status) {
	switch name := st.Grant.Name; {
	case name.Namespace != c.namespace:
	case st.Result != nil:
		c.pending.ended(name, st.Meta.Ended, c.clock.Now())
	default:
		c.pending.changed(name, c.clock.Now())
	}
}

func (c *changes) enqueue(name upload.Name) { c.enqueueAfter(name, 0) }

func (c *changes) enqueueAfter(name upload.Name, wait time.Duration) {
	c.mu.RLock()
	queue := c.queue
	c.mu.RUnlock()
	if queue == nil || name.Namespace != c.namespace {
		return
	}
	queue.AddAfter(reconcile.Request{
		NamespacedName: types.NamespacedName{Namespace: name.Namespace, Name: name.Name},
	}, wait)
}
