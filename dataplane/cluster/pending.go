package cluster

import (
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// pending knows since when there is something of an upload that the API server
// was not told yet. It decides nothing; it is there to be measured. It is safe
// for concurrent use, and nobody looks at one upload twice at a time.
type pending struct {
	mu      sync.Mutex
	uploads map[upload.Name]untold
}

// untold is since when an upload has news.
type untold struct {
	// first are the first of them, and later those that came after the last look; zero where none did.
	first, later time.Time
	// ended is when the upload ended, if it has.
	ended time.Time
}

func newPending() *pending { return &pending{uploads: map[upload.Name]untold{}} }

// changed takes note of news.
func (p *pending) changed(name upload.Name, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.uploads[name]
	if u.first.IsZero() {
		u.first = now
	}
	if u.later.IsZero() {
		u.later = now
	}
	p.uploads[name] = u
}

// ended takes note that an upload ended then.
func (p *pending) ended(name upload.Name, then, now time.Time) {
	p.changed(name, now)
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.uploads[name]
	u.ended = then
	p.uploads[name] = u
}

// look begins a look at an upload: what comes from now on is not part of it.
func (p *pending) look(name upload.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u, ok := p.uploads[name]; ok {
		u.later = time.Time{}
		p.uploads[name] = u
	}
}

// of returns since when an upload has news, and when it ended; zero where nobody told.
func (p *pending) of(name upload.Name) (first, ended time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.uploads[name]
	return u.first, u.ended
}

// told ends the look: there is no more to tell of what there was then.
func (p *pending) told(name upload.Name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.uploads[name]
	switch {
	case ok && u.later.IsZero():
		delete(p.uploads, name)
	case ok:
		u.first = u.later
		p.uploads[name] = u
	}
}

// oldest is for how long the oldest news is there; 0 without any.
func (p *pending) oldest(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var oldest time.Duration
	for _, u := range p.uploads {
		oldest = max(oldest, now.Sub(u.first))
	}
	return oldest
}
