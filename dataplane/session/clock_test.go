package session_test

import (
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

var _ session.Clock = (*fakeClock)(nil)

// fakeClock stands still until it is advanced.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time               // as if nobody had set it
	ahead  time.Duration           // of now
	told   map[time.Time]time.Time // what was now when this was told
	timers []timer
	afters int
	asked  *sync.Cond // afters grew

	// onLook is called once, by the next call of Since, before that answers.
	onLook func()
}

type timer struct {
	due  time.Time
	fire chan<- time.Time
}

func newFakeClock() *fakeClock {
	c := &fakeClock{now: time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC), told: map[time.Time]time.Time{}}
	c.asked = sync.NewCond(&c.mu)
	return c
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.now.Add(c.ahead)
	c.told[told] = c.now
	return told
}

func (c *fakeClock) Since(t time.Time) time.Duration {
	c.mu.Lock()
	first := c.onLook
	c.onLook = nil
	c.mu.Unlock()
	if first != nil {
		first()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Sub(c.told[t])
}

// Step sets the clock forward, or back, while no time passes.
func (c *fakeClock) Step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	fire := make(chan time.Time, 1)
	if d <= 0 {
		fire <- c.now
	} else {
		c.timers = append(c.timers, timer{c.now.Add(d), fire})
	}
	c.afters++
	c.asked.Broadcast()
	return fire
}

// Advance moves the time on and fires what is due.
func (c *fakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	var later []timer
	for _, t := range c.timers {
		if t.due.After(c.now) {
			later = append(later, t)
		} else {
			t.fire <- c.now
		}
	}
	c.timers = later
}

// awaitAfters returns once After was called so many times in all.
func (c *fakeClock) awaitAfters(tb testing.TB, n int) {
	tb.Helper()
	late := false
	defer time.AfterFunc(patience, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		late = true
		c.asked.Broadcast()
	}).Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.afters < n {
		if late {
			tb.Fatalf("%d of %d waited", c.afters, n)
		}
		c.asked.Wait()
	}
}

// beforeNextLook makes the next call of Since call f first.
func (c *fakeClock) beforeNextLook(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onLook = f
}
