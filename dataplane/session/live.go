package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// live is one session in memory. Readers take what they need from atomics;
// who changes the session takes mu, for no longer than a few assignments.
type live struct {
	id      ID
	created time.Time
	ledger  *Ledger
	bytes   atomic.Int64 // of held chunks
	active  atomic.Int64 // last activity, Unix nanoseconds; 0 is none
	writing atomic.Int64 // len(writers)
	heard   atomic.Int64 // when a byte last arrived, counted or not, as moment.passed
	head    atomic.Pointer[head]
	// before is what was held when the session ended, of one that had ended when it was recovered:
	// which chunks these were is not kept. Nil of every other.
	before *progress

	mu      sync.Mutex
	writers map[int]*writer // by chunk index

	saving   sync.Mutex // held while the record is stored
	saved    Record     // what is stored; zero where a failure left that open
	settling sync.Mutex // held while an ended session is settled
}

// progress is how much of a session is held.
type progress struct {
	chunks int
	bytes  int64
}

// head is what changes as a whole. It is replaced, never written to.
type head struct {
	spec     Spec
	state    State
	paused   bool
	idleHeld bool          // see HoldIdle
	idleFrom time.Duration // the idle timeout counts from here or from the last byte, as moment.passed
	sealed   time.Duration // since when it is, while it is Sealed, as moment.passed
	deadline time.Duration // when Spec.Deadline comes, as moment.passed
	ended    time.Time
	outcome  []byte
	recorded bool
	settled  bool
}

func newLive(id ID, spec Spec, now moment) *live {
	l := &live{id: id, created: now.time, ledger: NewLedger(spec.Chunks()), writers: map[int]*writer{}}
	l.head.Store(&head{spec: spec, state: Open, idleFrom: now.passed, deadline: now.until(spec.Deadline)})
	return l
}

func recoverLive(r Recovered, now moment) *live {
	l := newLive(r.ID, r.Spec, now)
	l.created = r.Created
	for index, held := range r.Held {
		if held {
			l.addChunk(index)
		}
	}
	if !r.LastCommit.IsZero() {
		l.active.Store(r.LastCommit.UnixNano())
	}
	l.head.Store(&head{
		spec: r.Spec, state: r.State, paused: r.Paused, idleFrom: now.passed, deadline: now.until(r.Spec.Deadline),
		ended: r.Ended, outcome: r.Outcome, recorded: r.State.Ended(), settled: r.State.Ended() && !r.HasBytes,
	})
	l.saved = r.Record
	if r.State.Ended() && r.HeldChunks > 0 {
		l.before = &progress{r.HeldChunks, r.HeldBytes}
		l.active.Store(r.LastActivity.UnixNano())
	}
	return l
}

// addChunk counts a chunk as held. Its extent is known to be good.
func (l *live) addChunk(index int) {
	_, length, _ := l.head.Load().spec.Extent(index)
	if l.ledger.Add(index) {
		l.bytes.Add(length)
	}
}

// change replaces the head by what f makes of a copy. Where f fails nothing changes.
func (l *live) change(f func(*head) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := *l.head.Load()
	if err := f(&h); err != nil {
		return err
	}
	l.head.Store(&h)
	return nil
}

// held is how much of the session is held.
func (l *live) held() progress {
	if l.before != nil {
		return *l.before
	}
	return progress{l.ledger.Held(), l.bytes.Load()}
}

// missing returns the first ranges of chunks that are to be sent, at most limit of them, and what is known
// at that moment. To a session that has ended nothing is to be sent.
func (l *live) missing(limit int) (Meta, []Range) {
	h := l.head.Load()
	m := l.metaOf(h)
	if h.state.Ended() {
		return m, nil
	}
	ranges, missing := l.ledger.Missing(limit)
	m.HeldChunks = l.ledger.Chunks() - missing // others may have come since
	return m, ranges
}

func (l *live) meta() Meta { return l.metaOf(l.head.Load()) }

func (l *live) metaOf(h *head) Meta {
	held := l.held()
	m := Meta{
		ID: l.id, Spec: h.spec, State: h.state, Paused: h.paused && !h.state.Ended(),
		HeldChunks: held.chunks, HeldBytes: held.bytes, InFlight: int(l.writing.Load()),
		Created: l.created, Ended: h.ended, Recorded: h.recorded, Settled: h.settled, Outcome: h.outcome,
	}
	if active := l.active.Load(); active != 0 {
		m.LastActivity = time.Unix(0, active)
	}
	return m
}

func (l *live) record() Record {
	h := l.head.Load()
	r := Record{ID: l.id, Spec: h.spec, State: h.state, Created: l.created, Ended: h.ended, Outcome: h.outcome, Paused: h.paused && !h.state.Ended()}
	if r.State == Sealed {
		r.State = Open // see Sealed
	}
	if active := l.active.Load(); r.State.Ended() && active != 0 {
		held := l.held()
		r.HeldChunks, r.HeldBytes, r.LastActivity = held.chunks, held.bytes, time.Unix(0, active).UTC()
	}
	return r
}
