package chunkapi

import (
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// chunkID names one chunk of one session.
type chunkID struct {
	session session.ID
	index   int
}

// receiving are the bodies that are being read, one of a chunk at most.
//
// The core lets a request take over from one for the same chunk that hangs, but only sees those
// that have a slot. Those that wait for one find here what they retry; else a client whose
// connections all died would have to wait for its own dead requests to time out.
//
// Methods may be called concurrently.
type receiving struct {
	mu     sync.Mutex
	bodies map[chunkID]*incomingBody
}

func newReceiving() *receiving { return &receiving{bodies: map[chunkID]*incomingBody{}} }

func (r *receiving) begin(id chunkID, b *incomingBody) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies[id] = b
}

// end ends what begin began, if it did. The next body of the chunk may have begun by now.
func (r *receiving) end(id chunkID, b *incomingBody) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bodies[id] == b {
		delete(r.bodies, id)
	}
}

// takeOver interrupts the body of a chunk that has had no byte for so long. It
// returns when to ask again.
func (r *receiving) takeOver(id chunkID, after time.Duration) time.Duration {
	r.mu.Lock()
	b := r.bodies[id]
	r.mu.Unlock()
	if b == nil {
		return after
	}
	if left := after - time.Since(b.lastByte()); left > 0 {
		return left
	}
	b.Interrupt()
	return after
}
