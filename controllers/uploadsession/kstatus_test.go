package uploadsession

import (
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// kstatusOf is how tools that wait for any resource, such as Helm and Flux, take a session.
func kstatusOf(t *testing.T, s *v1alpha1.UploadSession) *status.Result {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("UploadSession"))
	result, err := status.Compute(u)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Whatever a rule says of a session, tools take it for the same.
func TestToolsTakeASessionForWhatItIs(t *testing.T) {
	day := 24 * time.Hour
	published := result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished)
	for name, test := range map[string]struct {
		o    observation
		at   time.Duration // after noon
		want status.Status
	}{
		"uploading":                 {alone(session(), store()), 0, status.InProgressStatus},
		"without a store":           {alone(session(), nil), 0, status.InProgressStatus},
		"store not ready":           {alone(session(), store(notReady)), 0, status.InProgressStatus},
		"suspended before it began": {alone(session(desired(v1alpha1.DesiredStateSuspended)), store()), 0, status.InProgressStatus},
		"suspended":                 {alone(session(admitted, desired(v1alpha1.DesiredStateSuspended)), store()), 0, status.InProgressStatus},
		"cancelling":                {alone(session(admitted, desired(v1alpha1.DesiredStateCancelled)), store()), 0, status.InProgressStatus},
		"expiring":                  {alone(session(admitted), store()), day + time.Hour, status.InProgressStatus},
		"replica away":              {alone(session(admitted), store(notReady)), time.Hour, status.InProgressStatus},

		"published":                 {alone(session(admitted, published), store()), time.Minute, status.CurrentStatus},
		"published after all":       {alone(session(admitted, endedBy(v1alpha1.ReasonStoreGone), published), store()), time.Minute, status.CurrentStatus},
		"published, then cancelled": {alone(session(admitted, published, desired(v1alpha1.DesiredStateCancelled)), store()), time.Minute, status.CurrentStatus},

		"cancelled before it began": {alone(session(desired(v1alpha1.DesiredStateCancelled)), store()), 0, status.FailedStatus},
		"never admitted":            {alone(session(waiting, queueDeadlineOf(time.Hour)), nil), time.Hour, status.FailedStatus},
		"ended by the operator":     {alone(session(admitted, endedBy(v1alpha1.ReasonStoreGone)), nil), time.Hour, status.FailedStatus},
		"cancelled": {
			alone(session(admitted, result(v1alpha1.UploadOutcomeAborted, v1alpha1.ReasonCancelled)), store()), time.Minute, status.FailedStatus,
		},
		"failed": {
			alone(session(admitted, result(v1alpha1.UploadOutcomeFailed, v1alpha1.ReasonDigestMismatch)), store()), time.Minute, status.FailedStatus,
		},
		"expired": {
			alone(session(admitted, result(v1alpha1.UploadOutcomeExpired, v1alpha1.ReasonIdleTimeout)), store()), time.Minute, status.FailedStatus,
		},

		"being deleted": {alone(session(admitted, deleted), store()), 0, status.TerminatingStatus},
		"being deleted with its object": {
			alone(session(admitted, published, reclaimed, deleted), store()), 0, status.TerminatingStatus,
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon.Add(test.at)
			after := carriedOut(test.o, planFor(test.o, now), now).session
			if got := kstatusOf(t, after); got.Status != test.want {
				t.Errorf("tools take the session for %s (%s), want %s: %+v", got.Status, got.Message, test.want, after.Status.Conditions)
			}
		})
	}
}

// kstatusFor is what tools should take a session for.
func kstatusFor(s *v1alpha1.UploadSession) status.Status {
	switch succeeded := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionSucceeded); {
	case !s.DeletionTimestamp.IsZero():
		return status.TerminatingStatus
	case succeeded.Status == metav1.ConditionTrue:
		return status.CurrentStatus
	case succeeded.Status == metav1.ConditionFalse:
		return status.FailedStatus
	default:
		return status.InProgressStatus
	}
}
