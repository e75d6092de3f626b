package cluster

import (
	"time"

	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// What was learnt is believed for so long, or the API server would be asked for each chunk that
// comes to the wrong replica; and longer where the API server does not answer. A
// session never changes its replica; only one that is created again under the
// same name may have another.
const (
	fresh = 30 * time.Second
	stale = 10 * time.Minute
)

// maxRemembered bounds how many sessions of other replicas are remembered.
const maxRemembered = 1 << 14

// owners remembers which replica owns a session. Its methods may be called
// concurrently; nil remembers nothing.
type owners struct {
	clock session.Clock
	names *cache.LRUExpireCache // upload.Name -> remembered
}

type remembered struct {
	owner *upload.ElsewhereError
	since time.Time
}

func newOwners(clock session.Clock) *owners {
	return &owners{clock: clock, names: cache.NewLRUExpireCacheWithClock(maxRemembered, clock)}
}

func (o *owners) remember(name upload.Name, owner *upload.ElsewhereError) {
	if o != nil {
		o.names.Add(name, remembered{owner, o.clock.Now()}, stale)
	}
}

// recall returns what was learnt of a session within the last so long, as an error; nil where nothing was.
func (o *owners) recall(name upload.Name, within time.Duration) error {
	if o == nil {
		return nil
	}
	known, _ := o.names.Get(name)
	r, ok := known.(remembered)
	if !ok || o.clock.Now().Sub(r.since) >= within {
		return nil
	}
	return r.owner
}

func (o *owners) forget(name upload.Name) {
	if o != nil {
		o.names.Remove(name)
	}
}
