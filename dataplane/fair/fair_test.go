package fair

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestSlowest(t *testing.T) {
	rule := Rule{BytesPerSecond: 1000, Over: 5 * time.Second}
	for what, c := range map[string]struct {
		paces []pace
		most  int
		want  []int
	}{
		"nobody":                              {nil, 1, nil},
		"fast enough, just":                   {[]pace{{5000, 5 * time.Second}}, 1, nil},
		"too slow, just":                      {[]pace{{4999, 5 * time.Second}}, 1, []int{0}},
		"waited for too shortly to tell":      {[]pace{{0, 5*time.Second - 1}}, 1, nil},
		"the slowest first":                   {[]pace{{90, 10 * time.Second}, {10, 10 * time.Second}, {50, 10 * time.Second}}, 2, []int{1, 2}},
		"of the silent the longest first":     {[]pace{{0, 6 * time.Second}, {0, 9 * time.Second}}, 1, []int{1}},
		"no more than there are":              {[]pace{{0, 6 * time.Second}, {1 << 40, 9 * time.Second}}, 5, []int{0}},
		"none where none is wanted":           {[]pace{{0, 6 * time.Second}}, 0, nil},
		"none where more are about to be had": {[]pace{{0, 6 * time.Second}}, -1, nil},
	} {
		if got := rule.slowest(c.paces, c.most); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

// crowd is one whose clock stands still.
type crowd struct {
	*Crowd
	t   *testing.T
	now time.Time
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{t: t, now: time.Unix(0, 0)}
	c.Crowd = NewCrowd(Rule{BytesPerSecond: 1000, Over: 5 * time.Second}, func() time.Time { return c.now })
	return c
}

func (c *crowd) pass(seconds float64) {
	c.now = c.now.Add(time.Duration(seconds * float64(time.Second)))
}

// client is a member of a crowd.
type client struct {
	*Member
	ended atomic.Int32
}

func (c *crowd) join(whose string) *client {
	m := &client{}
	m.Member = c.Join(whose, func() { m.ended.Add(1) })
	m.Await()
	return m
}

func (c *crowd) wantEnded(what string, m *client, want bool) {
	c.t.Helper()
	if got := m.ended.Load(); got > 1 || (got == 1) != want {
		c.t.Errorf("%s: it was ended %d times", what, got)
	}
}

// TestWhoGivesWay: a byte now and then keeps nobody in, while somebody waits.
func TestWhoGivesWay(t *testing.T) {
	c := newCrowd(t)
	trickler, steady, mine := c.join("a"), c.join("b"), c.join("c")
	for range 60 {
		c.pass(1)
		trickler.Moved(1)
		trickler.Await()
		steady.Moved(1500)
		steady.Await()
		mine.Moved(1)
		mine.Await()
	}
	c.wantEnded("nobody waits", trickler, false)
	c.GiveWay("c", 2)
	c.wantEnded("too slow", trickler, true)
	c.wantEnded("fast enough", steady, false)
	c.wantEnded("of who waits", mine, false)
	c.GiveWay("", 1)
	c.wantEnded("a slot is about to be free", mine, false)
	trickler.Leave()
	trickler.Leave()
	c.GiveWay("d", 1)
	c.wantEnded("the next one", mine, true)
}

// TestFastOnce: what was fast is judged by what it does now.
func TestFastOnce(t *testing.T) {
	c := newCrowd(t)
	m := c.join("a")
	c.pass(1)
	m.Moved(1 << 30)
	m.Await()
	c.pass(9)
	c.GiveWay("b", 1)
	c.wantEnded("it was fast", m, false)
	c.pass(4.9)
	c.GiveWay("b", 1)
	c.wantEnded("it stalls for less than it takes to tell", m, false)
	c.pass(0.1)
	c.GiveWay("b", 1)
	c.wantEnded("it stalls", m, true)
}

// TestWhatIsNotTheClients: time for which nobody waits for the client does not count.
func TestWhatIsNotTheClients(t *testing.T) {
	c := newCrowd(t)
	m := c.join("a")
	m.Moved(10)
	c.pass(3600) // the volume is slow
	c.GiveWay("b", 1)
	m.Await()
	c.pass(1)
	m.Moved(10)
	c.GiveWay("b", 1)
	c.wantEnded("the server was slow", m, false)
	m.Await()
	c.pass(4)
	c.GiveWay("b", 1)
	c.wantEnded("so was the client", m, true)
}

// TestSlots: who finds none free gets that of one who is too slow, and nothing where nobody is.
func TestSlots(t *testing.T) {
	s := NewSlots(2, time.Hour, Rule{BytesPerSecond: 1 << 40, Over: 1})
	idle, ok := s.Take(t.Context(), "a", func() { t.Error("ended one for whom nobody waits") })
	if !ok {
		t.Fatal("no slot of two")
	}
	var slow *Member
	slow, ok = s.Take(t.Context(), "b", func() { go s.Free(slow) })
	if !ok {
		t.Fatal("no slot of two")
	}
	slow.Await()
	third, ok := s.Take(t.Context(), "c", func() {})
	if !ok {
		t.Fatal("the slot of the slow one was not taken back")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := s.Take(ctx, "d", func() {}); ok {
		t.Error("a slot that there is not")
	}
	s.Free(third)
	s.Free(idle)
	if s.Len() != 2 || s.Taken() != 0 || s.waiting.Load() != 0 || len(s.crowd.members) != 0 {
		t.Error("something is left")
	}
}

// TestNoSlot is what everybody does to whom no slot belongs.
func TestNoSlot(*testing.T) {
	var m *Member
	m.Await()
	m.Moved(1)
	m.Leave()
}

func BenchmarkMoved(b *testing.B) {
	m := NewCrowd(DefaultRule(), nil).Join("a", func() {})
	for b.Loop() {
		m.Await()
		m.Moved(1)
	}
}
