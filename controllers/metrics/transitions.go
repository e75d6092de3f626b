package metrics

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
)

// Transitions counts what becomes of sessions.
type Transitions struct {
	admitted  *prometheus.CounterVec
	rejected  *prometheus.CounterVec
	ended     *prometheus.CounterVec
	published *prometheus.CounterVec
	wait      *prometheus.HistogramVec
}

const (
	// none is what a session waited for that was never told to wait.
	none = "None"
	// other is a reason that is none of the API's.
	other = "Other"
)

// NewTransitions makes the counters and registers them; with a nil registry nobody sees them.
func NewTransitions(registry prometheus.Registerer) *Transitions {
	auto := promauto.With(registry)
	return &Transitions{
		admitted: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_sessions_admitted_total",
			Help: "Sessions that were admitted.",
		}, []string{"namespace", "store"}),
		rejected: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_sessions_rejected_total",
			Help: "Sessions that ended because they may never be admitted, by reason: ExceedsStoreLimits or QuotaRejected.",
		}, []string{"namespace", "store", "reason"}),
		ended: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_sessions_ended_total",
			Help: "Sessions that ended in any other way, by the reason of condition Succeeded, such as Published, IdleTimeout or Cancelled; " +
				"StagedBytesLeft are those deleted whose replica did not confirm.",
		}, []string{"namespace", "store", "reason"}),
		published: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "slipway_published_bytes_total",
			Help: "Bytes of the objects of sessions that ended as published.",
		}, []string{"namespace", "store"}),
		wait: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name: "slipway_session_wait_seconds",
			Help: "How long sessions waited from their creation to their admission, by what they waited for last (None where they were " +
				"never told to wait) and the quota, if it was one.",
			Buckets: []float64{1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600},
		}, []string{"namespace", "reason", "quota"}),
	}
}

// Admitted counts a session, as it was before, that is admitted to a store now.
func (t *Transitions) Admitted(s *v1alpha1.UploadSession, store string, now time.Time) {
	reason, quota := admission.WaitsFor(s)
	t.admitted.WithLabelValues(s.Namespace, store).Inc()
	t.wait.WithLabelValues(s.Namespace, cmp.Or(known(reason), none), quota).
		Observe(max(0, now.Sub(s.CreationTimestamp.Time)).Seconds())
}

// Rejected counts a session that may never be admitted. The store is empty where there is none.
func (t *Transitions) Rejected(s *v1alpha1.UploadSession, store, reason string) {
	t.rejected.WithLabelValues(s.Namespace, store, known(reason)).Inc()
}

// Ended counts a session that ended. The store is empty where there is none.
func (t *Transitions) Ended(s *v1alpha1.UploadSession, store, reason string) {
	t.ended.WithLabelValues(s.Namespace, store, known(reason)).Inc()
	if size := s.Status.Result.SizeBytes; reason == v1alpha1.ReasonPublished && size != nil {
		t.published.WithLabelValues(s.Namespace, store).Add(float64(*size))
	}
}

// reasons are those of the API. A result's is written by a dataplane, which is not trusted to
// choose how many series there are.
var reasons = []string{
	v1alpha1.ReasonStoreNotFound, v1alpha1.ReasonStoreNotReady, v1alpha1.ReasonInsufficientSpace, v1alpha1.ReasonQuotaExceeded,
	v1alpha1.ReasonQuotaRejected, v1alpha1.ReasonExceedsStoreLimits, v1alpha1.ReasonQueueDeadlineExceeded, v1alpha1.ReasonSuspended,
	v1alpha1.ReasonPublished, v1alpha1.ReasonAdopted, v1alpha1.ReasonCancelled, v1alpha1.ReasonDeleted, v1alpha1.ReasonAborted,
	v1alpha1.ReasonIdleTimeout, v1alpha1.ReasonDeadlineExceeded, v1alpha1.ReasonDigestMismatch, v1alpha1.ReasonKeyExists,
	v1alpha1.ReasonKeyUnusable, v1alpha1.ReasonStoreGone, v1alpha1.ReasonReplicaGone, v1alpha1.ReasonStagedBytesLeft,
	v1alpha1.ReasonUploading, v1alpha1.ReasonReplicaNotReady, v1alpha1.ReasonCancelling, v1alpha1.ReasonExpiring,
	v1alpha1.ReasonDeleting,
}

// known returns a reason of the API as it is, and of all others one.
func known(reason string) string {
	if reason == "" || slices.Contains(reasons, reason) {
		return reason
	}
	return other
}
