package uploadsession

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/metrics"
)

// queued is how the operator leaves a session for which its volume has no room.
func queued(s *v1alpha1.UploadSession) {
	s.Status = *planFor(alone(session(), store(available(99))), noon).status
}

func TestWhoQueuesIsToldTwice(t *testing.T) {
	for name, c := range map[string]struct {
		o    observation
		want *event
	}{
		"a session that starts at once": {alone(session(), store()), nil},
		"one whose store is not ready":  {alone(session(), store(notReady)), nil},
		"one that begins to wait":       {alone(session(), store(available(99))), &event{eventType: corev1.EventTypeNormal, reason: v1alpha1.ReasonInsufficientSpace, action: "Queue"}},
		"one that goes on waiting":      {alone(session(queued), store(available(99))), nil},
		"one whose turn has come":       {alone(session(queued), store()), &event{eventType: corev1.EventTypeNormal, reason: v1alpha1.ReasonAdmitted, action: "Admit"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := planFor(c.o, noon).event
			if got != nil && got.note == "" {
				t.Error("it says nothing")
			} else if got != nil {
				got.note = ""
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(event{})); diff != "" {
				t.Errorf("the event differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTransitions(t *testing.T) {
	for name, c := range map[string]struct {
		o    observation
		want transition
	}{
		"admitted":               {alone(session(), store()), transition{store: "models", admitted: true}},
		"waits":                  {alone(session(), store(available(99))), transition{}},
		"asks for too much":      {alone(session(), store(maxObject(99))), transition{store: "models", rejected: v1alpha1.ReasonExceedsStoreLimits}},
		"published":              {alone(session(admitted, result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished)), store()), transition{store: "models", ended: v1alpha1.ReasonPublished}},
		"ended, its store gone":  {alone(session(admitted, result(v1alpha1.UploadOutcomeExpired, v1alpha1.ReasonIdleTimeout)), nil), transition{ended: v1alpha1.ReasonIdleTimeout}},
		"ended and told already": {alone(session(admitted, published), store()), transition{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := planFor(c.o, noon).transition; got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// versioned writes nothing, and gives what is applied a version as the API server does.
func versioned(applied runtime.ApplyConfiguration) {
	if session, ok := applied.(*applyv1alpha1.UploadSessionApplyConfiguration); ok {
		session.WithResourceVersion("2")
	}
}

func applies(_ context.Context, _ client.WithWatch, applied runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	versioned(applied)
	return nil
}

func appliesStatus(err error) func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return func(_ context.Context, _ client.Client, _ string, applied runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption) error {
		versioned(applied)
		return err
	}
}

// What was planned and not written did not happen.
func TestOnlyWhatIsWrittenIsCounted(t *testing.T) {
	for name, refused := range map[string]error{"written": nil, "refused": errors.New("conflict")} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			recorder := events.NewFakeRecorder(10)
			r := &Reconciler{
				Client: fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
					SubResourceApply: appliesStatus(refused), Apply: applies,
				}).Build(),
				Recorder: recorder, Metrics: metrics.NewTransitions(registry), Clock: clocktesting.NewFakePassiveClock(noon),
			}
			o := alone(session(), store())
			_, err := r.apply(t.Context(), o.session, planFor(o, noon))
			families, gatherErr := registry.Gather()
			if gatherErr != nil {
				t.Fatal(gatherErr)
			}
			if (err == nil) != (refused == nil) || (len(families) > 0) != (refused == nil) {
				t.Errorf("error %v, counted %v", err, families)
			}
		})
	}
}
