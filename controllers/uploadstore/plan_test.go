package uploadstore

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/liveness"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// expected is what a plan does, in the words of its reader.
type expected struct {
	// ready is the condition as "status reason", and says part of its message.
	ready, says string
	// replicas are the live ones, endpoint is the store's.
	replicas []string
	endpoint string
	// capacity and available are bytes, -1 when the status does not tell.
	capacity, available, reserved int64
	// again is when the first live Lease runs out.
	again time.Duration
}

func TestPlan(t *testing.T) {
	tests := []struct {
		name     string
		leases   []coordinationv1.Lease
		sessions []v1alpha1.UploadSession
		want     expected
	}{
		{
			name: "a store without a dataplane says how to start one",
			want: expected{
				ready: "False DataplaneMissing", says: "start one with --store models --namespace ml.",
				capacity: -1, available: -1,
			},
		},
		{
			name:   "a store with a live replica is ready until the replica's Lease runs out, and a little longer",
			leases: []coordinationv1.Lease{lease("models-0", 3*time.Second)},
			want: expected{
				ready: "True DataplaneReady", says: "takes sessions",
				replicas: []string{"models-0"}, endpoint: "https://models-0.models.ml.svc:8443", capacity: 1000, available: 900, again: 12 * time.Second,
			},
		},
		{
			name:   "replicas are listed by name, and the smallest report of their volume counts",
			leases: []coordinationv1.Lease{lease("models-1", time.Second, reports("1100", "800")), lease("models-0", 0)},
			want: expected{
				ready: "True DataplaneReady", replicas: []string{"models-0", "models-1"}, endpoint: "https://models-0.models.ml.svc:8443",
				capacity: 1000, available: 800, again: 14 * time.Second,
			},
		},
		{
			name:   "a replica whose Lease has run out is not listed",
			leases: []coordinationv1.Lease{lease("models-0", 15*time.Second), lease("models-1", 0)},
			want: expected{
				ready: "True DataplaneReady", replicas: []string{"models-1"}, endpoint: "https://models-1.models.ml.svc:8443",
				capacity: 1000, available: 900, again: 15 * time.Second,
			},
		},
		{
			name:   "a store whose replicas are all lost says which was there last, and when",
			leases: []coordinationv1.Lease{lease("models-0", time.Hour), lease("models-1", time.Minute)},
			want: expected{
				ready: "False DataplaneLost", says: `whose Lease is "slipway-models-1", renewed it at 2026-11-23T11:59:00Z by its own clock: start it again`,
				capacity: -1, available: -1,
			},
		},
		{
			name:   "a Lease that was never renewed shows no life",
			leases: []coordinationv1.Lease{lease("models-0", 0, func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil })},
			want:   expected{ready: "False DataplaneLost", capacity: -1, available: -1},
		},
		{
			name:   "a report without an endpoint is named",
			leases: []coordinationv1.Lease{lease("models-0", 0, without(v1alpha1.EndpointAnnotation))},
			want: expected{
				ready: "False InvalidReport", says: `annotation uploads.slipway.dev/endpoint of Lease "slipway-models-0" is "", which is not an HTTP URL`,
				capacity: -1, available: -1, again: 15 * time.Second,
			},
		},
		{
			name:   "a report with a capacity that is no number is named",
			leases: []coordinationv1.Lease{lease("models-0", 0, reports("1Gi", "900"))},
			want: expected{
				ready: "False InvalidReport", says: `uploads.slipway.dev/capacity-bytes of Lease "slipway-models-0" is "1Gi"`,
				capacity: -1, available: -1, again: 15 * time.Second,
			},
		},
		{
			name:   "a report with less than nothing available is named",
			leases: []coordinationv1.Lease{lease("models-0", 0, reports("1000", "-1"))},
			want: expected{
				ready: "False InvalidReport", says: `uploads.slipway.dev/available-bytes of Lease "slipway-models-0" is "-1"`,
				capacity: -1, available: -1, again: 15 * time.Second,
			},
		},
		{
			name:   "a Lease with a foreign name is named",
			leases: []coordinationv1.Lease{lease("models-0", 0, func(l *coordinationv1.Lease) { l.Name = "models-0" })},
			want: expected{
				ready: "False InvalidReport", says: `the name of Lease "models-0" is not "slipway-" and the name of a replica`,
				capacity: -1, available: -1, again: 15 * time.Second,
			},
		},
		{
			name:   "one replica with an invalid report does not stop the others, but is told of",
			leases: []coordinationv1.Lease{lease("models-0", 0, without(v1alpha1.EndpointAnnotation)), lease("models-1", 0)},
			want: expected{
				ready: "True DataplaneReady", says: `but for one replica: annotation uploads.slipway.dev/endpoint of Lease "slipway-models-0"`,
				replicas: []string{"models-1"}, endpoint: "https://models-1.models.ml.svc:8443", capacity: 1000, available: 900, again: 15 * time.Second,
			},
		},
		{
			name:     "what admitted sessions reserve is summed, alive or not",
			leases:   []coordinationv1.Lease{lease("models-0", time.Hour)},
			sessions: []v1alpha1.UploadSession{reserving(100), reserving(10), finished(reserving(1)), {}},
			want:     expected{ready: "False DataplaneLost", capacity: -1, available: -1, reserved: 110},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := observation{store: store(), replicas: seen(0, test.leases...), sessions: test.sessions}
			p := planFor(o, noon)
			got := read(p)
			if strings.Contains(got.says, test.want.says) {
				got.says = test.want.says
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(expected{})); diff != "" {
				t.Errorf("the plan differs (-want +got):\n%s", diff)
			}
			o.store.Status = *p.status
			if again := planFor(o, noon); again.status != nil {
				t.Errorf("carried out, the plan still writes %+v", again.status)
			}
		})
	}
}

// Whoever writes a Lease sends no client to a place that is not the store's.
func TestALeaseMisleadsNobody(t *testing.T) {
	at := func(endpoint string) func(*coordinationv1.Lease) {
		return func(l *coordinationv1.Lease) { l.Annotations[v1alpha1.EndpointAnnotation] = endpoint }
	}
	ahead := func(l *coordinationv1.Lease) { l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(noon.AddDate(10, 0, 0))) }
	for name, test := range map[string]struct {
		managed bool
		lease   coordinationv1.Lease
		want    string // the endpoint, or else what is wrong; empty where it counts as not alive
	}{
		"the store's Service":             {false, lease("models-0", 0, at("https://models.ml.svc:8443")), "https://models.ml.svc:8443"},
		"a Pod of it":                     {false, lease("a", 0, at("https://web-0.models.ml.svc:8443")), "https://web-0.models.ml.svc:8443"},
		"a name that the spec lists":      {false, lease("a", 0, at("https://uploads.example.com")), "https://uploads.example.com"},
		"loopback":                        {false, lease("a", 0, at("https://127.0.0.1:1")), "https://127.0.0.1:1"},
		"loopback without TLS":            {false, lease("a", 0, at("http://127.0.0.1:1")), "http://127.0.0.1:1"},
		"somewhere else":                  {false, lease("a", 0, at("https://evil.example:443")), "is no name of the store's certificate"},
		"another store":                   {false, lease("a", 0, at("https://other.ml.svc:8443")), "is no name of the store's certificate"},
		"the store without TLS":           {false, lease("a", 0, at("http://models.ml.svc:8443")), "plain HTTP is for loopback"},
		"years ahead":                     {false, lease("models-0", 0, ahead), ""},
		"a Managed store's Pod":           {true, lease("models-1", 0), "https://models-1.models-replicas.ml.svc:8443"},
		"a Managed store, somewhere else": {true, lease("models-1", 0, at("https://evil.example")), "https://models-1.models-replicas.ml.svc:8443"},
		"no Pod of a Managed store":       {true, lease("other-1", 0), "is not that of a Pod of UploadStore"},
		"no Pod's number":                 {true, lease("models-01", 0), "is not that of a Pod of UploadStore"},
	} {
		t.Run(name, func(t *testing.T) {
			s := store()
			s.Spec.Dataplane.Certificate.DNSNames = []string{"uploads.example.com"}
			if test.managed {
				s.Spec.Dataplane.Mode = v1alpha1.DataplaneModeManaged
			}
			seen := look(s, seen(0, test.lease))
			switch {
			case len(seen.alive) == 1 && seen.alive[0].Replica.Endpoint == test.want && seen.invalid == nil:
			case len(seen.alive) == 0 && seen.invalid != nil && strings.Contains(seen.invalid.Error(), test.want):
			case test.want == "" && len(seen.alive) == 0 && seen.lost != nil:
			default:
				t.Errorf("alive %+v, invalid %v, want %q", seen.alive, seen.invalid, test.want)
			}
		})
	}
}

func TestARenewedLeaseAloneIsNotWritten(t *testing.T) {
	o := observation{store: store(), replicas: seen(0, lease("models-0", 10*time.Second))}
	o.store.Status = *planFor(o, noon).status

	o.replicas = seen(0, lease("models-0", 0))
	if p := planFor(o, noon); p.status != nil || p.requeueAfter != 15*time.Second {
		t.Errorf("a renewal alone plans %+v", p)
	}
	o.replicas = seen(0, lease("models-0", 0, reports("1000", "899")))
	if p := planFor(o, noon); p.status == nil || *p.status.AvailableBytes != 899 {
		t.Errorf("a renewal with less available plans %+v", p)
	}
}

func TestAReadyStoreIsLostWhenItsLeaseRunsOut(t *testing.T) {
	o := observation{store: store(), replicas: seen(0, lease("models-0", 0))}
	before := planFor(o, noon)
	o.store.Status = *before.status

	o.replicas = seen(before.requeueAfter-time.Nanosecond, lease("models-0", 0))
	if p := planFor(o, noon.Add(before.requeueAfter-time.Nanosecond)); p.status != nil {
		t.Errorf("the store is given up early: %+v", p.status)
	}
	o.replicas = seen(before.requeueAfter, lease("models-0", 0))
	lost := planFor(o, noon.Add(before.requeueAfter))
	if got := read(lost).ready; got != "False DataplaneLost" {
		t.Errorf("the store is %q when the Lease has run out", got)
	}
	if got, want := lost.status.Conditions[0].LastTransitionTime.Time, noon.Add(15*time.Second); !got.Equal(want) {
		t.Errorf("the transition time is %v, want %v", got, want)
	}
}

// After a restart with a clock that is wrong nobody can tell by its Lease whether a replica is alive: what the operator
// before knew stands, until the Lease is renewed or has run out.
func TestAReplicaInDoubtStandsAsItStood(t *testing.T) {
	for name, ready := range map[string]string{"alive": "True DataplaneReady", "lost": "False DataplaneLost"} {
		for _, off := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
			o := observation{store: store(), replicas: seen(0, lease("models-0", 0))}
			if name == "lost" {
				o.replicas = seen(15*time.Second, lease("models-0", 0))
			}
			o.store.Status = *planFor(o, noon).status
			clock := testingclock.NewFakePassiveClock(noon.Add(off))
			restarted, l := liveness.NewObserver(clock), lease("models-0", 0)
			for _, passed := range []time.Duration{0, 15*time.Second - 1} {
				clock.SetTime(noon.Add(off + passed))
				o.replicas = []replica{{&l, restarted.Observe(&l)}}
				if p := planFor(o, clock.Now()); p.status != nil {
					t.Errorf("%s, off by %v, after %v: it is %q, want %q", name, off, passed, read(p).ready, ready)
				}
			}
			clock.SetTime(noon.Add(off + 15*time.Second))
			o.replicas = []replica{{&l, restarted.Observe(&l)}}
			if p := planFor(o, clock.Now()); ready == "True DataplaneReady" && (p.status == nil || len(p.status.Replicas) != 0) {
				t.Errorf("%s, off by %v: it is believed for ever", name, off)
			}
			l = lease("models-0", -time.Second)
			o.replicas = []replica{{&l, restarted.Observe(&l)}}
			if p := planFor(o, clock.Now()); ready == "False DataplaneLost" && (p.status == nil || read(p).ready != "True DataplaneReady") {
				t.Errorf("%s, off by %v: it does not come back", name, off)
			}
		}
	}
}

// Where clients are sent and what they trust does not change while nobody is there to say so; condition Ready tells.
func TestALostStoreKeepsItsEndpointAndItsCertificates(t *testing.T) {
	s := store()
	s.Spec.Dataplane.Certificate.DNSNames = []string{"uploads.example.com"}
	bundle := certificate(t)
	says := func(l *coordinationv1.Lease) {
		l.Annotations[v1alpha1.EndpointAnnotation] = "https://uploads.example.com"
		l.Annotations[v1alpha1.CABundleAnnotation] = bundle
	}
	o := observation{store: s, replicas: seen(0, lease("models-0", 0, says))}
	s.Status = *planFor(o, noon).status
	if s.Status.Endpoint != "https://uploads.example.com" || string(s.Status.CABundle) != bundle {
		t.Fatalf("the status is %+v", s.Status)
	}
	for name, replicas := range map[string][]replica{"has run out": seen(time.Minute, lease("models-0", 0, says)), "is gone": nil} {
		o.replicas = replicas
		lost := planFor(o, noon).status
		if lost.Endpoint != s.Status.Endpoint || string(lost.CABundle) != bundle || lost.Display.Endpoint != s.Status.Display.Endpoint {
			t.Errorf("when its Lease %s, it tells of endpoint %q and %d bytes of certificates", name, lost.Endpoint, len(lost.CABundle))
		}
		if ready := lost.Conditions[0]; ready.Status != metav1.ConditionFalse || len(lost.Replicas) != 0 || lost.CapacityBytes != nil {
			t.Errorf("when its Lease %s, it does not tell that no replica is alive: %+v", name, lost)
		}
	}
	s.Spec.Dataplane.Certificate.DNSNames = nil
	if lost := planFor(o, noon).status; lost.Endpoint != "" || len(lost.CABundle) != 0 {
		t.Errorf("it tells of %q, which is not the store's any more", lost.Endpoint)
	}
}

func TestThePlanLeavesTheConditionsOfOthers(t *testing.T) {
	o := observation{store: store()}
	o.store.Status.Conditions = []metav1.Condition{{Type: "BackedUp", Status: metav1.ConditionTrue}}
	if p := planFor(o, noon); len(p.status.Conditions) != 1 || p.status.Conditions[0].Type != v1alpha1.ConditionReady {
		t.Errorf("the plan writes %+v", p.status.Conditions)
	}
}

// read puts a plan into the words of expected.
func read(p plan) expected {
	ready := p.status.Conditions[0]
	got := expected{
		ready: string(ready.Status) + " " + ready.Reason, says: ready.Message, endpoint: p.status.Endpoint, again: p.requeueAfter,
		capacity:  ptr.Deref(p.status.CapacityBytes, -1),
		available: ptr.Deref(p.status.AvailableBytes, -1),
		reserved:  ptr.Deref(p.status.ReservedBytes, -1),
	}
	for _, replica := range p.status.Replicas {
		got.replicas = append(got.replicas, replica.Name)
	}
	return got
}

func store() *v1alpha1.UploadStore {
	return &v1alpha1.UploadStore{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models", Generation: 1}}
}

// lease is a Lease of 10 seconds that was renewed some time before noon.
func lease(replica string, ago time.Duration, changes ...func(*coordinationv1.Lease)) coordinationv1.Lease {
	l := coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name:        v1alpha1.LeaseNamePrefix + replica,
			Annotations: map[string]string{v1alpha1.EndpointAnnotation: "https://" + replica + ".models.ml.svc:8443"},
		},
		Spec: coordinationv1.LeaseSpec{
			RenewTime: ptr.To(metav1.NewMicroTime(noon.Add(-ago))), LeaseDurationSeconds: ptr.To[int32](10),
		},
	}
	reports("1000", "900")(&l)
	for _, change := range changes {
		change(&l)
	}
	return l
}

// seen is what is known of Leases that long after noon by who has seen each renewed in time.
func seen(after time.Duration, leases ...coordinationv1.Lease) []replica {
	clock := testingclock.NewFakePassiveClock(noon)
	var replicas []replica
	for i := range leases {
		l := &leases[i]
		life := liveness.NoLife()
		if renewed := l.Spec.RenewTime; renewed != nil && !renewed.After(noon) {
			clock.SetTime(renewed.Time)
			observer := liveness.NewObserver(clock)
			observer.Observe(l)
			clock.SetTime(noon.Add(after))
			life = observer.Observe(l)
		} else if renewed != nil {
			life = liveness.NewObserver(clock).Observe(l)
		}
		replicas = append(replicas, replica{l, life})
	}
	return replicas
}

func reports(capacity, available string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) {
		l.Annotations[v1alpha1.CapacityBytesAnnotation] = capacity
		l.Annotations[v1alpha1.AvailableBytesAnnotation] = available
	}
}

func without(annotation string) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) { delete(l.Annotations, annotation) }
}

func reserving(n int64) v1alpha1.UploadSession {
	return v1alpha1.UploadSession{Status: v1alpha1.UploadSessionStatus{
		Admission: v1alpha1.UploadSessionAdmission{Replica: "models-0", ReservedBytes: &n},
	}}
}

func finished(s v1alpha1.UploadSession) v1alpha1.UploadSession {
	s.Status.Result.Outcome = v1alpha1.UploadOutcomeFailed
	return s
}

// What kubectl get shows is short.
func TestWhatIsDisplayedIsShort(t *testing.T) {
	o := observation{store: store(), replicas: seen(0, lease(strings.Repeat("a", 63), time.Second))}
	o.store.Spec.Volume.ClaimName = strings.Repeat("b", 253)
	status := planFor(o, noon).status
	want := v1alpha1.UploadStoreDisplay{
		ClaimName: strings.Repeat("b", 12) + "…" + strings.Repeat("b", 25), Endpoint: "https://aaaa…" + strings.Repeat("a", 6) + ".models.ml.svc:8443",
		Message: "The dataplane takes sessions.",
	}
	if diff := cmp.Diff(want, status.Display); diff != "" {
		t.Errorf("what is displayed differs (-want +got):\n%s", diff)
	}
	if got := statusConfiguration(status).Display; *got.ClaimName != want.ClaimName || *got.Endpoint != want.Endpoint || *got.Message != want.Message {
		t.Errorf("what is applied is %+v, want %+v", got, want)
	}
}
