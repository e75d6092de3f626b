package file_test

import (
	"os"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

// An object whose last sync fails is under its name: its session can't go on here, and the volume has to say
// that another process is needed, for nothing else would ask for one.
func TestAFailedSyncAfterTheLinkFailsTheVolume(t *testing.T) {
	sink, err := file.Open(t.TempDir(), file.Options{Replica: "models-0"})
	must(t, err)
	defer func() { must(t, sink.Close()) }()
	must(t, sink.Create(background, record("a", 100)))
	must(t, sink.Create(background, record("b", 100)))
	must(t, sink.Failed())

	unsyncable, w, err := os.Pipe() // which can't be synced
	must(t, err)
	defer func() { must(t, w.Close()) }()
	defer func() { must(t, unsyncable.Close()) }()
	if err := sink.SyncPublished("a", unsyncable); err == nil {
		t.Fatal("a pipe was synced")
	}
	if sink.Failed() == nil {
		t.Error("the volume is well, and its session is stuck")
	}
	for _, id := range []session.ID{"a", "b"} {
		if err := sink.Publish(background, id, string(id)+".bin", false, nil); err == nil {
			t.Errorf("session %s is published", id)
		}
	}
}
