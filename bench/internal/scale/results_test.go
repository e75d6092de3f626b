package scale

import (
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[99-i] = float64(i + 1)
	}
	for _, test := range []struct {
		values []float64
		part   float64
		want   float64
	}{
		{nil, 0.5, 0},
		{[]float64{3}, 0.99, 3},
		{[]float64{2, 1}, 0.5, 1},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 1, 100},
	} {
		if got := quantile(test.values, test.part); got != test.want {
			t.Errorf("%v of %d: got %v, want %v", test.part, len(test.values), got, test.want)
		}
	}
}

func TestTheFigureIsOneLineOfPairs(t *testing.T) {
	r := &Results{
		Options: Options{Sessions: 10}, AdmitSeconds: 1.25, Writes: Writes{Creates: 10, Statuses: 20, Progress: 3},
		OperatorReconciles: map[string]int{"uploadsession": 35, "uploadstore": 7}, Violations: []string{"one"},
	}
	r.Usage.Operator = Usage{PeakBytes: 64 << 20, CPUSeconds: 2.5}
	line := r.Figure()
	rest, ok := strings.CutPrefix(line, "scale: ")
	if !ok || strings.Contains(line, "\n") {
		t.Fatalf("got %q", line)
	}
	got := map[string]string{}
	for _, pair := range strings.Fields(rest) {
		name, value, _ := strings.Cut(pair, "=")
		got[name] = value
	}
	for name, want := range map[string]string{
		"sessions": "10", "admit_seconds": "1.2", "writes_total": "33", "writes_per_session": "3.00",
		"reconciles_per_session": "3.50", "operator_rss_mib": "64", "operator_cpu_seconds": "2.5", "violations": "1",
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
}

func TestThePageTellsOfViolations(t *testing.T) {
	r := &Results{Options: Default(), Violations: []string{"too many"}}
	if page := r.Page(); !strings.Contains(page, "**Violations: 1.** too many.") {
		t.Errorf("got\n%s", page)
	}
}

func TestHowFarAndHowLong(t *testing.T) {
	for _, test := range []struct {
		done int
		want string
	}{
		{0, "0 of 100"}, {25, "25 of 100, 5 a second, 15s left"}, {110, "110 of 100, 22 a second, 0s left"},
	} {
		if got := how(test.done, 100, 5*time.Second); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestObjectsDiffer(t *testing.T) {
	c := newContents(Default())
	digests := map[string]bool{}
	for i := range 1000 {
		o := c.of(i)
		if int64(len(o)) != Default().objectBytes() || string(o.At(4096, 4096)) != string(o[4096:8192]) {
			t.Fatalf("object %d has %d bytes", i, len(o))
		}
		digests[o.digest()] = true
	}
	if len(digests) != 1000 {
		t.Errorf("%d of 1000 differ", len(digests))
	}
}
