package heartbeat

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// aLease was renewed at noon for half a minute, by process a.
func aLease(changes ...func(*coordinationv1.Lease)) *coordinationv1.Lease {
	lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
		HolderIdentity: ptr.To("models-0_a"), RenewTime: ptr.To(metav1.NewMicroTime(noon)), LeaseDurationSeconds: ptr.To[int32](30),
	}}
	for _, change := range changes {
		change(lease)
	}
	return lease
}

func saidGone(holder string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) {
		l.Annotations = map[string]string{v1alpha1.GoneForGoodAnnotation: holder}
	}
}

func TestAReplicaIsAliveUntilItsLeaseRunsOutByAnyClock(t *testing.T) {
	if got, want := Until(aLease()), noon.Add(35*time.Second); !got.Equal(want) {
		t.Errorf("it is alive until %v, want %v", got, want)
	}
	if got := Until(aLease(func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil })); !got.IsZero() {
		t.Errorf("a replica that never renewed its Lease is alive until %v", got)
	}
}

func TestNobodyIsAliveForYears(t *testing.T) {
	endless := aLease(func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = ptr.To[int32](1 << 30) })
	if got, want := Until(endless), noon.Add(maxDuration+skew); !got.Equal(want) {
		t.Errorf("it is alive until %v, want %v", got, want)
	}
	for ahead, want := range map[time.Duration]bool{-time.Hour: false, 0: false, skew: false, skew + 1: true, 87600 * time.Hour: true} {
		if got := IsAhead(aLease(), noon.Add(-ahead)); got != want {
			t.Errorf("renewed %v after now: ahead %v, want %v", ahead, got, want)
		}
	}
}

func TestAReplicaIsGoneForGoodOnlyBySomebodysWord(t *testing.T) {
	nobody := func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = ptr.To("") }
	never := func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }
	for name, test := range map[string]struct {
		lease *coordinationv1.Lease
		want  time.Time
	}{
		"nobody says so":              {aLease(), time.Time{}},
		"somebody says so":            {aLease(saidGone("models-0_a")), noon.Add(35*time.Second + goneGrace)},
		"it is about an earlier one":  {aLease(saidGone("models-0_before")), time.Time{}},
		"it names nobody":             {aLease(saidGone("")), time.Time{}},
		"nobody holds the Lease":      {aLease(saidGone(""), nobody), time.Time{}},
		"the Lease was never renewed": {aLease(saidGone("models-0_a"), never), time.Time{}},
		"it says yes and not who":     {aLease(saidGone("true")), time.Time{}},
	} {
		if got := GoneFrom(test.lease); !got.Equal(test.want) {
			t.Errorf("%s: gone from %v, want %v", name, got, test.want)
		}
	}
}
