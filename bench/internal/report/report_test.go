package report

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/run"
)

func results() *Results {
	r := &Results{
		Scale: 1, Rounds: 3, Loads: load.All(1),
		Contenders: []Contender{{ID: "slipway", Title: "Slipway <&>", Synced: "all"}, {ID: "bare", Title: "bare", Synced: "no"}},
	}
	for round := range 3 {
		for _, l := range r.Loads {
			r.Samples = append(r.Samples,
				run.Sample{Round: round + 1, Load: l.ID, Contender: "slipway", Objects: l.Objects, Bytes: l.Bytes(), Seconds: 2, SyncSeconds: 1, PrepareSeconds: 1},
				run.Sample{Round: round + 1, Load: l.ID, Contender: "bare", Objects: l.Objects, Bytes: l.Bytes(), Seconds: float64(round + 1), PrepareSeconds: 1},
			)
		}
	}
	return r
}

func TestRatioIsOfTheSameRound(t *testing.T) {
	got, ok := results().Ratio("1GiB", "slipway", "bare")
	if want := (Stat{Median: 1, Min: 0.5, Max: 1.5}); !ok || got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, ok := results().Ratio("1GiB", "slipway", "nobody"); ok {
		t.Error("a ratio to nobody")
	}
}

func TestRates(t *testing.T) {
	r := results()
	if got := r.Rate(r.Loads[0], "slipway").Median; got != 512 {
		t.Errorf("1 GiB in 2 s: %v MiB/s", got)
	}
	if got := r.SyncedRate(r.Loads[3], "slipway").Median; got < 666 || got > 667 {
		t.Errorf("2000 objects in 3 s: %v a second", got)
	}
}

func TestThePageHasEachLoad(t *testing.T) {
	r := results()
	page := r.Page("slipway")
	for _, l := range r.Loads {
		if !strings.Contains(page, "## "+l.Title) || !strings.Contains(page, "benchmarks/"+l.ID+".svg") {
			t.Errorf("the page lacks %s", l.ID)
		}
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "%!") {
		t.Errorf("the page has a value that is none:\n%s", page)
	}
}

func TestPlotsAreXML(t *testing.T) {
	r := results()
	for _, l := range r.Loads {
		d := xml.NewDecoder(strings.NewReader(r.Plot(l)))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
