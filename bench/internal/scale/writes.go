package scale

import (
	"slices"
	"strings"
	"time"

	"github.com/slipway-dev/slipway/test/controlplane"
)

// Writes is what the API server has answered with success, by what it was for.
type Writes struct {
	Creates    int `json:"creates"`
	Finalizers int `json:"finalizers"`
	// Statuses are the operator's, Results and Progress the dataplane's.
	Statuses int `json:"statuses"`
	Results  int `json:"results"`
	Progress int `json:"progress"`
	Events   int `json:"events"`
	// Most is how many one session had at most, but for its progress.
	Most int `json:"most"`
}

// Total is all of them.
func (w Writes) Total() int { return w.Lasting() + w.Progress }

// Lasting is all but progress, which the budget bounds and not the number of sessions.
func (w Writes) Lasting() int { return w.Creates + w.Finalizers + w.Statuses + w.Results + w.Events }

// span is a time from one moment to another.
type span struct{ from, to time.Time }

func (s span) has(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

func (s span) seconds() float64 { return s.to.Sub(s.from).Seconds() }

// ofLoad counts the writes in a span to the sessions whose names begin with
// that of a load and a dash. Events, by session, are given: they have no names
// in the log.
func ofLoad(writes []controlplane.Write, events map[string]int, load string, in span, hasEnded func(name string) bool) Writes {
	var w Writes
	own, results := map[string]int{}, map[string]bool{}
	for name, n := range events {
		if strings.HasPrefix(name, load+"-") {
			own[name] += n
			w.Events += n
		}
	}
	for _, one := range slices.Backward(writes) {
		switch {
		case !in.has(one.Time):
		case one.Resource != "uploadsessions" || !strings.HasPrefix(one.Name, load+"-"):
		case isDataplanes(one) && (results[one.Name] || !hasEnded(one.Name)):
			w.Progress++
		default:
			own[one.Name]++
			switch {
			case isDataplanes(one):
				w.Results++ // nothing comes after it
				results[one.Name] = true
			case one.Verb == "create":
				w.Creates++
			case one.Subresource == "status":
				w.Statuses++
			default:
				w.Finalizers++
			}
		}
	}
	for _, n := range own {
		w.Most = max(w.Most, n)
	}
	return w
}

func isDataplanes(w controlplane.Write) bool {
	return w.User == dataplaneAccount && w.Resource == "uploadsessions" && w.Subresource == "status"
}

// progressIn counts the dataplane's writes in a span that are no results: all
// but the last one of each session that has ended by now.
func progressIn(writes []controlplane.Write, in span, hasEnded func(name string) bool) int {
	count, seen := 0, map[string]bool{}
	for _, w := range slices.Backward(writes) {
		if !isDataplanes(w) {
			continue
		}
		last := !seen[w.Name]
		seen[w.Name] = true
		if in.has(w.Time) && !(last && hasEnded(w.Name)) {
			count++
		}
	}
	return count
}

// allIn counts every write in a span, of whoever to whatever.
func allIn(writes []controlplane.Write, in span) int {
	count := 0
	for _, w := range writes {
		if in.has(w.Time) {
			count++
		}
	}
	return count
}
