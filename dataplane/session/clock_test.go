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
	now    time.Time
	timers []timer
	afters int
	asked  *sync.Cond // afters grew

	// onNow is called once, by the next call of Now, before that answers.
	onNow func()
}

type timer struct {
	due  time.Time
	fire chan<- time.Time
}

func newFakeClock() *fakeClock {
	c := &fakeClock{now: time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)}
	c.asked = sync.NewCond(&c.mu)
	return c
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	first := c.onNow
	c.onNow = nil
	c.mu.Unlock()
	if first != nil {
		first()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
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

// beforeNextNow makes the next call of Now call f first.
func (c *fakeClock) beforeNextNow(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onNow = f
}
