package uploadsession

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func TestOnlyMoreThanProgressIsReconciled(t *testing.T) {
	tests := []struct {
		name   string
		change func(*v1alpha1.UploadSession)
		want   bool
	}{
		{"a report of progress", func(s *v1alpha1.UploadSession) { s.Status.Progress.Percent = ptr.To[int32](50) }, false},
		{"a label", func(s *v1alpha1.UploadSession) { s.Labels = map[string]string{"a": "b"} }, false},
		{"another controller's condition", func(s *v1alpha1.UploadSession) {
			scanned := s.Status.Conditions[0]
			scanned.Type = "Scanned"
			s.Status.Conditions = append(s.Status.Conditions, scanned)
		}, false},
		{"a change of the spec, and a deletion", func(s *v1alpha1.UploadSession) { s.Generation++ }, true},
		{"a finalizer", func(s *v1alpha1.UploadSession) { s.Finalizers = nil }, true},
		{"a result", result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished), true},
		{"the object's going", objectGone, true},
		{"a condition that somebody overwrote", standsAs(v1alpha1.ReasonSuspended), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before, after := session(admitted), session(admitted, test.change)
			if got := moreThanProgress(before, after); got != test.want {
				t.Errorf("moreThanProgress is %v, want %v", got, test.want)
			}
		})
	}
}

func TestAdmittedSessionsFollowTheReplicasOnly(t *testing.T) {
	if replicasChanged(store(), store(available(7))) {
		t.Error("less room concerns sessions that are admitted")
	}
	if !replicasChanged(store(), store(replicas("models-1"))) {
		t.Error("another replica does not concern sessions that are admitted")
	}
}
