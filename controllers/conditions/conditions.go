package conditions

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
)

// Own returns copies of the conditions of the given types, in the order of the
// types. What others add to a list is not the reconciler's to compare or write.
func Own(list []metav1.Condition, types ...string) []metav1.Condition {
	var own []metav1.Condition
	for _, t := range types {
		if c := meta.FindStatusCondition(list, t); c != nil {
			own = append(own, *c)
		}
	}
	return own
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
