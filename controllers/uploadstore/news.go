package uploadstore

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// maxNoteBytes is the longest note that the API server takes with an event.
const maxNoteBytes = 1024

// notice is what happened, for people.
type notice struct{ eventType, reason, note string }

// news returns the event that tells that a store became ready, is not any more, or
// is not for another reason. A store that is new and has no dataplane yet is no news.
func news(before []metav1.Condition, now metav1.Condition) *notice {
	told := meta.FindStatusCondition(before, v1alpha1.ConditionReady)
	switch {
	case told == nil && now.Status != metav1.ConditionTrue, told != nil && told.Status == now.Status && told.Reason == now.Reason:
		return nil
	}
	e := notice{eventType: corev1.EventTypeNormal, reason: now.Reason, note: strings.ToValidUTF8(now.Message[:min(len(now.Message), maxNoteBytes)], "")}
	if now.Status != metav1.ConditionTrue {
		e.eventType = corev1.EventTypeWarning
	}
	return &e
}
