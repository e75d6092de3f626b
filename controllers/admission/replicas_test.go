package admission

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func inManaged(replicas int32) func(*v1alpha1.UploadStore) {
	return func(s *v1alpha1.UploadStore) {
		s.Spec.Dataplane = v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeManaged, Replicas: replicas}
	}
}

func TestOrdinal(t *testing.T) {
	for replica, want := range map[string]int32{
		"models-0": 0, "models-10": 10, "models-": -1, "models": -1, "models-01": -1, "models--1": -1, "models-+1": -1,
		"models-x": -1, "data-0": -1, "models-data-0": -1, "models-99999999999": -1,
	} {
		got, ok := Ordinal("models", replica)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("the ordinal of %q is %d, want %d", replica, got, want)
		}
	}
}

// An admission changes how many sessions a replica has, and must not wake everybody for it.
func TestHowManySessionsAReplicaHasIsNoNews(t *testing.T) {
	before := store(1000, "a")
	before.ResourceVersion = "1"
	l := NewLedger()
	l.SetStore(before)
	after := before.DeepCopy()
	after.ResourceVersion = "2"
	after.Status.Replicas[0].ActiveSessions = ptr.To[int32](1)
	if l.SetStore(after) {
		t.Error("sessions wake because a replica has more sessions")
	}
	after.ResourceVersion = "3"
	after.Status.Replicas[0].Endpoint = "http://elsewhere:8443"
	if !l.SetStore(after) {
		t.Error("sessions do not wake although a replica has moved")
	}
}
