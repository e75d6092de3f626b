package chunkapi

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// isSettled reports whether there is nothing more to wait for.
func (u *turn) isSettled() bool {
	select {
	case <-u.settled:
		return true
	default:
		return false
	}
}

// expectNoTrace fails unless everything is as it was before the first turn.
func (t *turns) expectNoTrace(tb rapid.TB) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken != 0 || t.waiting != 0 || len(t.lines) != 0 || t.round.Len() != 0 || len(t.lengths) != 0 {
		tb.Fatalf("%d slots taken, %d waiting, %d lines, %d in the round, %d lengths; want nothing",
			t.taken, t.waiting, len(t.lines), t.round.Len(), len(t.lengths))
	}
}

// line returns how many slots a session has and how many of its chunks wait.
func (t *turns) line(id session.ID) (taken, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lines[id]; l != nil {
		return l.taken, l.waiting.Len()
	}
	return 0, 0
}

// turnsModel is what a caller of turns can know, and the rules that hold for it.
type turnsModel struct {
	*turns
	t       *rapid.T
	holders map[session.ID][]*turn
	waiters map[session.ID][]*turn // in the order in which they came
	lost    []*turn                // that gave way and have not left
	// passed counts for each session that waits and may have a slot how many have gone to each
	// other session before its next one.
	passed map[session.ID]map[session.ID]int
}

func (m *turnsModel) count(of map[session.ID][]*turn) int {
	n := 0
	for _, turns := range of {
		n += len(turns)
	}
	return n
}

func (m *turnsModel) longest() int {
	n := 0
	for _, turns := range m.waiters {
		n = max(n, len(turns))
	}
	return n
}

// mayHaveSlot are the sessions that wait and have not yet their share.
func (m *turnsModel) mayHaveSlot() []session.ID {
	var ids []session.ID
	for id, turns := range m.waiters {
		if len(turns) > 0 && len(m.holders[id]) < m.slotsPerSession {
			ids = append(ids, id)
		}
	}
	return ids
}

func (m *turnsModel) join(id session.ID) {
	free := m.count(m.holders) < m.slots && len(m.holders[id]) < m.slotsPerSession
	own, all, longest := len(m.waiters[id]), m.count(m.waiters), m.longest()
	u, crowd := m.turns.join(id)
	switch {
	case crowd != nil && free:
		m.t.Fatalf("%s was refused, but a slot is free: %v", id, crowd)
	case crowd != nil && crowd.own:
		if own != m.waitersPerSession {
			m.t.Fatalf("%s was refused for its own sake, but only %d wait", id, own)
		}
	case crowd != nil:
		if all != m.room() || longest > own+1 {
			m.t.Fatalf("%s was refused for all's sake; %d wait, %d of its own, the longest line is %d", id, all, own, longest)
		}
	case free:
		if !u.isSettled() || m.lookUp(u) != nil {
			m.t.Fatalf("%s has no slot, but one is free", id)
		}
		m.holders[id] = append(m.holders[id], u)
	default:
		if u.isSettled() {
			m.t.Fatalf("%s need not wait, but no slot is free for it", id)
		}
		m.observeLoss(own, all, longest)
		m.waiters[id] = append(m.waiters[id], u)
	}
}

func (m *turnsModel) room() int { return m.bounds.waiters }

// observeLoss finds out who gave way to a newcomer whose session had own waiting.
func (m *turnsModel) observeLoss(own, all, longest int) {
	lost := 0
	for id, turns := range m.waiters {
		for i, u := range turns {
			if !u.isSettled() {
				continue
			}
			lost++
			if i != len(turns)-1 || len(turns) != longest || longest <= own+1 || m.lookUp(u) == nil || m.lookUp(u).own {
				m.t.Fatalf("number %d of %d of %s gave way, own %d, the longest %d", i, len(turns), id, own, longest)
			}
			m.lost = append(m.lost, u)
			m.waiters[id] = turns[:i]
		}
	}
	if want := max(0, all+1-m.room()); lost != want {
		m.t.Fatalf("%d gave way, want %d", lost, want)
	}
}

func (m *turnsModel) leaveSlot(id session.ID, i int) {
	u := m.holders[id][i]
	m.holders[id] = slices.Delete(m.holders[id], i, i+1)
	candidates := m.mayHaveSlot()
	m.turns.leave(u)
	var winners []session.ID
	for id, turns := range m.waiters {
		for i, u := range turns {
			if !u.isSettled() {
				continue
			}
			if i != 0 || u.lost != nil || m.lookUp(u) != nil {
				m.t.Fatalf("number %d of the line of %s was settled out of turn: %v", i, id, u.lost)
			}
			winners = append(winners, id)
		}
	}
	if len(candidates) == 0 && len(winners) == 0 {
		return
	}
	if len(winners) != 1 || !slices.Contains(candidates, winners[0]) {
		m.t.Fatalf("the slot went to %v, want one of %v", winners, candidates)
	}
	winner := winners[0]
	m.holders[winner] = append(m.holders[winner], m.waiters[winner][0])
	m.waiters[winner] = m.waiters[winner][1:]
	delete(m.passed, winner)
	for _, id := range candidates {
		if id == winner {
			continue
		}
		if m.passed[id] == nil {
			m.passed[id] = map[session.ID]int{}
		}
		m.passed[id][winner]++
		if m.passed[id][winner] > 1 {
			m.t.Fatalf("%s waits, and %s got a second slot before it", id, winner)
		}
	}
}

func (m *turnsModel) giveUp(id session.ID, i int) {
	m.turns.leave(m.waiters[id][i])
	m.waiters[id] = slices.Delete(m.waiters[id], i, i+1)
}

// check holds the state to the rules.
func (m *turnsModel) check() {
	held, waiting := m.count(m.holders), m.count(m.waiters)
	if held > m.slots || waiting > m.room() {
		m.t.Fatalf("%d have slots and %d wait", held, waiting)
	}
	known := map[session.ID]bool{}
	for id, turns := range m.holders {
		if len(turns) > m.slotsPerSession {
			m.t.Fatalf("%s has %d slots", id, len(turns))
		}
		known[id] = len(turns) > 0
	}
	for id, turns := range m.waiters {
		if len(turns) > m.waitersPerSession {
			m.t.Fatalf("%d of %s wait", len(turns), id)
		}
		known[id] = known[id] || len(turns) > 0
		for _, u := range turns {
			if u.isSettled() {
				m.t.Fatalf("a turn of %s was settled, and nobody gave a slot back", id)
			}
			if crowd := m.lookUp(u); crowd == nil || crowd.own != (len(m.holders[id]) == m.slotsPerSession) {
				m.t.Fatalf("%s, which has %d slots, waits because of %v", id, len(m.holders[id]), crowd)
			}
		}
	}
	may := m.mayHaveSlot()
	if held < m.slots && len(may) > 0 {
		m.t.Fatalf("%d slots of %d are taken, but %v wait", held, m.slots, may)
	}
	for id := range m.passed {
		if !slices.Contains(may, id) {
			delete(m.passed, id)
		}
	}
	maps.DeleteFunc(known, func(_ session.ID, is bool) bool { return !is })
	if len(m.lines) != len(known) || m.taken != held || m.waiting != waiting {
		m.t.Fatalf("%d lines, %d taken, %d waiting; want %d, %d, %d", len(m.lines), m.taken, m.waiting, len(known), held, waiting)
	}
}

// TestTurnsAgainstAModel: the bounds hold, no slot is free in vain, each line
// is served in order, the round gives each session its turn, and all of that
// whoever comes, gives up, and leaves.
func TestTurnsAgainstAModel(t *testing.T) {
	t.Parallel()
	ids := rapid.SampledFrom([]session.ID{"a", "b", "c", "d"})
	rapid.Check(t, func(t *rapid.T) {
		var b bounds
		b.slots = rapid.IntRange(1, 4).Draw(t, "slots")
		b.slotsPerSession = rapid.IntRange(1, b.slots).Draw(t, "slots per session")
		b.waiters = rapid.IntRange(1, 8).Draw(t, "waiters")
		b.waitersPerSession = rapid.IntRange(1, b.waiters).Draw(t, "waiters per session")
		m := &turnsModel{
			turns: newTurns(b), t: t, holders: map[session.ID][]*turn{}, waiters: map[session.ID][]*turn{},
			passed: map[session.ID]map[session.ID]int{},
		}
		some := func(t *rapid.T, of map[session.ID][]*turn) (session.ID, int) {
			id := ids.Draw(t, "session")
			if len(of[id]) == 0 {
				t.Skip()
			}
			return id, rapid.IntRange(0, len(of[id])-1).Draw(t, "which")
		}
		t.Repeat(map[string]func(*rapid.T){
			"join":    func(t *rapid.T) { m.join(ids.Draw(t, "session")) },
			"join 2":  func(t *rapid.T) { m.join(ids.Draw(t, "session")) }, // so that there is a crowd
			"leave":   func(t *rapid.T) { m.leaveSlot(some(t, m.holders)) },
			"give up": func(t *rapid.T) { m.giveUp(some(t, m.waiters)) },
			"leave after it gave way": func(t *rapid.T) {
				if len(m.lost) == 0 {
					t.Skip()
				}
				m.turns.leave(m.lost[0])
				m.lost = m.lost[1:]
			},
			"": func(*rapid.T) { m.check() },
		})
		for m.count(m.holders)+m.count(m.waiters) > 0 {
			for id := range m.holders {
				for len(m.holders[id]) > 0 {
					m.leaveSlot(id, 0)
				}
			}
		}
		for _, u := range m.lost {
			m.turns.leave(u)
		}
		m.expectNoTrace(t)
	})
}

// TestTurnsInARace: who gives up while a slot comes neither keeps it nor gives it back twice.
func TestTurnsInARace(t *testing.T) {
	t.Parallel()
	b := bounds{slots: 3, slotsPerSession: 2, waiters: 20, waitersPerSession: 10}
	turns := newTurns(b)
	var inAll atomic.Int32
	var in [4]atomic.Int32
	var everybody sync.WaitGroup
	for g := range 24 {
		everybody.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(g)))
			which := g % len(in)
			for range 300 {
				u, crowd := turns.join(session.ID(fmt.Sprint(which)))
				if crowd != nil {
					continue
				}
				if random.IntN(2) == 0 { // else it gives up, perhaps at the moment when the slot comes
					<-u.settled
				}
				if u.isSettled() && turns.lookUp(u) == nil {
					if n := inAll.Add(1); int(n) > b.slots {
						t.Errorf("%d have slots", n)
					}
					if n := in[which].Add(1); int(n) > b.slotsPerSession {
						t.Errorf("%d of one session have slots", n)
					}
					in[which].Add(-1)
					inAll.Add(-1)
				}
				turns.leave(u)
			}
		})
	}
	everybody.Wait()
	turns.expectNoTrace(t)
}

// TestWhoGaveWayLeavesALineThatIsNoMore: by the time it leaves, its session may have another line.
func TestWhoGaveWayLeavesALineThatIsNoMore(t *testing.T) {
	t.Parallel()
	turns := newTurns(bounds{slots: 1, slotsPerSession: 1, waiters: 2, waitersPerSession: 2})
	var all []*turn
	for _, id := range []session.ID{"holder", "a", "a", "b"} {
		u, crowd := turns.join(id)
		if crowd != nil {
			t.Fatal(crowd)
		}
		all = append(all, u)
	}
	first, last := all[1], all[2]
	if turns.lookUp(last) == nil || !last.isSettled() {
		t.Fatal("the last one of a did not give way")
	}
	turns.leave(first)
	again, crowd := turns.join("a")
	if crowd != nil {
		t.Fatal(crowd)
	}
	turns.leave(last)
	if _, waiting := turns.line("a"); waiting != 1 {
		t.Errorf("%d of a wait, want 1", waiting)
	}
	for _, u := range []*turn{again, all[0], all[3]} {
		turns.leave(u)
	}
	turns.expectNoTrace(t)
}

func TestBoundsFollowTheLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		all, own int
		want     bounds
	}{
		{0, 0, bounds{64, 48, 1024, 768}},
		{1, 0, bounds{1, 1, 16, 16}},
		{2, 0, bounds{2, 1, 32, 16}},
		{4, 0, bounds{4, 3, 64, 48}},
		{8, 8, bounds{8, 8, 128, 128}},
		{8, 1, bounds{8, 1, 128, 16}},
		{8, 9, bounds{8, 8, 128, 128}},
	} {
		if got := boundsOf(Config{MaxConcurrentChunks: c.all, MaxConcurrentChunksPerSession: c.own}); got != c.want {
			t.Errorf("%d, %d: got %+v, want %+v", c.all, c.own, got, c.want)
		}
	}
}
