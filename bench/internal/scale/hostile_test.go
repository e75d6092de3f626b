package scale

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/build"
)

// TestHowLargeASessionIsTakesNoMemoryOfTheOperator runs all of it twice, with the real programs. It asserts what is
// admitted and how much memory a session takes, and never times.
func TestHowLargeASessionIsTakesNoMemoryOfTheOperator(t *testing.T) {
	home, err := build.Bench()
	if err != nil {
		t.Fatal(err)
	}
	p := Programs{Root: filepath.Dir(home), Bin: filepath.Join(t.TempDir(), "bin")}
	if err := build.Slipway(t.Context(), p.Root, p.Bin); err != nil {
		t.Fatal(err)
	}
	measured := map[string]*HostileResults{}
	for name, shape := range map[string]Shape{"smallest": Smallest(), "large": Many()} {
		o := DefaultHostile()
		o.Sessions, o.Created, o.Fat, o.Admissions, o.Churn, o.Restarts = 2000, 50, 3, 5, time.Second, 1
		o.Shape = shape
		var out bytes.Buffer
		r, err := MeasureHostile(t.Context(), p, t.TempDir(), o, &out)
		if err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		t.Logf("%s: %s\n%s", name, r.Figure(), &out)
		if len(r.Violations) > 0 {
			t.Errorf("%s: violations: %q", name, r.Violations)
		}
		for _, s := range r.Stages {
			if s.PeakBytes == 0 {
				t.Errorf("%s: %s: %+v", name, s.Title, s)
			}
		}
		measured[name] = r
	}
	small, large := measured["smallest"].BytesPerSession(), measured["large"].BytesPerSession()
	if small <= 0 || large > 1.5*small {
		t.Errorf("a large session takes %.0f bytes of the operator, and the smallest %.0f", large, small)
	}
}
