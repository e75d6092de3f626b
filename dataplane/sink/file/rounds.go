package file

import "sync"

// rounds lets those who want the same thing made durable at the same time
// share one sync. A sync covers whatever was written before it began, so who
// comes while one is running waits for the next: that one begins later than
// the writes of all who wait for it. The zero rounds is ready.
type rounds struct {
	// await waits for the sync that runs; where it returns an error before that has ended, that is the next round's.
	// Without it they wait for however long it takes.
	await func(running <-chan struct{}) error

	mu   sync.Mutex
	next *round        // takes whoever comes until its sync begins
	last chan struct{} // closed when the last sync that began has ended; nil before the first
}

type round struct {
	done   chan struct{}
	joined int   // guarded by mu; it stays once the sync begins
	err    error // set before done is closed
}

// join returns what a call of makeDurable returns that began after join was called; it is told how many share it.
// Of those who share a round the first one calls it. One call runs at a time.
func (r *rounds) join(makeDurable func(joined int) error) error {
	r.mu.Lock()
	one, last := r.next, r.last
	first := one == nil
	if first {
		one = &round{done: make(chan struct{})}
		r.next = one
	}
	one.joined++
	r.mu.Unlock()

	if !first {
		<-one.done
		return one.err
	}
	if one.err = r.awaitSync(last); one.err != nil {
		r.close(last)
	} else {
		r.close(one.done)
		one.err = makeDurable(one.joined)
	}
	close(one.done)
	return one.err
}

// close lets nobody join the round any more that is next. last is closed when the sync that runs has ended.
func (r *rounds) close(last chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next, r.last = nil, last
}

func (r *rounds) awaitSync(running <-chan struct{}) error {
	switch {
	case running == nil:
		return nil
	case r.await != nil:
		return r.await(running)
	}
	<-running
	return nil
}
