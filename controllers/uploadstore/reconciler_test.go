package uploadstore

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func TestOnlyChangesOfWhatIsReservedReachTheStore(t *testing.T) {
	waiting, admitted, ended := v1alpha1.UploadSession{}, reserving(1), finished(reserving(1))
	progressed := reserving(1)
	progressed.Status.Progress.Percent = new(int32)
	tests := []struct {
		name          string
		before, after v1alpha1.UploadSession
		want          bool
	}{
		{"an admission", waiting, admitted, true},
		{"progress", admitted, progressed, false},
		{"an end", admitted, ended, true},
		{"the operator's record of an end", ended, ended, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := reservationChanges().Update(event.UpdateEvent{ObjectOld: &test.before, ObjectNew: &test.after}); got != test.want {
				t.Errorf("the update is let through: %v, want %v", got, test.want)
			}
		})
	}
	if p := reservationChanges(); p.Create(event.CreateEvent{Object: &waiting}) || !p.Delete(event.DeleteEvent{Object: &admitted}) {
		t.Error("a new session reserves nothing, and a deleted one nothing any more")
	}
}

func TestItsOwnStatusDoesNotReachTheStore(t *testing.T) {
	var before, counted, edited v1alpha1.UploadStore
	before.Generation, counted.Generation, edited.Generation = 1, 1, 2
	counted.ResourceVersion, counted.Status.ReservedBytes = "2", new(int64)
	if specChanges().Update(event.UpdateEvent{ObjectOld: &before, ObjectNew: &counted}) {
		t.Error("a status is let through")
	}
	if !specChanges().Update(event.UpdateEvent{ObjectOld: &before, ObjectNew: &edited}) || !specChanges().Create(event.CreateEvent{Object: &before}) {
		t.Error("a new store or another spec is not let through")
	}
}
