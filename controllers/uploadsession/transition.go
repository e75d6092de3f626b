package uploadsession

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
)

// transition is what a plan makes of a session, for those who count. Its zero
// value is that nothing begins or ends.
type transition struct {
	// store is the session's, empty where there is none of that name.
	store string
	// admitted tells that the session may start.
	admitted bool
	// rejected and ended are why the session ends: before it could ever start, or in any other way.
	rejected, ended string
}

func transitionOf(o observation, desired v1alpha1.UploadSessionStatus) transition {
	t := transition{admitted: desired.Admission.Replica != "" && !admission.Admitted(o.session)}
	if hasNewEnd(o.session, desired) {
		reason := meta.FindStatusCondition(desired.Conditions, v1alpha1.ConditionSucceeded).Reason
		if o.refusal != nil && o.refusal.Final {
			t.rejected = reason
		} else {
			t.ended = reason
		}
	}
	if t == (transition{}) || o.store == nil {
		return t
	}
	t.store = o.store.Name
	return t
}

// abandoned is the transition of a deleted session that goes although its
// replica has not confirmed all.
func abandoned(o observation, desired v1alpha1.UploadSessionStatus) transition {
	t := transitionOf(o, desired)
	if desired.CompletionTime.IsZero() {
		t.ended = v1alpha1.ReasonStagedBytesLeft
		if o.store != nil {
			t.store = o.store.Name
		}
	}
	return t
}

// count counts what was written of a session, which is as it was before.
func (r *Reconciler) count(s *v1alpha1.UploadSession, t transition, now time.Time) {
	if t.admitted {
		r.Metrics.Admitted(s, t.store, now)
	}
	if t.rejected != "" {
		r.Metrics.Rejected(s, t.store, t.rejected)
	}
	if t.ended != "" {
		r.Metrics.Ended(s, t.store, t.ended)
	}
}
