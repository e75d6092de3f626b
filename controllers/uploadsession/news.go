package uploadsession

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// news returns the event that tells what became of the session, once: how it
// ended, that it waits for its turn, or that its turn has come. A session that
// starts at once has no event but the one of its end, which spares a write.
func news(s *v1alpha1.UploadSession, desired v1alpha1.UploadSessionStatus) *event {
	if hasNewEnd(s, desired) {
		return newsOfEnd(s, desired)
	}
	told := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAdmitted)
	tell := meta.FindStatusCondition(desired.Conditions, v1alpha1.ConditionAdmitted)
	waited, waits := inLine(told), inLine(tell)
	switch {
	case waits && !waited:
		return &event{eventType: corev1.EventTypeNormal, reason: tell.Reason, action: "Queue", note: tell.Message}
	case waited && tell.Status == metav1.ConditionTrue:
		return &event{eventType: corev1.EventTypeNormal, reason: tell.Reason, action: "Admit", note: tell.Message}
	}
	return nil
}

// inLine reports whether condition Admitted, which may be missing, tells that the session waits for others to end.
func inLine(admitted *metav1.Condition) bool {
	return admitted != nil && admitted.Status == metav1.ConditionFalse &&
		(admitted.Reason == v1alpha1.ReasonQuotaExceeded || admitted.Reason == v1alpha1.ReasonInsufficientSpace)
}

// hasNewEnd reports whether the status has yet to tell that the session ended, or how.
func hasNewEnd(s *v1alpha1.UploadSession, desired v1alpha1.UploadSessionStatus) bool {
	ended := meta.FindStatusCondition(desired.Conditions, v1alpha1.ConditionSucceeded)
	before := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionSucceeded)
	return !desired.CompletionTime.IsZero() &&
		(before == nil || before.Status != ended.Status || before.Reason != ended.Reason)
}

func newsOfEnd(s *v1alpha1.UploadSession, desired v1alpha1.UploadSessionStatus) *event {
	ended := meta.FindStatusCondition(desired.Conditions, v1alpha1.ConditionSucceeded)
	eventType := corev1.EventTypeWarning
	switch {
	case ended.Status == metav1.ConditionTrue,
		ended.Reason == v1alpha1.ReasonCancelled,
		s.Status.Result.Outcome == v1alpha1.UploadOutcomeAborted:
		eventType = corev1.EventTypeNormal // as somebody asked for
	}
	return &event{eventType: eventType, reason: ended.Reason, action: "Finish", note: ended.Message}
}
