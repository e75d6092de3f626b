package uploadsession

import (
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/liveness"
)

// leaseAt is the Lease of a replica that renews it every 10 seconds by its own clock, as it
// was that long ago.
func leaseAt(replicaTime time.Time, late time.Duration) *coordinationv1.Lease {
	return &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
		HolderIdentity:       ptr.To("models-0_a"),
		RenewTime:            ptr.To(metav1.NewMicroTime(replicaTime.Add(-late).Truncate(10 * time.Second))),
		LeaseDurationSeconds: ptr.To[int32](30),
	}}
}

// A session that its replica has not ended goes on, as far as the operator is concerned: with
// clocks that are apart, Leases and progress that come late or not at all, timeouts that
// are long over, and an operator that looks rarely.
func TestTheOperatorEndsNoLiveSession(t *testing.T) {
	kinds := map[string]struct {
		session *v1alpha1.UploadSession
		store   *v1alpha1.UploadStore
	}{
		"idle for long, as far as anybody heard": {
			session: session(admitted, idleTimeout(10), func(s *v1alpha1.UploadSession) {
				s.Status.Progress.LastActivityTime = metav1.NewTime(noon) // and never again
			}), store: store(),
		},
		"past its deadline":                          {session: session(admitted, deadline(10*time.Second)), store: store()},
		"with a TTL of nothing":                      {session: session(admitted, ttl(0)), store: store()},
		"suspended":                                  {session: session(admitted, desired(v1alpha1.DesiredStateSuspended)), store: store()},
		"on a replica that is lost":                  {session: session(admitted), store: store(notReady)},
		"whose store was deleted":                    {session: session(admitted)},
		"past its deadline, whose store was deleted": {session: session(admitted, deadline(10*time.Second))},
	}
	for name, kind := range kinds {
		for _, ahead := range []time.Duration{-2 * time.Hour, -5 * time.Second, 0, 5 * time.Second, 2 * time.Hour} {
			for _, late := range []time.Duration{0, 20 * time.Second} {
				for _, pause := range []time.Duration{time.Second, 7 * time.Minute} {
					t.Run(fmt.Sprintf("%s, clock %v ahead, reports %v late, a look every %v", name, ahead, late, pause), func(t *testing.T) {
						s, clock := kind.session.DeepCopy(), testingclock.NewFakePassiveClock(noon)
						replicas := liveness.NewObserver(clock)
						for after := time.Duration(0); after < 600*pause; after += pause {
							now := noon.Add(after)
							clock.SetTime(now)
							o := alone(s, kind.store)
							if o.store == nil {
								o.replica = replicas.Observe(leaseAt(now.Add(ahead), late))
							}
							p := planFor(o, now)
							if p.remove || p.removeFinalizer || p.status != nil && !p.status.CompletionTime.IsZero() {
								t.Fatalf("after %v the operator ends it: %+v", after, p)
							}
							s = carriedOut(o, p, now).session
						}
					})
				}
			}
		}
	}
}

// What the replica has published is not lost to whatever was decided while nobody heard of it.
func TestAPublicationThatIsOnItsWayWins(t *testing.T) {
	for name, before := range map[string][]func(*v1alpha1.UploadSession){
		"of an expiring session":            {admitted, deadline(10 * time.Second), standsAs(v1alpha1.ReasonExpiring)},
		"of a cancelled session":            {admitted, desired(v1alpha1.DesiredStateCancelled), standsAs(v1alpha1.ReasonCancelling)},
		"of one whose store was deleted":    {admitted, endedBy(v1alpha1.ReasonStoreGone)},
		"of one whose replica was given up": {admitted, endedBy(v1alpha1.ReasonReplicaGone)},
	} {
		s := session(append(before, result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished))...)
		p := planFor(alone(s, store()), noon.Add(time.Hour))
		if got := read(p); got.succeeded != "True Published" {
			t.Errorf("%s: it ends as %q", name, got.succeeded)
		}
	}
}
