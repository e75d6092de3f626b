package keyring

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// TestYears walks through years and checks at every step that nobody who is a
// little behind is turned away.
func TestYears(t *testing.T) {
	hourly := func(*rand.Rand) time.Duration { return time.Hour }
	daily := func(*rand.Rand) time.Duration { return day }
	irregular := func(r *rand.Rand) time.Duration { return 10*time.Minute + time.Duration(r.Int64N(int64(day))) }
	for _, test := range []struct {
		name  string
		lasts time.Duration
		next  func(*rand.Rand) time.Duration
		// happens is what goes wrong, or changes, every third day.
		happens func(w *world, n int)
		// writes is how many writes succeed on such a day.
		writes int
	}{
		{name: "day by day", lasts: 600 * day, next: daily, writes: 2},
		{name: "hour by hour", lasts: 20 * day, next: hourly, writes: 2},
		{name: "irregularly", lasts: 560 * day, next: irregular, writes: 2},
		{name: "a CA that is lost", lasts: 75 * day, next: irregular, writes: 2, happens: func(w *world, _ int) { w.o.ca = nil }},
		{name: "a certificate that is damaged", lasts: 150 * day, next: irregular, writes: 2, happens: func(w *world, n int) {
			w.o.dataplane.Data["models.crt"] = w.o.dataplane.Data["models.crt"][:n%100]
		}},
		{name: "a bundle that is damaged", lasts: 150 * day, next: irregular, writes: 2, happens: func(w *world, _ int) {
			w.o.dataplane.Data["ca.crt"] = []byte("-----BEGIN")
		}},
		{name: "stores that come and go", lasts: 150 * day, next: irregular, writes: 2, happens: func(w *world, n int) {
			if n%2 == 0 {
				w.add("brief")
			} else {
				w.remove("brief")
			}
		}},
		{name: "names that change", lasts: 150 * day, next: irregular, writes: 2, happens: func(w *world, n int) {
			w.store("models").Spec.Dataplane.Certificate.DNSNames = []string{"uploads.example.com", "n.example.com"}[n%2:]
		}},
		{name: "writes that fail", lasts: 520 * day, next: irregular, writes: 1, happens: func(*world, int) {}},
		{name: "writes that fail, of a CA that is lost", lasts: 70 * day, next: irregular, writes: 1, happens: func(w *world, _ int) { w.o.ca = nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "models", "data")
			r := rand.New(rand.NewPCG(1, 2))
			begin, last, n := w.now, w.now, 0
			for w.now.Sub(begin) < test.lasts {
				writes := 2
				if test.happens != nil && w.now.Sub(last) >= 3*day {
					test.happens(w, n)
					last, writes = w.now, test.writes
					n++
				}
				w.step(writes)
				w.check()
				w.now = w.now.Add(test.next(r))
				w.published = w.seen(3 * day)
			}
			if got := len(w.bundle()); got > 12 {
				t.Errorf("the bundle has grown to %d CAs", got)
			}
		})
	}
}

// TestNothingIsRenewedTooOften counts what six years take.
func TestNothingIsRenewedTooOften(t *testing.T) {
	w := newWorld(t, "models")
	w.now = w.now.Truncate(time.Second) // so that what is due in whole days is due on that day
	const years = 6 * 365
	for range years {
		w.step(2)
		w.now = w.now.Add(day)
	}
	for change, want := range map[string]int{
		"a new CA":                                1,
		"the next CA joins the bundle":            years / 487,
		"the next CA signs":                       years / 487,
		"a new certificate of store models":       1,
		"a renewed certificate of store models":   (years - 1) / 60,
		"a first ticket key of store models":      1,
		"a next ticket key of store models":       (years - 1) / 7,
		"a certificate for other names of models": 0,
	} {
		if got := w.changes[change]; got < want-1 || got > want {
			t.Errorf("%q happened %d times, want %d", change, got, want)
		}
	}
}

// TestTheNextTicketKeyIsListedFirst: a key is listed an hour before it signs, to the second.
func TestTheNextTicketKeyIsListedFirst(t *testing.T) {
	w := newWorld(t, "models")
	w.step(2)
	for len(w.keys("models")) < 2 {
		w.now = w.now.Add(10 * time.Minute)
		w.step(2)
		if w.now.Sub(w.since["models"]) > 8*day {
			t.Fatal("no next key in 8 days")
		}
	}
	keys := w.keys("models")
	if lead := keys[1].NotBefore.Sub(w.now); lead < v1alpha1.TicketKeyLead || lead > v1alpha1.TicketKeyLead+time.Second {
		t.Errorf("the next key signs %v after it is listed", lead)
	}
	if w.now.Sub(keys[0].NotBefore.Time) < v1alpha1.TicketKeyInterval-v1alpha1.TicketKeyLead {
		t.Error("the next key comes early")
	}
	gone := keys[1].NotBefore.Add(v1alpha1.MaxTicketLifetime + v1alpha1.TicketKeyLead)
	for _, at := range []struct {
		now  time.Time
		keys int
	}{{gone.Add(-time.Nanosecond), 2}, {gone, 1}} {
		w.now = at.now
		w.step(2)
		if got := len(w.keys("models")); got != at.keys {
			t.Errorf("%v: %d keys, want %d", at.now, got, at.keys)
		}
	}
}
