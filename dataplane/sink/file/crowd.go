package file

import (
	"errors"
	"sync"
	"time"
)

// errSlow means that whoever waits for a sync of the whole filesystem had better sync for themselves.
var errSlow = errors.New("syncs of the whole filesystem are slow")

// crowd is a choice with a clock. Its methods may be called concurrently.
type crowd struct {
	opened time.Time // by the monotonic clock
	mu     sync.Mutex
	choice
}

func (c *crowd) arrive() (shared bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.choice.arrive(time.Since(c.opened))
}

func (c *crowd) leave(own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.choice.leave(time.Since(c.opened), own)
}

func (c *crowd) begin(served int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.choice.begin(time.Since(c.opened), served)
}

func (c *crowd) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.choice.end(time.Since(c.opened))
}

// await waits for the syncfs that runs. It returns an error when that takes too long.
func (c *crowd) await(running <-chan struct{}) error {
	for {
		c.mu.Lock()
		left := c.patience(time.Since(c.opened))
		c.mu.Unlock()
		if left == 0 {
			return errSlow
		}
		select {
		case <-running:
			return nil
		case <-time.After(left):
		}
	}
}
