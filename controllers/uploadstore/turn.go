package uploadstore

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// turnLasts is how long one store may hold up the updates of others.
const turnLasts = 10 * time.Minute

// turn is whose Pods may follow an upgrade of the operator: one store at a time. It is of the process alone, so that
// after a change of leader a store may begin while the one before it ends. It is safe for concurrent use.
type turn struct {
	mu    sync.Mutex
	store types.UID // empty for none
	since time.Time
}

// take reports whether it is a store's turn, which it may become by that.
func (t *turn) take(store types.UID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.store != "" && t.store != store && now.Before(t.since.Add(turnLasts)) {
		return false
	}
	if t.store != store {
		t.store, t.since = store, now
	}
	return true
}

// pass ends the turn of a store, if it has it.
func (t *turn) pass(store types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.store == store {
		t.store = ""
	}
}
