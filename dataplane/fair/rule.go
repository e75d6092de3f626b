package fair

import (
	"cmp"
	"slices"
	"time"
)

// Rule says who is too slow to keep a slot that others want.
type Rule struct {
	// BytesPerSecond is what a client moves at least, on average of the time for which it was waited for.
	BytesPerSecond int64
	// Over is for how long a client is waited for at least before it is judged, and judged again.
	Over time.Duration
}

// DefaultRule is the rule unless another is given.
func DefaultRule() Rule { return Rule{BytesPerSecond: 16 << 10, Over: 5 * time.Second} }

// pace is what a client moved, and for how long it was waited for, since it was last found fast enough.
type pace struct {
	bytes  int64
	waited time.Duration
}

// verdict is what a pace is by a rule.
type verdict int

const (
	tooEarly verdict = iota // to tell
	fastEnough
	tooSlow
)

func (r Rule) judge(p pace) verdict {
	switch {
	case p.waited < r.Over:
		return tooEarly
	case p.perSecond() >= float64(r.BytesPerSecond):
		return fastEnough
	default:
		return tooSlow
	}
}

func (p pace) perSecond() float64 { return float64(p.bytes) / p.waited.Seconds() }

// slowest are the indexes of at most so many of those that are too slow, the slowest first, and among equals the one
// that was waited for longest.
func (r Rule) slowest(paces []pace, most int) []int {
	var slow []int
	for i, p := range paces {
		if r.judge(p) == tooSlow {
			slow = append(slow, i)
		}
	}
	slices.SortStableFunc(slow, func(a, b int) int {
		return cmp.Or(cmp.Compare(paces[a].perSecond(), paces[b].perSecond()), cmp.Compare(paces[b].waited, paces[a].waited))
	})
	return slow[:min(len(slow), max(0, most))]
}
