package file

import (
	"sync"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// guards lets one caller at a time make, name or rewrite a session.
type guards struct {
	mu sync.Mutex
	of map[session.ID]*guard
}

type guard struct {
	sync.Mutex
	users int // who holds it or waits for it
}

// lock waits until nobody else has the session and returns what gives it back.
func (g *guards) lock(id session.ID) (unlock func()) {
	g.mu.Lock()
	if g.of == nil {
		g.of = map[session.ID]*guard{}
	}
	one := g.of[id]
	if one == nil {
		one = &guard{}
		g.of[id] = one
	}
	one.users++
	g.mu.Unlock()

	one.Lock()
	return func() {
		one.Unlock()
		g.mu.Lock()
		defer g.mu.Unlock()
		one.users--
		if one.users == 0 {
			delete(g.of, id)
		}
	}
}
