package liveness

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// lasts is for how long a replica is alive when its Lease, which says 30 seconds, was renewed.
const lasts = 35 * time.Second

// clock is one that can be set, and that counts what passes all the same.
type clock struct{ set, passed time.Duration }

func (c *clock) Now() time.Time { return noon.Add(c.passed + c.set) }

// Since counts from noon: nobody has set the clock before then.
func (c *clock) Since(t time.Time) time.Duration { return noon.Add(c.passed).Sub(t) }

// lease was renewed at a time, for half a minute, by process a.
func lease(renewed time.Time, changes ...func(*coordinationv1.Lease)) *coordinationv1.Lease {
	l := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "slipway-models-0", UID: "1"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("models-0_a"),
			RenewTime:      ptr.To(metav1.NewMicroTime(renewed)), LeaseDurationSeconds: ptr.To[int32](30),
		},
	}
	for _, change := range changes {
		change(l)
	}
	return l
}

func saidGone(holder string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) {
		l.Annotations = map[string]string{v1alpha1.GoneForGoodAnnotation: holder}
	}
}

// hours are how far a clock is off.
var hours = []time.Duration{-2 * time.Hour, 0, 2 * time.Hour}

// A replica that renews its Lease every 10 seconds is alive, whatever the clocks say and are set to meanwhile; one that
// has stopped is not alive when its Lease has run out, and not later.
func TestARenewedLeaseIsAliveAndOneThatIsNotIsDead(t *testing.T) {
	for _, mine := range hours {
		for _, theirs := range hours {
			c := &clock{}
			o := NewObserver(c)
			o.Observe(lease(noon))
			var renewed time.Time
			for range 100 {
				c.passed += 10 * time.Second
				c.set = mine
				renewed = noon.Add(c.passed + theirs)
				if got := o.Observe(lease(renewed)); got != (Life{Left: lasts}) {
					t.Fatalf("my clock is set by %v, that of the replica by %v, and it stands as %+v", mine, theirs, got)
				}
			}
			c.set = -mine
			c.passed += lasts - 1
			if got := o.Observe(lease(renewed)); !got.IsAlive() || got.Left != 1 {
				t.Errorf("my clock is set by %v, that of the replica by %v: given up early, %+v", mine, theirs, got)
			}
			c.passed++
			if got := o.Observe(lease(renewed)); got.MayBeAlive() || got.Left != 0 {
				t.Errorf("my clock is set by %v, that of the replica by %v: believed for too long, %+v", mine, theirs, got)
			}
		}
	}
}

// What the first sight of a Lease tells is what the clock says, if it says that the replica is alive, and nothing else.
func TestTheFirstSightOfALease(t *testing.T) {
	for ago, inDoubt := range map[time.Duration]bool{
		-87600 * time.Hour: true, -2 * time.Hour: true, -skew - 1000: true, -skew: false, 0: false, lasts - 1000: false,
		lasts: true, 2 * time.Hour: true,
	} {
		c := &clock{}
		o := NewObserver(c)
		old := lease(noon.Add(-ago))
		got := o.Observe(old)
		if got != (Life{Left: lasts, InDoubt: inDoubt}) || got.IsAlive() == inDoubt || !got.MayBeAlive() {
			t.Errorf("renewed %v ago it stands as %+v", ago, got)
		}
		c.passed = lasts
		if got := o.Observe(old); got != (Life{InDoubt: inDoubt}) || got.IsAlive() || got.MayBeAlive() {
			t.Errorf("renewed %v ago, and not again, it stands as %+v", ago, got)
		}
		if got := o.Observe(lease(noon.Add(-ago + time.Second))); got != (Life{Left: lasts}) {
			t.Errorf("renewed %v ago, and again, it stands as %+v", ago, got)
		}
	}
}

func TestALeaseThatSaysTheSameIsNoNews(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*coordinationv1.Lease)
		news   bool
	}{
		"nothing":         {func(*coordinationv1.Lease) {}, false},
		"what it reports": {func(l *coordinationv1.Lease) { l.Annotations = map[string]string{"a": "b"} }, false},
		"its version":     {func(l *coordinationv1.Lease) { l.ResourceVersion = "2" }, false},
		"who is gone":     {saidGone("models-0_a"), false},
		"when":            {func(l *coordinationv1.Lease) { l.Spec.RenewTime.Time = noon.Add(-1000) }, true},
		"who":             {func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = ptr.To("models-0_b") }, true},
		"a Lease anew":    {func(l *coordinationv1.Lease) { l.UID = "2" }, true},
		"another one":     {func(l *coordinationv1.Lease) { l.Name = "slipway-models-1" }, true},
	} {
		clock := &clock{}
		o := NewObserver(clock)
		o.Observe(lease(noon))
		clock.passed = 20 * time.Second
		left := lasts - clock.passed
		if c.news {
			left = lasts
		}
		if got := o.Observe(lease(noon, c.change)).Left; got != left {
			t.Errorf("another %s: %v left, want %v", name, got, left)
		}
	}
}

func TestNobodyIsAliveForYears(t *testing.T) {
	endless := lease(noon, func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = ptr.To[int32](1 << 30) })
	if got := NewObserver(&clock{}).Observe(endless).Left; got != maxDuration+skew {
		t.Errorf("it is alive for %v", got)
	}
	for name, change := range map[string]func(*coordinationv1.Lease){
		"never renewed":  func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil },
		"without an end": func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = nil },
	} {
		if got := NewObserver(&clock{}).Observe(lease(noon, change)); got != NoLife() || got.MayBeAlive() {
			t.Errorf("%s: it stands as %+v", name, got)
		}
	}
}

func TestALeaseThatIsGoneIsForgotten(t *testing.T) {
	o := NewObserver(&clock{})
	o.Observe(lease(noon))
	o.Forget("ml", "slipway-models-0")
	if len(o.seen) != 0 {
		t.Errorf("%d Leases are remembered", len(o.seen))
	}
}

func TestAReplicaIsGoneForGoodOnlyBySomebodysWord(t *testing.T) {
	nobody := func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = ptr.To("") }
	for name, test := range map[string]struct {
		lease *coordinationv1.Lease
		said  bool
	}{
		"nobody says so":             {lease(noon), false},
		"somebody says so":           {lease(noon, saidGone("models-0_a")), true},
		"it is about an earlier one": {lease(noon, saidGone("models-0_before")), false},
		"it names nobody":            {lease(noon, saidGone("")), false},
		"nobody holds the Lease":     {lease(noon, saidGone(""), nobody), false},
		"it says yes and not who":    {lease(noon, saidGone("true")), false},
	} {
		c := &clock{}
		o := NewObserver(c)
		o.Observe(test.lease)
		c.set = 2 * time.Hour
		for passed, left := range map[time.Duration]time.Duration{
			0: lasts + goneGrace, lasts: goneGrace, lasts + goneGrace - 1: 1, lasts + goneGrace: 0, time.Hour: 0,
		} {
			c.passed = passed
			if wait, said := o.Observe(test.lease).GoneIn(); said != test.said || wait != left {
				t.Errorf("%s, after %v: gone in %v (%v), want %v (%v)", name, passed, wait, said, left, test.said)
			}
		}
	}
}
