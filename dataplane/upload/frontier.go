package upload

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/slipway-dev/slipway/dataplane/session"
)

const (
	// readSize is how many bytes of a chunk are read back at once.
	readSize = 256 << 10
	// turn is how many bytes of one upload are read back before others get a turn, or a chunk
	// where that is longer: acknowledgements may wait for it.
	turn = 4 << 20
)

// frontier is the digest of an upload's chunks while they come. Each byte is
// summed up once: from memory as it arrives where the sum can take the chunk by
// then, or else in the background from what is staged.
type frontier struct {
	core    *session.Service
	id      session.ID
	spec    session.Spec
	held    func(index int) bool
	buffers *sync.Pool // of *[]byte, readSize long

	kicks atomic.Int64 // how often follow was called since it last came to rest

	reading sync.Mutex // held while chunks are read back, one after the other

	mu    sync.Mutex // guards what is below; no chunk is read or hashed under it
	sum   sum
	along map[int]strand // of chunks that are arriving
	pace  pace
	moved chan struct{} // closed once the frontier has moved or rests; nil where nobody waits
}

func newFrontier(core *session.Service, m session.Meta, sum sum, buffers *sync.Pool) (*frontier, error) {
	held, err := core.Holds(m.ID)
	if err != nil {
		return nil, err
	}
	// What is held already is an earlier process's, and nobody waits until it is read back.
	_, could := sum.reach(held)
	return &frontier{
		core: core, id: m.ID, spec: m.Spec, held: held, buffers: buffers, sum: sum, along: map[int]strand{},
		pace: pace{could: could, debt: could},
	}, nil
}

// begin takes a new chunk along while it arrives, and returns what its blocks
// are to be written to; nil where they have to be read back later. The caller
// has the chunk to itself until it calls end.
func (f *frontier) begin(index int) strand {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sum.strand(f.chunk(index))
	if s != nil {
		f.along[index] = s // in the place of one whose request failed and is about to say so
	}
	return s
}

// end ends what begin began: the chunk is held now, and every block of it was
// written to the strand; or nothing of it counts.
func (f *frontier) end(index int, s strand, added bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.along[index] != s {
		return // digest would not wait for it
	}
	delete(f.along, index)
	if added {
		f.sum.add(f.chunk(index), s)
		f.wake()
	}
}

// follow advances the frontier in the background, in at most one goroutine.
// slots bounds how many frontiers advance at once; they take turns.
func (f *frontier) follow(ctx context.Context, running *sync.WaitGroup, slots chan struct{}) {
	if f.caughtUp() {
		return
	}
	if f.kicks.Add(1) > 1 {
		return // the goroutine that runs will look again
	}
	running.Go(func() {
		for more := true; more; {
			seen := f.kicks.Load()
			more = false
			select {
			case slots <- struct{}{}:
				// An error is not lost: digest meets it again, and has somebody to tell.
				more, _ = f.advance(ctx, f.arrived, turn)
				<-slots
			case <-ctx.Done():
			}
			more = more || !f.kicks.CompareAndSwap(seen, 0)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wake()
	})
}

// caughtUp reports whether every chunk that is held was summed up, without a
// look at each.
func (f *frontier) caughtUp() bool {
	m, err := f.core.Get(f.id)
	if err != nil {
		return true // of nothing
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sum.count() >= m.HeldChunks
}

// keepUp returns once the frontier does not lag more than it may behind the
// chunks that are held, or comes to rest where it is, or one of the contexts is done.
func (f *frontier) keepUp(ctx, closing context.Context) {
	for {
		moved := f.late()
		if moved == nil {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		case <-closing.Done():
			return
		}
	}
}

// late returns what is closed once it is worth looking again, or nil where the
// frontier does not lag too much, or nothing moves it.
func (f *frontier) late() <-chan struct{} {
	m, err := f.core.Get(f.id)
	if err != nil || m.State.Ended() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	done, could := f.sum.reach(f.held)
	if !f.pace.late(done, could, m.Spec.Size-m.HeldBytes) || f.kicks.Load() == 0 {
		return nil
	}
	if f.moved == nil {
		f.moved = make(chan struct{})
	}
	return f.moved
}

// wake wakes who waits. The caller holds f.mu.
func (f *frontier) wake() {
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
}

// digest returns the digest of the whole, once every chunk is held. It does
// not wait for requests, but reads back what one of them is about to add, and
// takes turns with others: slots is as for follow.
func (f *frontier) digest(ctx context.Context, slots chan struct{}) (Digest, error) {
	for more := true; ; {
		f.mu.Lock()
		d, whole := f.sum.digest()
		f.mu.Unlock()
		if whole {
			return d, nil
		}
		if !more {
			return "", fmt.Errorf("digest of session %s: %w", f.id, session.ErrIncomplete)
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		var err error
		more, err = f.advance(ctx, f.held, turn)
		<-slots
		if err != nil {
			return "", err
		}
	}
}

// arrived reports whether a chunk is held and no request is about to add it.
// The caller holds f.mu.
func (f *frontier) arrived(index int) bool { return f.held(index) && f.along[index] == nil }

// advance sums up the chunks that are ready, until it has read back so many
// bytes, and reports whether that is why it returned. A chunk that can't be
// read whole leaves no trace.
func (f *frontier) advance(ctx context.Context, ready func(index int) bool, limit int64) (more bool, err error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	var staged session.Staged // opened where something is to be read
	defer func() {
		if staged != nil {
			_ = staged.Close() // it was only read
		}
	}()
	for limit > 0 {
		m, err := f.core.Get(f.id)
		if err != nil || m.State.Ended() {
			return false, err // nobody asks for its digest any more
		}
		c, s := f.next(ready)
		if s == nil {
			return false, nil
		}
		if staged == nil {
			opened, err := f.core.OpenStaged(ctx, f.id)
			if err != nil {
				return false, err
			}
			staged = opened
		}
		if err := f.read(ctx, staged, c, s); err != nil {
			return false, fmt.Errorf("read chunk %d of session %s: %w", c.Index, f.id, err)
		}
		f.mu.Lock()
		f.sum.add(c, s)
		f.wake()
		f.mu.Unlock()
		limit -= c.Length
	}
	return true, nil
}

// next returns the next chunk that is ready and a strand of it, or nil. From
// then on no request adds the chunk. The caller holds f.reading.
func (f *frontier) next(ready func(index int) bool) (session.Chunk, strand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	index, found := f.sum.next(ready)
	if !found {
		return session.Chunk{}, nil
	}
	delete(f.along, index)
	c := f.chunk(index)
	return c, f.sum.strand(c)
}

// read writes a chunk that is held to a strand.
func (f *frontier) read(ctx context.Context, staged session.Staged, c session.Chunk, s strand) error {
	buffer := f.buffers.Get().(*[]byte) //nolint:errcheck // the pool holds nothing else
	defer f.buffers.Put(buffer)
	for at := int64(0); at < c.Length; {
		if err := ctx.Err(); err != nil {
			return err
		}
		block := (*buffer)[:min(int64(len(*buffer)), c.Length-at)]
		if n, err := staged.ReadAt(block, c.Offset+at); n < len(block) {
			if err == nil || err == io.EOF { //nolint:errorlint // io.ReaderAt returns it as it is
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		_, _ = s.Write(block) // a strand never fails
		at += int64(len(block))
	}
	return nil
}

// chunk is where a chunk lies that the upload has.
func (f *frontier) chunk(index int) session.Chunk {
	offset, length, _ := f.spec.Extent(index) // there is such a chunk
	return session.Chunk{Index: index, Offset: offset, Length: length}
}
