package session

import "time"

// Clock tells the time. Its methods may be called concurrently.
type Clock interface {
	// Now is the time now.
	Now() time.Time
	// After sends the time once, after d, on the channel that it returns.
	After(d time.Duration) <-chan time.Time
}

// SystemClock is the clock of the machine.
type SystemClock struct{}

// Now is time.Now.
func (SystemClock) Now() time.Time { return time.Now() }

// After is time.After.
func (SystemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
