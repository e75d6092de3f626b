package file_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

var adopting = file.Options{Replica: own.Replica, Adopt: true}

// former makes the volume one of the version that knew of one replica only, with these sessions held in part.
func former(t *testing.T, dir string, ids ...session.ID) {
	t.Helper()
	sink := mustOpen(t, dir)
	for _, id := range ids {
		must(t, sink.Create(background, record(id, 100)))
		s, err := sink.Open(background, id)
		must(t, err)
		_, err = s.WriteAt([]byte("acknowledged"), 0)
		must(t, err)
		must(t, s.Commit(background, 0, 0, session.Slot{Length: 50}))
		must(t, s.Close())
	}
	must(t, sink.Close())
	for _, id := range ids {
		must(t, os.Rename(filepath.Join(area(dir), string(id)), filepath.Join(dir, ".slipway", string(id))))
	}
	must(t, os.RemoveAll(area(dir)))
	must(t, os.Remove(filepath.Join(dir, ".slipway", ".names")))
}

func wantsHeld(t *testing.T, sink *file.Sink, ids ...session.ID) {
	t.Helper()
	found, failed := recovered(t, sink)
	if len(found) != len(ids) || len(failed) > 0 {
		t.Fatalf("recovered %v, failed %v, want %v", found, failed, ids)
	}
	for _, id := range ids {
		b := make([]byte, 12)
		s, err := sink.Open(background, id)
		must(t, err)
		_, err = s.ReadAt(b, 0)
		must(t, err)
		must(t, s.Close())
		if !slices.Equal(found[id].Held, []bool{true, false}) || string(b) != "acknowledged" {
			t.Errorf("session %s holds %v and %q", id, found[id].Held, b)
		}
	}
}

func TestAdoption(t *testing.T) {
	dir := t.TempDir()
	former(t, dir, "a", "b")
	must(t, os.MkdirAll(filepath.Join(dir, ".slipway", "c.new"), 0o700))
	must(t, os.MkdirAll(filepath.Join(dir, ".slipway", "d.gone", "x"), 0o700))
	must(t, os.MkdirAll(filepath.Join(dir, ".slipway", ".probe"), 0o700))

	// One that is not the former replica leaves them for the one that is.
	later := mustOpenAs(t, dir, other)
	wantsHeld(t, later)
	sink := mustOpenAs(t, dir, adopting)
	wantsHeld(t, sink, "a", "b")
	wantsHeld(t, later)
	if got, want := below(t, filepath.Join(dir, ".slipway")), []string{".lock", ".names", "models-0.replica"}; !slices.Equal(got[:3], want) {
		t.Errorf("in the staging directory: %v", got)
	}
	must(t, sink.Publish(background, "a", "object", false, nil))
	must(t, sink.Close())
	wantsHeld(t, mustOpenAs(t, dir, adopting), "a", "b")
}

// TestAdoptionCutShort has every state that a crash in the midst of it leaves.
func TestAdoptionCutShort(t *testing.T) {
	for _, moved := range [][]session.ID{{}, {"a"}, {"a", "b"}} {
		dir := t.TempDir()
		former(t, dir, "a", "b", "c")
		must(t, os.Mkdir(area(dir), 0o700))
		for _, id := range moved {
			must(t, os.Rename(filepath.Join(dir, ".slipway", string(id)), filepath.Join(area(dir), string(id))))
		}
		wantsHeld(t, mustOpenAs(t, dir, adopting), "a", "b", "c")
	}
}

// TestAdoptionWaitsForTheFormerVersion: while its process has the volume nothing is touched, and
// it can't come back later.
func TestAdoptionWaitsForTheFormerVersion(t *testing.T) {
	dir := t.TempDir()
	former(t, dir, "a")
	lock, err := os.OpenFile(filepath.Join(dir, ".slipway", ".lock"), os.O_RDWR, 0)
	must(t, err)
	defer lock.Close()
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	before := below(t, dir)
	_, err = file.Open(dir, adopting)
	wants(t, err, file.ErrLocked)
	if after := below(t, dir); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_UN))
	wantsHeld(t, mustOpenAs(t, dir, adopting), "a")
	mustOpenAs(t, dir, other)
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		t.Error("the former version could open the volume beside these replicas")
	}
}

// TestASessionOfBothLayouts is what a version leaves that was started after a later one.
func TestASessionOfBothLayouts(t *testing.T) {
	dir := t.TempDir()
	former(t, dir, "a", "b")
	must(t, os.Mkdir(area(dir), 0o700))
	must(t, os.CopyFS(filepath.Join(area(dir), "a"), os.DirFS(filepath.Join(dir, ".slipway", "a"))))
	sink := mustOpenAs(t, dir, adopting)
	found, failed := recovered(t, sink)
	if len(found) != 2 || len(failed) != 1 || failed[".slipway/a"] == nil {
		t.Errorf("recovered %v, failed %v", found, failed)
	}
	if _, err := os.Stat(filepath.Join(dir, ".slipway", "a", "record")); err != nil {
		t.Errorf("what the former version took is gone: %v", err)
	}
}
