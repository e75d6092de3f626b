package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	lru "k8s.io/apimachinery/pkg/util/cache"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/liveness"
)

// apiServer is one that counts what it is asked, and may be away.
type apiServer struct {
	client.WithWatch
	asked int
	away  bool
}

func newAPIServer(t *testing.T, objects ...client.Object) *apiServer {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	s := &apiServer{}
	s.WithWatch = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
			s.asked++
			if s.away {
				return errors.New("connection refused")
			}
			return c.Get(ctx, key, into, opts...)
		},
	}).Build()
	return s
}

func aLease(now time.Time, changes ...func(*coordinationv1.Lease)) *coordinationv1.Lease {
	l := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: here.namespace, Name: "slipway-models-1", Labels: map[string]string{v1alpha1.StoreLabel: here.store},
			Annotations: map[string]string{v1alpha1.EndpointAnnotation: "https://models-1:8443"},
		},
		Spec: coordinationv1.LeaseSpec{RenewTime: ptr.To(metav1.NewMicroTime(now)), LeaseDurationSeconds: ptr.To(int32(30))},
	}
	for _, change := range changes {
		change(l)
	}
	return l
}

func newReplicas(api *apiServer, clock *clocktesting.FakeClock) *Replicas {
	return &Replicas{
		place: here, live: api, clock: clock, owners: newOwners(clock), liveness: liveness.NewObserver(clock),
		endpoints: lru.NewLRUExpireCacheWithClock(maxReplicas, clock),
	}
}

func TestEndpointsAreThoseOfLiveReplicasOfTheStore(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*coordinationv1.Lease)
		want   error
	}{
		"alive":              {func(*coordinationv1.Lease) {}, nil},
		"of another store":   {func(l *coordinationv1.Lease) { l.Labels[v1alpha1.StoreLabel] = "data" }, upload.ErrAway},
		"of no store":        {func(l *coordinationv1.Lease) { l.Labels = nil }, upload.ErrAway},
		"in another place":   {func(l *coordinationv1.Lease) { l.Namespace = "other" }, upload.ErrAway},
		"of another replica": {func(l *coordinationv1.Lease) { l.Name = "slipway-models-2" }, upload.ErrAway},
		"run out, by a clock that may be wrong": {func(l *coordinationv1.Lease) {
			l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(noon.Add(-2 * time.Hour)))
		}, nil},
		"yet to come, by a clock that may be wrong": {func(l *coordinationv1.Lease) {
			l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(noon.Add(2 * time.Hour)))
		}, nil},
		"never renewed":  {func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }, upload.ErrAway},
		"without an end": {func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = nil }, upload.ErrAway},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newReplicas(newAPIServer(t, aLease(noon, c.change)), clocktesting.NewFakeClock(noon)).Endpoint(t.Context(), "models-1")
			if !errors.Is(err, c.want) || err == nil && got != "https://models-1:8443" {
				t.Errorf("got %q, %v, want %v", got, err, c.want)
			}
		})
	}
}

// A Lease counts from when it was seen to change, whatever the clocks of the two replicas say.
func TestAReplicaIsAliveWhileItRenewsItsLease(t *testing.T) {
	for _, off := range []time.Duration{-2 * time.Hour, 0, 2 * time.Hour} {
		clock := clocktesting.NewFakeClock(noon)
		renewed := func() *coordinationv1.Lease { return aLease(clock.Now().Add(off)) }
		api := newAPIServer(t, renewed())
		r := newReplicas(api, clock)
		expect := func(want error, when string) {
			t.Helper()
			if _, err := r.Endpoint(t.Context(), "models-1"); !errors.Is(err, want) {
				t.Errorf("off by %v, %s: got %v, want %v", off, when, err, want)
			}
		}
		for range 10 {
			expect(nil, "while it renews")
			clock.Step(10 * time.Second)
			if err := errors.Join(api.Delete(t.Context(), renewed()), api.Create(t.Context(), renewed())); err != nil {
				t.Fatal(err)
			}
		}
		expect(nil, "renewed last")
		clock.Step(34 * time.Second)
		expect(nil, "before it has run out")
		clock.Step(freshEndpoint)
		expect(upload.ErrAway, "when it has run out")
	}
}

func TestEndpointsAreRemembered(t *testing.T) {
	clock := clocktesting.NewFakeClock(noon)
	api := newAPIServer(t, aLease(noon))
	r := newReplicas(api, clock)
	expect := func(want error, asked int) {
		t.Helper()
		if _, err := r.Endpoint(t.Context(), "models-1"); !errors.Is(err, want) || api.asked != asked {
			t.Fatalf("got %v, asked %d times, want %v and %d", err, api.asked, want, asked)
		}
	}
	api.away = true
	expect(upload.ErrUnavailable, 1)
	api.away = false
	expect(nil, 2)
	clock.Step(freshEndpoint - time.Second)
	expect(nil, 2)
	clock.Step(time.Second)
	expect(nil, 3)
	api.away = true
	clock.Step(time.Minute)
	expect(nil, 4) // the Lease may have been renewed
	clock.Step(stale)
	expect(upload.ErrUnavailable, 5)
	api.away = false
	expect(upload.ErrAway, 6) // its Lease has run out long ago
	expect(upload.ErrAway, 6)
	if err := errors.Join(api.Delete(t.Context(), aLease(noon)), api.Create(t.Context(), aLease(clock.Now()))); err != nil {
		t.Fatal(err)
	}
	clock.Step(doubtful)
	expect(nil, 7)
	r.Unreachable("models-1")
	expect(nil, 7)
	clock.Step(doubtful)
	expect(nil, 8)
	expect(nil, 8)
	r.Unreachable("models-1")
	clock.Step(doubtful)
	api.away = true
	expect(nil, 9)
}

func TestOwnersAreRemembered(t *testing.T) {
	clock := clocktesting.NewFakeClock(noon)
	elsewhere := aSession(func(s *v1alpha1.UploadSession) { s.Status.Admission.Replica = "models-1" })
	api := newAPIServer(t, elsewhere)
	r := newReplicas(api, clock)
	d := directory{here, api, r.owners}
	name := upload.Name{Namespace: elsewhere.Namespace, Name: elsewhere.Name}
	expect := func(want error, asked int) {
		t.Helper()
		if _, err := d.Lookup(t.Context(), name); !errors.Is(err, want) || api.asked != asked {
			t.Fatalf("got %v, asked %d times, want %v and %d", err, api.asked, want, asked)
		}
	}
	expect(upload.ErrElsewhere, 1)
	expect(upload.ErrElsewhere, 1)
	clock.Step(fresh)
	expect(upload.ErrElsewhere, 2)
	r.Mistaken(name)
	expect(upload.ErrElsewhere, 3)
	api.away = true
	clock.Step(time.Minute)
	expect(upload.ErrElsewhere, 4)
	clock.Step(stale)
	expect(upload.ErrUnavailable, 5)
	api.away = false
	expect(upload.ErrElsewhere, 6)

	// What the API server says counts, once it is asked.
	if err := api.Delete(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	clock.Step(fresh)
	expect(upload.ErrUnknown, 7)
	api.away = true
	expect(upload.ErrUnavailable, 8)
}
