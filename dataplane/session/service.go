package session

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"iter"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Config is what a Service is made of.
type Config struct {
	// Sink keeps the bytes.
	Sink ByteSink
	// Clock tells the time; nil is SystemClock.
	Clock Clock
	// Checksum makes the checksum that the ledger keeps of every chunk. It tells bytes that were
	// damaged on the volume, and decides nothing else: anybody can make bytes that have a given one.
	Checksum func() hash.Hash64
	// TakeOverAfter is how long the writer of a chunk may go without a byte before a later
	// request for the same chunk takes over; 0 is DefaultTakeOverAfter.
	TakeOverAfter time.Duration
	// DeadlineGrace is how long after a session's deadline chunks that were let in before it may
	// still arrive; then they are cut. 0 is DefaultDeadlineGrace.
	DeadlineGrace time.Duration
	// BlockSize is the size in bytes of the buffer that each arriving chunk takes from a pool
	// (two where somebody follows it or it is compared with what is held), and of its writes; 0 is
	// DefaultBlockSize.
	BlockSize int
}

// Defaults of Config.
const (
	DefaultTakeOverAfter = 5 * time.Second
	DefaultDeadlineGrace = 10 * time.Second
	DefaultBlockSize     = 256 << 10
)

// Service is the operations on sessions. Its methods may be called
// concurrently, after Recover has returned.
type Service struct {
	sink          ByteSink
	clock         Clock
	began         time.Time
	checksum      func() hash.Hash64
	takeOverAfter time.Duration
	deadlineGrace time.Duration
	blocks        sync.Pool // of *[]byte

	mu       sync.RWMutex
	sessions map[ID]*live
	pending  map[ownerKey]ID      // sessions with a key, not ended
	creating map[ID]chan struct{} // closed when Begin is through with the ID
}

type ownerKey struct{ owner, key string }

// NewService returns a service that knows no session yet: call Recover next.
func NewService(c Config) *Service {
	if c.Clock == nil {
		c.Clock = SystemClock{}
	}
	if c.TakeOverAfter == 0 {
		c.TakeOverAfter = DefaultTakeOverAfter
	}
	if c.DeadlineGrace == 0 {
		c.DeadlineGrace = DefaultDeadlineGrace
	}
	if c.BlockSize == 0 {
		c.BlockSize = DefaultBlockSize
	}
	s := &Service{
		sink: c.Sink, clock: c.Clock, began: c.Clock.Now(), checksum: c.Checksum, takeOverAfter: c.TakeOverAfter, deadlineGrace: c.DeadlineGrace,
		sessions: map[ID]*live{}, pending: map[ownerKey]ID{}, creating: map[ID]chan struct{}{},
	}
	s.blocks.New = func() any {
		b := make([]byte, c.BlockSize)
		return &b
	}
	return s
}

// Recover takes up every session that the volume holds, from the volume alone.
// It is called once, before any other method. Sessions that can't be read are
// left as they are and come back joined in the error; all others are taken up.
// ErrVolume is among the errors where there may be others that were not even
// found: then nothing may be served.
//
// The idle timeout of a recovered session starts anew, because its client
// could not send while nobody listened.
func (s *Service) Recover(ctx context.Context) error {
	var unreadable []error
	for r, err := range s.sink.Recover(ctx) {
		if err != nil && r.ID == "" {
			unreadable = append(unreadable, fmt.Errorf("%w: %w", ErrVolume, err))
			continue
		}
		if err != nil {
			unreadable = append(unreadable, fmt.Errorf("session %q: %w", r.ID, err))
			continue
		}
		l := recoverLive(r, s.now())
		s.sessions[r.ID] = l
		if r.State.Ended() || r.Spec.Key == "" {
			continue
		}
		// Two have the same key where the end of the older one could not be stored.
		key := ownerKey{r.Spec.Owner, r.Spec.Key}
		if twin := s.pendingSession(key); twin == nil || twin.created.Before(l.created) {
			s.pending[key] = r.ID
		}
	}
	return errors.Join(unreadable...)
}

// Begin makes a session, durably. It is idempotent: where the ID is known, or
// the owner has a pending session with the same key, and the spec is the same
// but for the timeouts, it returns that session and false. ErrConflict where
// the spec is another, ErrInvalid, ErrNoSpace. A session that has ended is
// returned too when its ID is the same.
func (s *Service) Begin(ctx context.Context, id ID, spec Spec) (Meta, bool, error) {
	if _, err := ParseID(string(id)); err != nil {
		return Meta{}, false, err
	}
	if err := spec.Validate(); err != nil {
		return Meta{}, false, err
	}
	key := ownerKey{spec.Owner, spec.Key}
	for {
		s.mu.Lock()
		wait, busy := s.creating[id]
		found := s.sessions[id]
		if twin, ok := s.pending[key]; ok && found == nil && spec.Key != "" && !busy {
			found = s.pendingSession(key)
			wait, busy = s.creating[twin]
		}
		if !busy && found == nil {
			break
		}
		s.mu.Unlock()
		if busy {
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return Meta{}, false, ctx.Err()
			}
		}
		if m := found.meta(); m.Spec.same(spec) {
			return m, false, nil
		}
		return Meta{}, false, fmt.Errorf("%w: session %s began with another spec", ErrConflict, found.id)
	}
	done := make(chan struct{})
	s.creating[id] = done
	if spec.Key != "" {
		s.pending[key] = id
	}
	s.mu.Unlock()

	l := newLive(id, spec, s.now())
	l.saved = l.record()
	err := s.sink.Create(ctx, l.saved)

	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.creating, id)
	close(done)
	if err != nil {
		delete(s.pending, key)
		return Meta{}, false, fmt.Errorf("begin session %s: %w", id, err)
	}
	s.sessions[id] = l
	return l.meta(), true, nil
}

// Get returns what is known of a session. It takes no lock that a writer
// holds while bytes move. ErrNotFound.
func (s *Service) Get(id ID) (Meta, error) {
	l, err := s.find(id)
	if err != nil {
		return Meta{}, err
	}
	return l.meta(), nil
}

// FindPending returns the owner's session with the key that has not ended; the
// key is not empty. ErrNotFound.
func (s *Service) FindPending(owner, key string) (Meta, error) {
	s.mu.RLock()
	l := s.pendingSession(ownerKey{owner, key})
	s.mu.RUnlock()
	if l != nil {
		if m := l.meta(); !m.State.Ended() {
			return m, nil
		}
	}
	return Meta{}, fmt.Errorf("%w: no pending session with that key", ErrNotFound)
}

// Filter chooses sessions by what they are.
type Filter func(Spec) bool

// Everyone chooses every session.
func Everyone(Spec) bool { return true }

// OwnedBy returns the filter that chooses the sessions of one owner.
func OwnedBy(owner string) Filter { return func(s Spec) bool { return s.Owner == owner } }

// All yields the sessions that the filter chooses, in no order, ended ones
// too. Sessions that begin meanwhile may be left out.
func (s *Service) All(choose Filter) iter.Seq[Meta] {
	return func(yield func(Meta) bool) {
		for _, l := range s.snapshot() {
			if m := l.meta(); choose(m.Spec) && !yield(m) {
				return
			}
		}
	}
}

// CountActive is how many sessions that the filter chooses have not ended.
func (s *Service) CountActive(choose Filter) int {
	n := 0
	for m := range s.All(choose) {
		if !m.State.Ended() {
			n++
		}
	}
	return n
}

// Chunk is one held chunk: where it lies and how long it is, in bytes.
type Chunk struct {
	Index          int
	Offset, Length int64
}

// Chunks yields the chunks that a session holds, in order; of one that has ended
// those that this process knows of, if any. ErrNotFound.
func (s *Service) Chunks(id ID) (iter.Seq[Chunk], error) {
	l, err := s.find(id)
	if err != nil {
		return nil, err
	}
	spec := l.head.Load().spec
	return func(yield func(Chunk) bool) {
		for index := range l.ledger.All() {
			offset, length, _ := spec.Extent(index) // the ledger holds no other index
			if !yield(Chunk{index, offset, length}) {
				return
			}
		}
	}, nil
}

// Holds returns a function that reports whether a session holds a chunk now.
// Index is from 0 to Spec.Chunks()-1; it may be called concurrently, takes no
// lock, and goes on as it stood once the session is removed. ErrNotFound.
func (s *Service) Holds(id ID) (func(index int) bool, error) {
	l, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return l.ledger.Has, nil
}

// Missing is Get with the first ranges of chunks that the session lacks as the Meta has it, at most limit of
// them. Of one that has ended there are none: nothing is to be sent. ErrNotFound.
func (s *Service) Missing(id ID, limit int) (Meta, []Range, error) {
	l, err := s.find(id)
	if err != nil {
		return Meta{}, nil, err
	}
	m, ranges := l.missing(limit)
	return m, ranges, nil
}

// SetTimeouts replaces the timeouts of a session, durably. Setting what is set
// does nothing. When a deadline comes is settled as it is set, and when the session is
// recovered: a clock that is set meanwhile changes nothing. ErrNotFound, ErrEnded, ErrInvalid.
func (s *Service) SetTimeouts(ctx context.Context, id ID, idle time.Duration, deadline time.Time) error {
	l, err := s.find(id)
	if err != nil {
		return err
	}
	err = l.change(func(h *head) error {
		if h.state.Ended() {
			return &EndedError{Meta: l.metaOf(h)}
		}
		h.spec.IdleTimeout = idle
		if !h.spec.Deadline.Equal(deadline) { // the same moment may be written in another way
			h.spec.Deadline, h.deadline = deadline, s.now().until(deadline)
		}
		return h.spec.Validate()
	})
	if err != nil {
		return err
	}
	return s.save(ctx, l)
}

// SetPaused makes a session take no chunks, or take them again, durably. While it is paused
// its idle timeout stands still, and it starts anew after. ErrNotFound, ErrEnded; after an error of the sink
// it is as told until the process ends.
func (s *Service) SetPaused(ctx context.Context, id ID, paused bool) error {
	l, err := s.find(id)
	if err != nil {
		return err
	}
	err = l.change(func(h *head) error {
		if h.state.Ended() {
			return &EndedError{Meta: l.metaOf(h)}
		}
		if h.paused && !paused {
			h.idleFrom = s.passed()
		}
		h.paused = paused
		return nil
	})
	if err != nil {
		return err
	}
	return s.save(ctx, l)
}

// HoldIdle has the idle timeout of a session stand still while nobody can send, or count from now. It is not
// stored: of a recovered session it counts. ErrNotFound, ErrEnded.
func (s *Service) HoldIdle(id ID, held bool) error {
	l, err := s.find(id)
	if err != nil {
		return err
	}
	return l.change(func(h *head) error {
		if h.state.Ended() {
			return &EndedError{Meta: l.metaOf(h)}
		}
		h.idleHeld, h.idleFrom = held, s.passed()
		return nil
	})
}

// OpenStaged opens the bytes of a session for reading, such as to compute a digest over chunks
// that are held. ErrNotFound where they were freed. The caller closes it.
func (s *Service) OpenStaged(ctx context.Context, id ID) (Staged, error) {
	if _, err := s.find(id); err != nil {
		return nil, err
	}
	return s.sink.Open(ctx, id)
}

// Space tells how much room the volume has: its size, and as Free what could
// be reserved if no session had bytes staged, so that it does not change
// while sessions begin and fill.
func (s *Service) Space(ctx context.Context) (Space, error) {
	space, err := s.sink.Space(ctx)
	if err != nil {
		return Space{}, err
	}
	for m := range s.All(Everyone) {
		if !m.Settled {
			space.Free += m.Spec.Size
		}
	}
	return space, nil
}

func (s *Service) find(id ID) (*live, error) {
	s.mu.RLock()
	l := s.sessions[id]
	s.mu.RUnlock()
	if l == nil {
		return nil, fmt.Errorf("%w: session %q", ErrNotFound, id)
	}
	return l, nil
}

// pendingSession returns the session with the key that has not ended, or nil.
// The caller holds s.mu.
func (s *Service) pendingSession(key ownerKey) *live {
	l := s.sessions[s.pending[key]]
	if l == nil || l.head.Load().state.Ended() {
		return nil
	}
	return l
}

func (s *Service) snapshot() []*live {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Collect(maps.Values(s.sessions))
}

// save stores the record of a session as it is now, unless that is stored
// already. Saves of one session come one after the other, so that an older
// record never replaces a newer one.
func (s *Service) save(ctx context.Context, l *live) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	r := l.record()
	if reflect.DeepEqual(l.saved, r) {
		return nil
	}
	l.saved = Record{} // a save that fails may have stored it or not
	if err := s.sink.SaveRecord(ctx, r); err != nil {
		return err
	}
	l.saved = r
	return nil
}
