package admission

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// What a session was told is read back from its status, whoever told it.
func TestWaitsFor(t *testing.T) {
	e := &entry{sizeBytes: 7}
	quota, volume := &limit{counts: "reservedBytes", bytes: true, quota: "team.a", hard: 5}, &limit{bytes: true, store: "models"}
	for name, c := range map[string]struct {
		refusal       *Refusal
		status        metav1.ConditionStatus
		reason, quota string
	}{
		"a quota":                     {quota.waits(e, true, time.Unix(0, 0)), metav1.ConditionFalse, v1alpha1.ReasonQuotaExceeded, "team.a"},
		"a quota that is too small":   {quota.impossible(e), metav1.ConditionFalse, v1alpha1.ReasonQuotaExceeded, "team.a"},
		"room":                        {volume.waits(e, false, time.Unix(0, 0)), metav1.ConditionFalse, v1alpha1.ReasonInsufficientSpace, ""},
		"nothing, for it is admitted": {&Refusal{Reason: v1alpha1.ReasonAdmitted}, metav1.ConditionTrue, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &v1alpha1.UploadSession{Status: v1alpha1.UploadSessionStatus{Conditions: []metav1.Condition{{
				Type: v1alpha1.ConditionAdmitted, Status: c.status, Reason: c.refusal.Reason, Message: c.refusal.Message(),
			}}}}
			if reason, quota := WaitsFor(s); reason != c.reason || quota != c.quota {
				t.Errorf("got %q and %q, want %q and %q", reason, quota, c.reason, c.quota)
			}
		})
	}
	if reason, _ := WaitsFor(&v1alpha1.UploadSession{}); reason != "" {
		t.Errorf("a session that was told nothing waits for %q", reason)
	}
}
