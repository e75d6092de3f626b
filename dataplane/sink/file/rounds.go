package file

import "sync"

// rounds lets those who want the same thing made durable at the same time
// share one sync. A sync covers whatever was written before it began, so who
// comes while one is running waits for the next: that one begins later than
// the writes of all who wait for it. The zero rounds is ready.
type rounds struct {
	mu   sync.Mutex
	next *round        // takes whoever comes until its sync begins
	last chan struct{} // closed when the last sync that began has ended; nil before the first
}

type round struct {
	done chan struct{}
	err  error // set before done is closed
}

// join returns what a call of makeDurable returns that began after join was called.
// Of those who share a round the first one calls it. One call runs at a time.
func (r *rounds) join(makeDurable func() error) error {
	r.mu.Lock()
	one, last := r.next, r.last
	first := one == nil
	if first {
		one = &round{done: make(chan struct{})}
		r.next = one
	}
	r.mu.Unlock()

	if !first {
		<-one.done
		return one.err
	}
	if last != nil {
		<-last
	}
	r.mu.Lock()
	r.next, r.last = nil, one.done
	r.mu.Unlock()
	one.err = makeDurable()
	close(one.done)
	return one.err
}
