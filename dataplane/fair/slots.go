package fair

import (
	"context"
	"sync/atomic"
	"time"
)

// Every is how often whoever waits for a slot calls Crowd.GiveWay.
const Every = 250 * time.Millisecond

// Slots are so many slots, first come first served, whose holders give way when they are too slow. Make them with
// NewSlots. Methods may be called concurrently.
type Slots struct {
	crowd    *Crowd
	taken    chan struct{} // one for each slot that is taken
	patience time.Duration
	waiting  atomic.Int64
}

// NewSlots returns so many slots. For one that is not free a request waits as long as it has patience, and at most as
// many wait as there are slots.
func NewSlots(slots int, patience time.Duration, rule Rule) *Slots {
	return &Slots{crowd: NewCrowd(rule, nil), taken: make(chan struct{}, slots), patience: patience}
}

// Len is how many slots there are.
func (s *Slots) Len() int { return cap(s.taken) }

// Taken is how many of them are taken now.
func (s *Slots) Taken() int { return len(s.taken) }

// Take takes a slot and reports whether it got one; Free it in the end. Whose and end are those of Crowd.Join.
func (s *Slots) Take(ctx context.Context, whose string, end func()) (*Member, bool) {
	select {
	case s.taken <- struct{}{}:
		return s.crowd.Join(whose, end), true
	default:
	}
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > int64(s.Len()) {
		return nil, false
	}
	late := time.NewTimer(s.patience)
	defer late.Stop()
	again := time.NewTicker(Every)
	defer again.Stop()
	for {
		s.crowd.GiveWay(whose, int(s.waiting.Load()))
		select {
		case s.taken <- struct{}{}:
			return s.crowd.Join(whose, end), true
		case <-again.C:
		case <-late.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

// Free gives a slot back that Take gave.
func (s *Slots) Free(m *Member) {
	m.Leave()
	<-s.taken
}
