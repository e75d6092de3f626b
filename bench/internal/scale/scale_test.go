package scale

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/build"
)

// TestASmallLoad runs all of it with the real programs. It asserts counts and
// never times: a slow machine only takes longer.
func TestASmallLoad(t *testing.T) {
	home, err := build.Bench()
	if err != nil {
		t.Fatal(err)
	}
	p := Programs{Root: filepath.Dir(home), Bin: filepath.Join(t.TempDir(), "bin")}
	if err := build.Slipway(t.Context(), p.Root, p.Bin); err != nil {
		t.Fatal(err)
	}
	o := Default()
	o.Sessions, o.Chunks, o.Finishing, o.Queued, o.Steps = 100, 6, 10, 60, 3
	// More sessions have progress to tell, from the fifth second on, than the budget lets tell it.
	o.Steady, o.ProgressWritesPerSecond = 8*time.Second, 2
	var out bytes.Buffer
	r, err := Measure(t.Context(), p, t.TempDir(), o, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if len(r.Violations) > 0 {
		t.Errorf("violations: %q\n%s", r.Violations, &out)
	}
	n := o.Sessions
	// The admission and how it ended are two; an operator that looks in between may write another.
	if w := r.Writes; w.Creates != n || w.Finalizers != n || w.Results != n || w.Statuses < 2*n {
		t.Errorf("writes: %+v", w)
	}
	// Its own count has no events, and has deletions only of the load that was not deleted yet.
	if least := r.Writes.Creates + r.Writes.Finalizers + r.Writes.Results + 2*n; r.EtcdWrites < least {
		t.Errorf("the API server counts %d writes, and at least %d were answered", r.EtcdWrites, least)
	}
	// A deletion and the end of a finalizer are two.
	if r.Deletion < 2*n {
		t.Errorf("%d writes deleted %d sessions", r.Deletion, n)
	}
	if r.SteadyChunks+r.FinishChunks != n*o.Chunks || len(r.ResultSeconds) != o.Finishing || len(r.StepSeconds) != o.Steps {
		t.Errorf("chunks: %d and %d, results: %d, steps: %d", r.SteadyChunks, r.FinishChunks, len(r.ResultSeconds), len(r.StepSeconds))
	}
	if r.OperatorReconciles["uploadsession"] < 2*n || r.DataplaneReconciles < n {
		t.Errorf("reconciles: %v and %d", r.OperatorReconciles, r.DataplaneReconciles)
	}
	for _, one := range r.Usage.all() {
		if one.of.PeakBytes == 0 || one.of.CPUSeconds == 0 {
			t.Errorf("%s used nothing: %+v", one.name, one.of)
		}
	}
	if page := r.Page(); strings.Contains(page, "%!") || strings.Contains(page, "NaN") {
		t.Errorf("the page:\n%s", page)
	}
}
