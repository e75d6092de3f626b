package chunkapi

import (
	"container/heap"
	"container/list"
	"fmt"
	"sync"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// bounds are of the chunks that are received at once (each takes a slot) and
// of those that wait for a slot, in all and of one session. All are positive.
type bounds struct {
	slots, slotsPerSession     int
	waiters, waitersPerSession int
}

// turns gives the slots of this replica to chunks, fairly between sessions:
//
//   - A chunk of a session that has its share of slots, or that finds no slot free, waits in
//     its session's line, first come first served.
//   - A slot that is given back goes to the lines in turn, one chunk each. So the first of a
//     line gets its slot after at most one chunk of every other session that waits.
//   - Where as many wait as may, a newcomer takes the place of the last one of the longest
//     line, unless its own would be as long then. So a session that has one connection is let
//     in however many others have.
//
// No slot stays free while somebody waits who may have it. Each operation takes
// a time that grows at most with the logarithm of the sessions that wait; a
// session that neither waits nor has a slot leaves nothing behind. Methods may
// be called concurrently.
type turns struct {
	bounds

	mu      sync.Mutex
	taken   int
	waiting int
	lines   map[session.ID]*line
	round   list.List // of *line: those that wait and may have another slot, in the order of their turns
	lengths byLength  // those that wait
}

// line is a session that has a slot or waits for one.
type line struct {
	id      session.ID
	taken   int
	waiting list.List     // of *turn
	inRound *list.Element // nil where the line is not in the round
	at      int           // its place in byLength while it waits
}

// turn is a slot, or the hope for one.
type turn struct {
	line *line
	// settled is closed once there is nothing more to wait for.
	settled chan struct{}

	place *list.Element // in the line; nil once the turn is settled or given up
	taken bool
	// lost is why there will be no slot; it may be read without the lock once the turn is settled.
	lost *crowdError
}

// crowdError is why a chunk gets no slot.
type crowdError struct {
	// own is whether the bounds of one session are in the way, not those of all.
	own bool
	// taken slots are there and so many wait for the next: of the session or in all.
	taken, waiting int
}

// Error says how many there are.
func (e *crowdError) Error() string {
	whose := "of this session "
	if !e.own {
		whose = ""
	}
	return fmt.Sprintf("%d chunks %sare being received and %d more wait", e.taken, whose, e.waiting)
}

func newTurns(b bounds) *turns { return &turns{bounds: b, lines: map[session.ID]*line{}} }

// join asks for a slot for a chunk of a session. Wait until the turn is settled,
// and leave in any case. It returns why one may not even wait, or nil.
func (t *turns) join(id session.ID) (*turn, *crowdError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[id]
	if l == nil {
		l = &line{id: id}
	}
	u := &turn{line: l, settled: make(chan struct{})}
	if t.taken < t.slots && l.taken < t.slotsPerSession { // then nobody waits who may have it
		t.lines[id] = l
		t.give(u)
		return u, nil
	}
	if l.waiting.Len() >= t.waitersPerSession {
		return nil, t.crowd(l, true)
	}
	if t.waiting >= t.waiters {
		longest := t.lengths[0]
		if longest.waiting.Len() <= l.waiting.Len()+1 {
			return nil, t.crowd(l, false)
		}
		last := turnAt(longest.waiting.Back())
		last.lost = t.crowd(longest, false)
		t.dequeue(last)
		close(last.settled)
	}
	t.lines[id] = l
	t.enqueue(u)
	return u, nil
}

// leave gives the slot back, or up the hope for one. It is called once.
func (t *turns) leave(u *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case u.taken:
		u.taken = false
		t.taken--
		u.line.taken--
		t.enlist(u.line)
		t.pass()
	case u.place != nil:
		t.dequeue(u)
	default: // it lost its place, and the line may be another one by now
		return
	}
	if l := u.line; l.taken == 0 && l.waiting.Len() == 0 {
		delete(t.lines, l.id)
	}
}

// lookUp returns why a turn that waits does so, and nil where it is settled
// and has its slot.
func (t *turns) lookUp(u *turn) *crowdError {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.place == nil {
		return u.lost
	}
	return t.crowd(u.line, u.line.taken >= t.slotsPerSession)
}

// wanted is how many slots would be taken at once if they were free, as long as the turn waits for one of those and not
// for one of its own session's; else 0. Of a session that is one.
func (t *turns) wanted(u *turn) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.place == nil || u.line.inRound == nil {
		return 0
	}
	return t.round.Len()
}

// pass gives the slots that are free to those whose turn it is.
func (t *turns) pass() {
	for t.taken < t.slots && t.round.Len() > 0 {
		u := turnAt(lineAt(t.round.Front()).waiting.Front())
		t.dequeue(u)
		t.give(u)
		if l := u.line; l.inRound != nil {
			t.round.Remove(l.inRound)
			l.inRound = nil
			t.enlist(l)
		}
	}
}

func (t *turns) give(u *turn) {
	t.taken++
	u.line.taken++
	u.taken = true
	close(u.settled)
}

func (t *turns) enqueue(u *turn) {
	l := u.line
	t.waiting++
	u.place = l.waiting.PushBack(u)
	if l.waiting.Len() == 1 {
		heap.Push(&t.lengths, l)
	} else {
		heap.Fix(&t.lengths, l.at)
	}
	t.enlist(l)
}

func (t *turns) dequeue(u *turn) {
	l := u.line
	t.waiting--
	l.waiting.Remove(u.place)
	u.place = nil
	if l.waiting.Len() > 0 {
		heap.Fix(&t.lengths, l.at)
		return
	}
	heap.Remove(&t.lengths, l.at)
	if l.inRound != nil {
		t.round.Remove(l.inRound)
		l.inRound = nil
	}
}

// enlist puts a line at the end of the round, if it belongs there and is not in it.
func (t *turns) enlist(l *line) {
	if l.inRound == nil && l.waiting.Len() > 0 && l.taken < t.slotsPerSession {
		l.inRound = t.round.PushBack(l)
	}
}

func (t *turns) crowd(l *line, own bool) *crowdError {
	if own {
		return &crowdError{own: true, taken: l.taken, waiting: l.waiting.Len()}
	}
	return &crowdError{taken: t.taken, waiting: t.waiting}
}

func lineAt(e *list.Element) *line { return e.Value.(*line) } //nolint:errcheck // the round holds nothing else
func turnAt(e *list.Element) *turn { return e.Value.(*turn) } //nolint:errcheck // a line holds nothing else

// byLength is a heap of the lines that wait, the longest first.
type byLength []*line

// Len is for the heap, as are the methods below.
func (h byLength) Len() int { return len(h) }

// Less is whether i is the longer line.
func (h byLength) Less(i, j int) bool { return h[i].waiting.Len() > h[j].waiting.Len() }

// Swap swaps two lines.
func (h byLength) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push adds a line at the end.
func (h *byLength) Push(x any) {
	l := x.(*line) //nolint:errcheck // the heap holds nothing else
	l.at = len(*h)
	*h = append(*h, l)
}

// Pop takes the line at the end away.
func (h *byLength) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return l
}
