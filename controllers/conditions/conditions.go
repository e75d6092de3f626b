package conditions

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
)

// Own returns copies of the conditions of the given types, in the order of the
// types. What others add to a list is not the reconciler's to compare or write.
func Own(list []metav1.Condition, types ...string) []metav1.Condition {
	own := make([]metav1.Condition, 0, min(len(list), len(types))) // no more: every cached session has one
	for _, t := range types {
		if c := meta.FindStatusCondition(list, t); c != nil {
			own = append(own, *c)
		}
	}
	return own
}

// MaxMessageBytes bounds a message in bytes. The API server takes 32768, and refuses the whole status for one that is
// longer; a person reads less.
const MaxMessageBytes = 8192

// Bounded returns a message with no more than MaxMessageBytes of it. A message that tells of what others wrote, such as
// the kubelet, a webhook or a container, goes through here before it is compared with what is stored.
func Bounded(message string) string {
	if len(message) <= MaxMessageBytes {
		return message
	}
	const more = "..."
	return strings.ToValidUTF8(message[:MaxMessageBytes-len(more)], "") + more
}

// Apply returns the conditions as server-side apply takes them.
func Apply(list []metav1.Condition) []*applymetav1.ConditionApplyConfiguration {
	var applied []*applymetav1.ConditionApplyConfiguration
	for _, c := range list {
		applied = append(applied, applymetav1.Condition().
			WithType(c.Type).
			WithStatus(c.Status).
			WithObservedGeneration(c.ObservedGeneration).
			WithLastTransitionTime(c.LastTransitionTime).
			WithReason(c.Reason).
			WithMessage(c.Message))
	}
	return applied
}
