package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// pace says when the progress of an upload may be written: not before interval
// has passed since its first chunk or its last write, and all uploads together
// not more often than once in spacing. Uploads that are due wait in one line
// for their turn, however many there are. Results don't come here.
//
// It is safe for concurrent use and starts no timer of its own: see run.
type pace struct {
	interval, spacing time.Duration

	mu    sync.Mutex
	turns map[upload.Name]*turn
	line  []*turn
	free  time.Time     // when the next write of all may be
	woken chan struct{} // holds one token when the line has become non-empty
}

// turn is how an upload stands.
type turn struct {
	name  upload.Name
	due   time.Time
	place position
}

type position int

const (
	resting position = iota // until due
	queued                  // in the line
	called                  // may write now
	gone                    // forgotten while in the line
)

func newPace(interval, spacing time.Duration) *pace {
	return &pace{
		interval: interval, spacing: spacing,
		turns: map[upload.Name]*turn{}, woken: make(chan struct{}, 1),
	}
}

// rest returns how long the progress of an upload is not worth a look; the
// first time, that is the interval. False where the upload is in the line and
// is called when its turn comes.
func (p *pace) rest(name upload.Name, now time.Time) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.turn(name, now)
	if t.place == queued {
		return 0, false
	}
	return max(0, t.due.Sub(now)), true
}

// take takes the upload's turn to write and returns true, or else returns after
// how long to ask again; 0 where the upload is called when its turn comes. The
// turn counts whether or not the write succeeds, so that an API server which is
// away is not asked more often than one which is there.
func (p *pace) take(name upload.Name, now time.Time) (bool, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.turn(name, now)
	switch {
	case t.place == queued:
		return false, 0
	case t.place == resting && now.Before(t.due):
		return false, t.due.Sub(now)
	case t.place == resting && (len(p.line) > 0 || now.Before(p.free)):
		t.place = queued
		p.line = append(p.line, t)
		p.wake()
		return false, 0
	case t.place == resting:
		p.free = now.Add(p.spacing)
	}
	t.place, t.due = resting, now.Add(p.interval)
	return true, 0
}

// forget drops what is kept of an upload, and its place in the line.
func (p *pace) forget(name upload.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.turns[name]; ok {
		t.place = gone
		delete(p.turns, name)
	}
}

// call calls the first in the line if the time for another write has come. It
// returns after how long to call again; false where nobody is in the line.
func (p *pace) call(now time.Time, enqueue func(upload.Name)) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.line) > 0 && p.line[0].place == gone {
		p.line = p.line[1:]
	}
	if len(p.line) == 0 {
		p.line = nil
		return 0, false
	}
	if wait := p.free.Sub(now); wait > 0 {
		return wait, true
	}
	t := p.line[0]
	p.line = p.line[1:]
	t.place = called
	p.free = now.Add(p.spacing)
	enqueue(t.name)
	return p.spacing, true
}

// run calls those in the line until the context is done.
func (p *pace) run(ctx context.Context, clock session.Clock, enqueue func(upload.Name)) {
	for {
		var next <-chan time.Time
		if wait, waiting := p.call(clock.Now(), enqueue); waiting {
			next = clock.After(wait)
		}
		select {
		case <-next:
		case <-p.woken:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pace) turn(name upload.Name, now time.Time) *turn {
	t := p.turns[name]
	if t == nil {
		t = &turn{name: name, due: now.Add(p.interval)}
		p.turns[name] = t
	}
	return t
}

func (p *pace) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}
