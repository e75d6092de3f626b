package liveness

import (
	"math"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
)

// skew is for how long a Lease is believed beyond what it says, as much as it may take to get here, and how far clocks
// are apart that agree.
const skew = 5 * time.Second

// maxDuration bounds for how long a Lease can say that its replica is alive. Dataplanes say 30 seconds or less.
const maxDuration = 5 * time.Minute

// Clock is what an Observer counts by.
type Clock interface {
	// Now is the time now. Somebody may set it, forward or back.
	Now() time.Time
	// Since is how much time has passed since Now returned t, whatever the time was set to meanwhile.
	Since(t time.Time) time.Duration
}

// Observer remembers when this process saw each Lease renewed: one sighting for each Lease that it was shown and that
// it was not told to forget. Its methods may be called concurrently.
type Observer struct {
	clock Clock
	began time.Time

	mu   sync.Mutex
	seen map[types.NamespacedName]sighting
}

// sighting is what a Lease said when it was seen to change.
type sighting struct {
	uid     types.UID
	holder  string
	renewed time.Time
	// at is when that was, since the Observer was made.
	at time.Duration
	// inDoubt is set while all that is known of the replica is a Lease that had run out or was yet to come.
	inDoubt bool
}

// NewObserver returns an Observer that has seen nothing.
func NewObserver(clock Clock) *Observer {
	return &Observer{clock: clock, began: clock.Now(), seen: map[types.NamespacedName]sighting{}}
}

// Observe takes note of a Lease as it is now and returns how its replica stands. The same Lease again is no news, so
// that whoever reads a Lease may show it, whenever they do.
func (o *Observer) Observe(lease *coordinationv1.Lease) Life {
	if lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil {
		return NoLife()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clock.Since(o.began)
	key := types.NamespacedName{Namespace: lease.Namespace, Name: lease.Name}
	before, known := o.seen[key]
	s := sighting{uid: lease.UID, renewed: lease.Spec.RenewTime.Time, at: before.at, inDoubt: before.inDoubt}
	if lease.Spec.HolderIdentity != nil {
		s.holder = *lease.Spec.HolderIdentity
	}
	switch {
	case !known || before.uid != s.uid:
		s.at, s.inDoubt = now, !isRecent(lease, o.clock.Now())
	case before.holder != s.holder || !before.renewed.Equal(s.renewed):
		s.at, s.inDoubt = now, false
	}
	o.seen[key] = s
	return Life{Left: s.at + duration(lease) - now, InDoubt: s.inDoubt, SaidGone: SaidGone(lease)}
}

// Forget drops what is remembered of a Lease that is gone.
func (o *Observer) Forget(namespace, name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.seen, types.NamespacedName{Namespace: namespace, Name: name})
}

// duration is for how long a replica is alive when its Lease was renewed.
func duration(lease *coordinationv1.Lease) time.Duration {
	said := time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	return min(said, maxDuration) + skew
}

// isRecent reports whether a Lease holds by a clock that may be wrong.
func isRecent(lease *coordinationv1.Lease, now time.Time) bool {
	renewed := lease.Spec.RenewTime.Time
	return now.Before(renewed.Add(duration(lease))) && !renewed.After(now.Add(skew))
}

// never is longer than anything that is counted here, and can be added to.
const never = time.Duration(math.MaxInt64 / 2)
