package rig

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// tally is what all tests of a process have counted.
type tally struct {
	mu      sync.Mutex
	oracles []*Oracle
	more    map[string]int
	began   time.Time // with the first oracle
}

func (s *shared) count(o *Oracle) {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	if s.tally.oracles == nil {
		s.tally.began = time.Now()
	}
	s.tally.oracles = append(s.tally.oracles, o)
}

// Count adds to a figure of the line that Main prints, besides those of the oracles.
func Count(name string, n int) {
	process.figure(name, func(before int) int { return before + n })
}

// Most makes a figure of that line at least n: it is the most that was ever told.
func Most(name string, n int) {
	process.figure(name, func(before int) int { return max(before, n) })
}

// figure changes a figure, which is 0 at first.
func (s *shared) figure(name string, change func(before int) int) {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	if s.tally.more == nil {
		s.tally.more = map[string]int{}
	}
	s.tally.more[name] = change(s.tally.more[name])
}

// counts is one line that a script can read; empty where no program has run.
func (s *shared) counts() string {
	t := &s.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.oracles == nil {
		return ""
	}
	var kills, cuts, acknowledged, objects, faults, requests int64
	violations := 0
	for _, o := range t.oracles {
		kills += o.Kills.Load()
		cuts += o.Cuts.Load()
		acknowledged += o.Acknowledged.Load()
		objects += o.Objects.Load()
		faults += o.Faults.Load()
		requests += o.Requests.Load()
		o.mu.Lock()
		violations += o.violations
		o.mu.Unlock()
	}
	folder, _ := os.Getwd() // the name of the program; without one the line is as good
	var b strings.Builder
	fmt.Fprintf(&b, "crash: program=%s seconds=%.0f kills=%d cuts=%d acknowledged=%d objects=%d faults=%d requests=%d",
		filepath.Base(folder), time.Since(t.began).Seconds(), kills, cuts, acknowledged, objects, faults, requests)
	for _, name := range slices.Sorted(maps.Keys(t.more)) {
		fmt.Fprintf(&b, " %s=%d", name, t.more[name])
	}
	fmt.Fprintf(&b, " violations=%d", violations)
	return b.String()
}

// progress prints the counts of a long run every minute.
func (s *shared) progress() (stop func()) {
	if !Nightly() {
		return func() {}
	}
	tick, done := time.NewTicker(time.Minute), make(chan struct{})
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Println("so far:", s.counts())
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}
