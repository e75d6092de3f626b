package client

import (
	"context"
	"sync"
)

// firstLevel is how many chunks are under way at first.
const firstLevel = 4

// level is how many chunks may be under way at once. It finds its own: one more after each level's worth of chunks
// that were stored, half after the dataplane said that it has too many. It may be used concurrently.
type level struct {
	most int

	mu     sync.Mutex
	now    int
	under  int // under way
	stored int // since the level changed
	cuts   int // how often it was cut; those that began before a cut do not cut again
	freed  chan struct{}
}

func newLevel(most int) *level {
	return &level{most: most, now: min(firstLevel, most), freed: make(chan struct{}, 1)}
}

// enter waits until one more may be under way, and returns which cuts it has seen.
func (l *level) enter(ctx context.Context) (int, error) {
	for {
		l.mu.Lock()
		if l.under < l.now {
			l.under++
			cuts := l.cuts
			if l.under < l.now {
				l.wake()
			}
			l.mu.Unlock()
			return cuts, nil
		}
		l.mu.Unlock()
		select {
		case <-l.freed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// leave says that one is no longer under way.
func (l *level) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under--
	l.wake()
}

// grow says that a chunk was stored.
func (l *level) grow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored++
	if l.stored >= l.now && l.now < l.most {
		l.now, l.stored = l.now+1, 0
		l.wake()
	}
}

// cut says that the dataplane had too many, to a request that has seen so many cuts. It returns how many there are
// now: the chunks of one crowd cut once.
func (l *level) cut(seen int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seen == l.cuts {
		l.cuts++
		l.now, l.stored = max(1, l.now/2), 0
	}
	return l.cuts
}

// wake lets one look again; the caller holds mu.
func (l *level) wake() {
	select {
	case l.freed <- struct{}{}:
	default:
	}
}
