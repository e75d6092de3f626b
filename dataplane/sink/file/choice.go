package file

import "time"

const (
	// A way is judged once so many steps of a crowd went it and the crowd was there for so long.
	windowSteps = 64
	windowTime  = 250 * time.Millisecond
	// longestWindow is when steps that sync for themselves are judged however few they are.
	longestWindow = 2 * time.Second
	// The other way is tried after shortestPause, and after twice as long each time that it lost again.
	shortestPause = time.Second
	longestPause  = 32 * time.Second
	// A syncfs may take leastPatience and not longer than mostPatience, whatever syncs of one's own take.
	leastPatience = 100 * time.Millisecond
	mostPatience  = 2 * time.Second
)

// choice chooses how the steps of a crowd become durable: by a syncfs that they share, or each by syncs of its own. It
// compares what a step takes the crowd either way: the time for which the crowd was there, divided by the number of
// steps that were done. Home is the way that won last; the other one is tried from time to time, for a window.
//
// It is told what happens and when, by a clock that does not go back. The zero choice is ready; its home is syncfs.
// Nothing that is durable depends on it.
type choice struct {
	own, home     bool          // whether steps sync for themselves now, and at home
	bySync, byOwn time.Duration // what a step took in the last window of either way; 0 before that
	running       int           // how many steps are on their way, whichever it is
	steps         int           // that were done in this window
	spent, seen   time.Duration // the time of this window with a crowd, and until when it is counted
	pause, next   time.Duration // between trials, and when the next one is due
	syncing       bool
	began         time.Duration // when the last syncfs began
	served        int           // how many steps it was for
	late          int           // how many were running when it took too long; 0 where it did not
}

// arrive is told of a step that begins. It returns whether the step is to be served by a syncfs.
func (c *choice) arrive(now time.Duration) bool {
	c.pass(now)
	c.running++
	if c.running <= aloneAtMost {
		return false
	}
	switch {
	case c.pause == 0: // the first crowd
		c.rest(now, shortestPause)
	case c.own == c.home && now >= c.next:
		c.turn(!c.home)
	}
	return c.patience(now) > 0
}

// leave is told of a step that ends, and whether it synced for itself.
func (c *choice) leave(now time.Duration, own bool) {
	c.pass(now)
	if own && c.running > aloneAtMost {
		c.steps++
		if c.own {
			c.judge(now)
		}
	}
	c.running--
}

// begin is told that a syncfs is about to begin, and for how many steps. It returns false where they are to sync for
// themselves instead.
func (c *choice) begin(now time.Duration, served int) bool {
	if !c.own {
		c.syncing, c.began, c.served, c.late = true, now, served, 0
	}
	return !c.own
}

// end is told that the syncfs has ended.
func (c *choice) end(now time.Duration) {
	c.pass(now)
	c.lag(now)
	c.syncing = false
	if !c.own {
		c.steps += c.served
		c.judge(now)
	}
}

// patience returns for how long a step is to wait for the next syncfs to begin; 0 where it is to sync for itself. A
// syncfs may take twice as long as syncs of their own would take all who wait.
func (c *choice) patience(now time.Duration) time.Duration {
	left := min(max(leastPatience, 2*time.Duration(c.running)*c.byOwn), mostPatience)
	if c.syncing {
		left -= now - c.began
	}
	if !c.own && left <= 0 {
		c.late = c.running
		c.lag(now)
		c.leaveFor(now, true)
	}
	if c.own {
		return 0
	}
	return left
}

// judge decides which way goes on when the window is full.
func (c *choice) judge(now time.Duration) {
	full := c.steps >= windowSteps && c.spent >= windowTime
	if !full && (!c.own || c.spent < longestWindow) {
		return
	}
	took := &c.bySync
	if c.own {
		took = &c.byOwn
	}
	*took = c.spent / time.Duration(c.steps)
	c.lag(now)
	c.steps, c.spent = 0, 0
	switch ownWins := c.byOwn > 0 && c.byOwn+c.byOwn/4 < c.bySync; {
	case c.own != ownWins && (c.own != c.home || !c.own && now >= c.next-c.pause+shortestPause):
		c.leaveFor(now, ownWins)
	case c.own != c.home:
		c.home = c.own
		c.rest(now, shortestPause)
	}
}

// lag counts what a syncfs takes that is late, as if it had served all who were running.
func (c *choice) lag(now time.Duration) {
	if c.syncing && c.late > 0 {
		c.bySync = (now - c.began) / time.Duration(c.late)
	}
}

// leaveFor goes the other way, which is home after a trial that was lost and else a trial.
func (c *choice) leaveFor(now time.Duration, own bool) {
	if own == c.home {
		c.rest(now, 2*c.pause)
	}
	c.turn(own)
}

// turn goes a way from now on.
func (c *choice) turn(own bool) { c.own, c.steps, c.spent = own, 0, 0 }

// rest has the way that is not home left alone for a pause.
func (c *choice) rest(now, pause time.Duration) {
	c.pause = min(pause, longestPause)
	c.next = now + c.pause
}

// pass counts the time for which there was a crowd since the last step came or went.
func (c *choice) pass(now time.Duration) {
	if c.running > aloneAtMost {
		c.spent += now - c.seen
	}
	c.seen = now
}
