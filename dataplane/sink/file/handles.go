package file

import (
	"container/list"
	"errors"
	"os"
	"sync"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// maxIdleHandles bounds how many sessions are kept open that nobody is using.
const maxIdleHandles = 128

// handle is a session whose files are open. They stay open between two
// operations, because to open them safely costs more than a small chunk does.
type handle struct {
	id     session.ID
	dir    *os.Root
	data   *os.File
	size   int64 // of the data in bytes
	ledger *ledger

	dataSyncs, ledgerSyncs rounds

	// The rest belongs to handles and its lock.
	users   int
	idle    *list.Element // where it is among those that nobody uses; nil while in use
	dropped bool          // nobody finds it any more
}

// Close closes the files. It makes nothing durable.
func (h *handle) Close() error {
	return errors.Join(h.data.Close(), h.ledger.file.Close(), h.dir.Close())
}

// handles are the sessions that are open: each at most once for all who use
// it, and of the others those that were used last. Its methods may be called
// concurrently; the zero handles is ready.
type handles struct {
	mu    sync.Mutex
	of    map[session.ID]*handle
	idle  list.List // of *handle, the one that was used last in front
	drops int       // how often drop was called
}

// acquire returns the handle of a session, which open makes where there is
// none. Who got it gives it back to giveBack.
func (o *handles) acquire(id session.ID, open func() (*handle, error)) (*handle, error) {
	h, drops := o.find(id)
	if h != nil {
		return h, nil
	}
	made, err := open()
	if err != nil {
		return nil, err
	}
	h = o.add(made, drops)
	if h != made {
		release(made)
	}
	return h, nil
}

// use returns the handle of a session that is open, or nil.
func (o *handles) use(id session.ID) *handle {
	h, _ := o.find(id)
	return h
}

// find returns the handle of a session for use, or nil, and how often drop was
// called before.
func (o *handles) find(id session.ID) (*handle, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.of[id]
	if h != nil {
		o.take(h)
	}
	return h, o.drops
}

// add takes up a handle for use, or returns the one of somebody who was
// faster. What was opened while a session was dropped, and may be that session
// as it was before, is found by nobody else.
func (o *handles) add(made *handle, drops int) *handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch h := o.of[made.id]; {
	case h != nil:
		o.take(h)
		return h
	case drops != o.drops:
		made.dropped = true
	case o.of == nil:
		o.of = map[session.ID]*handle{made.id: made}
	default:
		o.of[made.id] = made
	}
	o.take(made)
	return made
}

// take counts one more user. The caller holds o.mu.
func (o *handles) take(h *handle) {
	h.users++
	if h.idle != nil {
		o.idle.Remove(h.idle)
		h.idle = nil
	}
}

// giveBack takes a handle back from one user.
func (o *handles) giveBack(h *handle) {
	if last := o.leave(h); last != nil {
		release(last)
	}
}

// leave counts one user less, and returns the handle that is to be closed, if any is.
func (o *handles) leave(h *handle) *handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	h.users--
	switch {
	case h.users > 0:
		return nil
	case h.dropped:
		return h
	}
	h.idle = o.idle.PushFront(h)
	if o.idle.Len() <= maxIdleHandles {
		return nil
	}
	oldest := o.idle.Back().Value.(*handle) //nolint:errcheck // the list holds nothing else
	o.forget(oldest)
	return oldest
}

// drop makes a session one that is not open any more, as soon as the last who
// uses it is through.
func (o *handles) drop(id session.ID) {
	o.mu.Lock()
	o.drops++
	h := o.of[id]
	unused := h != nil && h.users == 0
	if h != nil {
		o.forget(h)
	}
	o.mu.Unlock()
	if unused {
		release(h)
	}
}

// closeIdle closes every handle that nobody uses.
func (o *handles) closeIdle() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for o.idle.Len() > 0 {
		h := o.idle.Front().Value.(*handle) //nolint:errcheck // the list holds nothing else
		o.forget(h)
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}

// forget makes the handle one that nobody finds. The caller holds o.mu.
func (o *handles) forget(h *handle) {
	delete(o.of, h.id)
	h.dropped = true
	if h.idle != nil {
		o.idle.Remove(h.idle)
		h.idle = nil
	}
}
