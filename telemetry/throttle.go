package telemetry

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// throttleBurst is how many lines of one place pass at once, and throttleEvery after how
	// long another one does.
	throttleBurst = 100
	throttleEvery = time.Second
	// maxPlaces bounds the places that are told apart; the others count as one.
	maxPlaces = 1024
)

// place is where in the code a line comes from; that of a line that does not know is
// the beginning of its message.
type place struct {
	pc      uintptr
	message string
}

func placeOf(r slog.Record) place {
	if r.PC != 0 {
		return place{pc: r.PC}
	}
	return place{message: r.Message[:min(len(r.Message), 32)]}
}

// throttle lets so many lines of each place pass. It may be used concurrently.
type throttle struct {
	mu     sync.Mutex
	places map[place]*allowance
}

// allowance is what one place may log.
type allowance struct {
	spent      time.Time // the burst is whole again throttleBurst times throttleEvery after it
	suppressed int
}

func newThrottle() *throttle { return &throttle{places: map[place]*allowance{}} }

// pass reports whether a line of a place may be logged now, and how many were not since the last that was.
func (t *throttle) pass(from place, now time.Time) (suppressed int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.places[from]
	if a == nil && len(t.places) >= maxPlaces {
		from = place{}
		a = t.places[from]
	}
	whole := now.Add(-throttleBurst * throttleEvery)
	if a == nil {
		a = &allowance{spent: whole}
		t.places[from] = a
	}
	if a.spent.Before(whole) || a.spent.After(now) { // it is whole, or the clock was set back
		a.spent = whole
	}
	if now.Sub(a.spent) < throttleEvery {
		a.suppressed++
		return 0, false
	}
	a.spent = a.spent.Add(throttleEvery)
	suppressed, a.suppressed = a.suppressed, 0
	return suppressed, true
}
