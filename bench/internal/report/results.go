// Package report turns samples into what people read: tables, plots, a page.
package report

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/machine"
	"github.com/slipway-dev/slipway/bench/internal/run"
)

// Results is the raw file: everything that was measured, and on what.
type Results struct {
	Began      time.Time       `json:"began"`
	Command    string          `json:"command"`
	Scale      float64         `json:"scale"`
	Rounds     int             `json:"rounds"`
	Machine    machine.Machine `json:"machine"`
	Loads      []load.Load     `json:"loads"`
	Contenders []Contender     `json:"contenders"`
	Samples    []run.Sample    `json:"samples"`
}

// Contender is what is true of a contender whatever the figures say.
type Contender struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Version  string `json:"version"`
	Synced   string `json:"synced"`
	Verified string `json:"verified"`
	Note     string `json:"note,omitempty"`
}

// Save writes the raw file.
func (r *Results) Save(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// Read reads a raw file.
func Read(file string) (*Results, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := &Results{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// Stat is the median of some values and how far they spread.
type Stat struct{ Median, Min, Max float64 }

func statOf(values []float64) Stat {
	if len(values) == 0 {
		return Stat{math.NaN(), math.NaN(), math.NaN()}
	}
	slices.Sort(values)
	n := len(values)
	return Stat{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// stat is the statistic of a value over the rounds.
func (r *Results) stat(l load.Load, contender string, value func(run.Sample) float64) Stat {
	var values []float64
	for _, s := range r.Samples {
		if s.Load == l.ID && s.Contender == contender {
			values = append(values, value(s))
		}
	}
	return statOf(values)
}

const mib, gib = 1 << 20, 1 << 30

// rate is how fast a sample was in the unit of its load.
func rate(l load.Load, s run.Sample, seconds float64) float64 {
	if l.Small {
		return float64(s.Objects) / seconds
	}
	return float64(s.Bytes) / mib / seconds
}

func unit(l load.Load) string {
	if l.Small {
		return "objects/s"
	}
	return "MiB/s"
}

// Rate is the throughput until the last reply.
func (r *Results) Rate(l load.Load, contender string) Stat {
	return r.stat(l, contender, func(s run.Sample) float64 { return rate(l, s, s.Seconds) })
}

// SyncedRate is the throughput with a sync of the volume counted in.
func (r *Results) SyncedRate(l load.Load, contender string) Stat {
	return r.stat(l, contender, func(s run.Sample) float64 { return rate(l, s, s.Seconds+s.SyncSeconds) })
}

// Ratio is the median over the rounds of how much faster one contender was than
// another in the same round. False where they did not meet.
func (r *Results) Ratio(loadID, contender, other string) (Stat, bool) {
	seconds := func(id string) map[int]float64 {
		of := map[int]float64{}
		for _, s := range r.Samples {
			if s.Load == loadID && s.Contender == id {
				of[s.Round] = s.Seconds
			}
		}
		return of
	}
	mine, theirs := seconds(contender), seconds(other)
	var ratios []float64
	for round, m := range mine {
		if t, ok := theirs[round]; ok {
			ratios = append(ratios, t/m)
		}
	}
	return statOf(ratios), len(ratios) > 0
}

// in returns the contenders that took part in a load.
func (r *Results) in(l load.Load) []Contender {
	return slices.DeleteFunc(slices.Clone(r.Contenders), func(c Contender) bool {
		return !slices.ContainsFunc(r.Samples, func(s run.Sample) bool { return s.Load == l.ID && s.Contender == c.ID })
	})
}
