package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Incoming is one chunk as it arrives.
type Incoming struct {
	// Index is the place of the chunk, from 0.
	Index int
	// Length is how long the sender says it is, in bytes.
	Length int64
	// Body yields exactly Length bytes.
	Body io.Reader
	// Interrupt makes a Read of Body that hangs return an error. It is called from another
	// goroutine, at most once, while PutChunk runs; nil where Body never hangs.
	Interrupt func()
	// Checks must all hold before the chunk counts.
	Checks []Check
	// Follow, where it is not nil, is called once when a new chunk begins to be written; not
	// where the chunk is only compared with what is held. From then until PutChunk returns no
	// other call writes the chunk. What it returns, where that is not nil, gets each block in
	// order, from one goroutine, while the next one is read; the last before PutChunk returns. It may not change a block nor keep it. What it saw counts only where PutChunk
	// returns added: the chunk may still fail, or turn out to be another.
	Follow func() (see func(block []byte))
}

// Check is something that all bytes of a chunk are written to and that must
// then sum up to what is wanted.
type Check struct {
	// Name names the check in errors, such as "sha-256".
	Name string
	// Hash is fresh.
	Hash hash.Hash
	// Want is the sum that the bytes must have.
	Want []byte
}

// PutChunk takes a chunk. On nil the chunk is held durably: its bytes and its
// slot are on stable storage. It reports whether the chunk is new; the same bytes again are
// held already, and no error. That they are the same is found by comparing every one of them.
//
// Bytes stream to their offset through one pooled block, or through two where
// somebody follows or they are compared; none are buffered beyond them. While another call
// writes the same chunk this one waits, and takes over once the other has not
// received a byte for Config.TakeOverAfter.
//
// Nothing counts when it fails: ErrNotFound, ErrInvalid (no such chunk),
// ErrLength, ErrBody, ErrMismatch (a check failed), ErrConflict (other bytes
// are held), ErrSuperseded, ErrPaused, ErrDeadline, ErrEnded, ErrNoSpace, the context's
// error, or the sink's. A session that has ended, however it did, takes no chunk and has no bytes
// to compare one with: none of Body was read where the error says that it is Finished.
func (s *Service) PutChunk(ctx context.Context, id ID, in Incoming) (added bool, err error) {
	l, err := s.find(id)
	if err != nil {
		return false, err
	}
	offset, length, err := l.head.Load().spec.Extent(in.Index)
	if err != nil {
		return false, err
	}
	if in.Length != length {
		return false, fmt.Errorf("%w: chunk %d has %d bytes, not %d", ErrLength, in.Index, length, in.Length)
	}
	w, err := s.enter(ctx, l, in)
	if err != nil {
		return false, err
	}
	defer l.leave(in.Index, w)
	if w.repeats {
		err = s.compare(ctx, l, w, in, offset)
	} else if err = s.write(ctx, l, w, in, offset); err == nil {
		l.addChunk(in.Index)
		now := s.now()
		l.active.Store(now.time.UnixNano())
		w.lastByte.Store(int64(now.passed)) // to store it may have taken long
		added = true
	}
	// A session that was ended meanwhile says so, whatever became of the chunk: the bytes are
	// about to be freed, and an interrupted body is not the sender's fault.
	if ended := l.stillTakes(); ended != nil {
		return false, ended
	}
	return added, err
}

// writer is one call of PutChunk that has its chunk to itself.
type writer struct {
	mu        sync.Mutex
	interrupt func() // nil once it was called, and once the call is through

	repeats    bool          // the chunk is held already: nothing that arrives is worth waiting for
	done       chan struct{} // closed when the call is through
	lastByte   atomic.Int64  // when the last byte arrived, as moment.passed
	storing    atomic.Bool   // every byte has arrived; what takes time now is the volume
	superseded atomic.Bool
}

// stop makes the writer return soon; it may be called more than once, and does
// nothing when the call is through.
func (w *writer) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.interrupt != nil {
		w.interrupt()
		w.interrupt = nil
	}
}

// leave ends the writer.
func (w *writer) leave() {
	w.mu.Lock()
	w.interrupt = nil
	w.mu.Unlock()
	close(w.done)
}

// enter waits until the chunk is free and takes it.
func (s *Service) enter(ctx context.Context, l *live, in Incoming) (*writer, error) {
	for {
		now := s.passed()
		l.mu.Lock()
		if err := l.takes(now); err != nil {
			l.mu.Unlock()
			return nil, err
		}
		other := l.writers[in.Index]
		if other == nil {
			w := &writer{interrupt: in.Interrupt, repeats: l.ledger.Has(in.Index), done: make(chan struct{})}
			w.lastByte.Store(int64(now))
			l.writers[in.Index] = w
			l.writing.Add(1)
			l.mu.Unlock()
			return w, nil
		}
		l.mu.Unlock()

		patience := s.takeOverAfter - (s.passed() - time.Duration(other.lastByte.Load()))
		if patience <= 0 && !other.storing.Load() {
			other.superseded.Store(true)
			other.stop()
		}
		if patience <= 0 {
			patience = s.takeOverAfter // it is on its way out, or storing
		}
		select {
		case <-other.done:
		case <-s.clock.After(patience):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// takes returns why the session lets no chunk in now, or nil. The caller holds l.mu.
func (l *live) takes(passed time.Duration) error {
	switch h := l.head.Load(); {
	case h.state.Ended():
		return &EndedError{Meta: l.metaOf(h)}
	case h.paused:
		return ErrPaused
	case h.state == Open && h.pastDeadline(passed): // what is sealed is complete: a repeat disturbs nobody
		return ErrDeadline
	}
	return nil
}

func (l *live) leave(index int, w *writer) {
	l.mu.Lock()
	delete(l.writers, index)
	l.writing.Add(-1)
	l.heard.Store(max(l.heard.Load(), w.lastByte.Load()))
	l.mu.Unlock()
	w.leave()
}

// write streams a new chunk to its place and commits it.
func (s *Service) write(ctx context.Context, l *live, w *writer, in Incoming, offset int64) error {
	staged, err := s.sink.Open(ctx, l.id)
	if err != nil {
		return err
	}
	defer func() { _ = staged.Close() }() // what was written is made durable by Commit, not by Close
	var see func([]byte)
	if in.Follow != nil {
		see = in.Follow()
	}
	sum := s.checksum()
	err = s.receive(ctx, w, in, see, func(block []byte, at int64) error {
		sum.Write(block) // a hash.Hash never returns an error
		_, err := staged.WriteAt(block, offset+at)
		return err
	})
	if err != nil {
		return err
	}
	return staged.Commit(ctx, in.Index, offset, Slot{Length: in.Length, Checksum: sum.Sum64()})
}

// stillTakes returns why the session takes no chunk, or nil. A chunk that was
// let in before the session finished is held all the same.
func (l *live) stillTakes() error {
	if h := l.head.Load(); h.state.Ended() && h.state != Finished {
		return &EndedError{Meta: l.metaOf(h)}
	}
	return nil
}

// receive reads the body block by block, shows each to see where that is not
// nil, hands each to keep with its offset in the chunk, and returns nil once
// every check holds. No block is seen any more once it has returned.
func (s *Service) receive(
	ctx context.Context, w *writer, in Incoming, see func(block []byte), keep func(block []byte, at int64) error,
) error {
	buffer := s.blocks.Get().(*[]byte) //nolint:errcheck // the pool holds nothing else
	defer func() { s.blocks.Put(buffer) }()
	show := func([]byte) {}
	switch {
	case see == nil:
	case in.Length <= int64(len(*buffer)):
		show = see // no block comes while it is seen
	default:
		other := s.blocks.Get().(*[]byte) //nolint:errcheck // as above
		defer func() { s.blocks.Put(other) }()
		following := newFollower(see)
		defer following.end() // before the blocks go back
		show = func(block []byte) {
			following.show(block)
			buffer, other = other, buffer // the block before was seen
		}
	}
	body := &watchedBody{body: in.Body, writer: w, passed: s.passed}
	for at := int64(0); at < in.Length; {
		block := (*buffer)[:min(int64(len(*buffer)), in.Length-at)]
		if _, err := io.ReadFull(body, block); err != nil {
			return bodyError(ctx, w, err)
		}
		show(block)
		for _, c := range in.Checks {
			c.Hash.Write(block) // a hash.Hash never returns an error
		}
		if err := keep(block, at); err != nil {
			return err
		}
		at += int64(len(block))
	}
	switch _, err := io.ReadFull(body, (*buffer)[:1]); {
	case err == nil:
		return fmt.Errorf("%w: the body goes on after %d bytes", ErrLength, in.Length)
	case !errors.Is(err, io.EOF):
		return bodyError(ctx, w, err)
	}
	w.storing.Store(true)
	for _, c := range in.Checks {
		if got := c.Hash.Sum(nil); !bytes.Equal(got, c.Want) {
			return fmt.Errorf("%w: %s of the %d bytes received is %x, not %x", ErrMismatch, c.Name, in.Length, got, c.Want)
		}
	}
	return nil
}

func bodyError(ctx context.Context, w *writer, err error) error {
	switch {
	case w.superseded.Load():
		return ErrSuperseded
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrBody, err)
}

// watchedBody notes when bytes arrive, so that a later request can tell a slow
// sender from a dead one.
type watchedBody struct {
	body   io.Reader
	writer *writer
	passed func() time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.writer.lastByte.Store(int64(b.passed()))
	}
	return n, err
}
