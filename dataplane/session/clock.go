package session

import (
	"math"
	"time"
)

// Clock tells the time. Its methods may be called concurrently.
type Clock interface {
	// Now is the time now. Somebody may set it, forward or back.
	Now() time.Time
	// Since is how much time has passed since Now returned t, whatever the time was set to meanwhile.
	Since(t time.Time) time.Duration
	// After sends the time once, after d, on the channel that it returns.
	After(d time.Duration) <-chan time.Time
}

// SystemClock is the clock of the machine.
type SystemClock struct{}

// Now is time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// Since is time.Since, which is monotonic.
func (SystemClock) Since(t time.Time) time.Duration { return time.Since(t) }

// After is time.After.
func (SystemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// moment is now, as both are told: what is stored and shown has a time, and what passes in this process is
// counted from its beginning, so that no step of the clock ends a session or holds up its end.
type moment struct {
	time   time.Time
	passed time.Duration // since the Service was made
}

// now is the moment now.
func (s *Service) now() moment { return moment{s.clock.Now(), s.passed()} }

// passed is how much time has passed since the Service was made.
func (s *Service) passed() time.Duration { return s.clock.Since(s.began) }

// until is how much time will have passed at t, as the clock is now; the zero time never comes.
func (m moment) until(t time.Time) time.Duration {
	if t.IsZero() {
		return math.MaxInt64
	}
	return m.passed + min(t.Sub(m.time), math.MaxInt64-m.passed)
}
