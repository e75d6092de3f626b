package rig

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Oracle is what was sent and what was promised, over all sessions.
type Oracle struct {
	// Seed is where all that is random begins.
	Seed uint64
	// Counts of a run. Kills, Cuts (of the power) and Faults (operations that were failed) are told
	// by the program.
	Kills, Cuts, Faults, Acknowledged, Objects, Requests atomic.Int64

	began time.Time

	mu         sync.Mutex
	sessions   []*Session // those that are not retired
	made       int        // how many there ever were
	byKey      map[string][]*Session
	ever       map[string]bool // the keys that there ever were
	away       []string        // the keys of objects that went with their sessions, and stay away
	violations int
	first      error
	violated   chan struct{}
}

// NewOracle is one that knows of nothing yet. What it counts is part of what
// Main tells in the end.
func NewOracle(seed uint64) *Oracle {
	o := NewUncountedOracle(seed)
	process.count(o)
	return o
}

// NewUncountedOracle is for a run that is meant to break a promise.
func NewUncountedOracle(seed uint64) *Oracle {
	return &Oracle{Seed: seed, began: time.Now(), byKey: map[string][]*Session{}, ever: map[string]bool{}, violated: make(chan struct{})}
}

// Add makes the oracle know a session, whose exported fields but the UID are set.
func (o *Oracle) Add(s *Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.oracle = o
	s.seed = o.Seed + uint64(o.made)*0x9e3779b97f4a7c15
	o.made++
	n := 0
	if s.Size > 0 {
		n = int((s.Size-1)/s.ChunkSize) + 1
	}
	s.chunks = make([]chunk, n)
	for index := range s.chunks {
		s.chunks[index].sent = map[sum]bool{}
	}
	o.sessions = append(o.sessions, s)
	o.byKey[s.Key] = append(o.byKey[s.Key], s)
	o.ever[s.Key] = true
}

// wasKey reports whether there ever was a session with this key.
func (o *Oracle) wasKey(key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ever[key]
}

// Sessions are those that are not retired.
func (o *Oracle) Sessions() []*Session {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*Session(nil), o.sessions...)
}

// keys are the keys of sessions, each with all that want it.
func (o *Oracle) keys() map[string][]*Session {
	o.mu.Lock()
	defer o.mu.Unlock()
	keys := make(map[string][]*Session, len(o.byKey))
	for key, sessions := range o.byKey {
		keys[key] = append([]*Session(nil), sessions...)
	}
	return keys
}

// sessionsOf are the sessions that want a key; none once all are retired.
func (o *Oracle) sessionsOf(key string) []*Session {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]*Session(nil), o.byKey[key]...)
}

// retire takes a session out of the load. It returns true where that was the
// last one of its key, which is watched no more.
func (o *Oracle) retire(s *Session) bool {
	s.mu.Lock()
	s.retired = true
	s.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, other := range o.sessions {
		if other == s {
			o.sessions = append(o.sessions[:i:i], o.sessions[i+1:]...)
			break
		}
	}
	for _, other := range o.byKey[s.Key] {
		other.mu.Lock()
		retired := other.retired
		other.mu.Unlock()
		if !retired {
			return false
		}
	}
	delete(o.byKey, s.Key)
	return true
}

// reclaimed tells that nothing is left of sessions that were deleted: no object either of those that take it with them.
func (o *Oracle) reclaimed(sessions []*Session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range sessions {
		if s.Reclaim {
			o.away = append(o.away, s.Key)
		}
	}
}

// gone are the keys under which nothing may be any more.
func (o *Oracle) gone() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.away...)
}

// hasRival reports whether another session may have published under the key.
func (o *Oracle) hasRival(s *Session) bool {
	for _, other := range o.sessionsOf(s.Key) {
		if other == s {
			continue
		}
		if end := other.End(); end == "" || end == upload.Published {
			return true
		}
	}
	return false
}

// Violate tells of a broken promise; s may be nil. The first one counts.
func (o *Oracle) Violate(s *Session, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	var b strings.Builder
	if s == nil {
		b.WriteString(what)
	} else {
		fmt.Fprintf(&b, "session %s (uid %s, key %s, %d bytes in chunks of %d, digest %q, explicit %t, replace %t, contested %t, doomed %t): %s\nits history:\n",
			s.Name, s.UID, s.Key, s.Size, s.ChunkSize, s.Digest, s.Explicit, s.Replace, s.Contested, s.Doomed, what)
		s.mu.Lock()
		for _, line := range s.history {
			b.WriteString("  " + line + "\n")
		}
		s.mu.Unlock()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.violations++
	if o.first == nil {
		o.first = fmt.Errorf("%9.3fs %s\nto try again: SLIPWAY_SEED=%d", time.Since(o.began).Seconds(), b.String(), o.Seed)
		close(o.violated)
	}
}

// Violated is closed at the first violation.
func (o *Oracle) Violated() <-chan struct{} { return o.violated }

// Err is the first violation, or nil.
func (o *Oracle) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first
}
