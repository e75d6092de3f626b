package admission

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// WaitsFor returns what a session was told that it waits for: the reason, and
// the quota where it is one; empty where it was told nothing or does not wait.
func WaitsFor(s *v1alpha1.UploadSession) (reason, quota string) {
	told := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAdmitted)
	if told == nil || told.Status == metav1.ConditionTrue || Finished(s) {
		return "", ""
	}
	if told.Reason == v1alpha1.ReasonQuotaExceeded {
		quota = quotaIn(told.Message)
	}
	return told.Reason, quota
}

// quotaIn returns the quota that Refusal.About names: what a session was told is kept in its
// status and nowhere else.
func quotaIn(message string) string {
	_, rest, _ := strings.Cut(message, quotaBefore)
	name, _, _ := strings.Cut(rest, quotaAfter)
	return name
}

// What comes before and after the name of a quota in Refusal.About.
const (
	quotaBefore = `UploadQuota "`
	quotaAfter  = `"`
)
