package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Where a filesystem keeps no marks an inode that is given out again is still another object.
func TestWithoutMarksNoTwoObjectsAreTheSame(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	sink.KeepNoMarks()
	inodes, seen := map[uint64]int{}, map[string]bool{}
	for range 30 {
		must(t, sink.Create(background, record("again", 0))) // no write comes after its creation
		must(t, sink.Publish(background, "again", "name", false, nil))
		identity, err := sink.Identify(background, "again")
		must(t, err)
		if seen[identity] {
			t.Fatalf("two objects have identity %q", identity)
		}
		seen[identity] = true
		info, err := os.Stat(filepath.Join(dir, "name"))
		must(t, err)
		inodes[info.Sys().(*syscall.Stat_t).Ino]++ //nolint:errcheck // Linux only
		must(t, sink.Remove(background, "again"))
		removed, err := sink.Withdraw(background, "name", identity)
		must(t, err)
		if !removed {
			t.Fatal("it was not withdrawn")
		}
	}
	if len(inodes) == 30 {
		t.Skip("this filesystem gives no inode out again")
	}
}

// Data that was written later than the volume's clock shows is written now, instead of waiting for so long.
func TestAClockThatWentBackHoldsUpNoPublication(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	sink.KeepNoMarks()
	must(t, sink.Create(background, record("a", 100)))
	later := time.Now().Add(time.Hour)
	must(t, os.Chtimes(filepath.Join(dir, ".slipway", "models-0.replica", "a", "data"), later, later))
	must(t, sink.Publish(background, "a", "name", false, nil))
	info, err := os.Stat(filepath.Join(dir, "name"))
	must(t, err)
	if !info.ModTime().Before(later) {
		t.Errorf("it was written at %s", info.ModTime())
	}
}

func TestWhatEarlierVersionsRecordedProvesNothing(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("a", 100)))
	must(t, sink.Publish(background, "a", "name", false, nil))
	name := filepath.Join(dir, "name")
	like := func(recorded string, want session.Likeness) {
		t.Helper()
		object, err := sink.OpenObject(background, "name")
		must(t, err)
		if got := object.Like(recorded); got != want {
			t.Errorf("an object with identity %q is like %q: %d, want %d", object.Identity(), recorded, got, want)
		}
		must(t, object.Close())
	}
	identity, err := sink.Identify(background, "a")
	must(t, err)
	earlier := identity[len("2-") : len(identity)-len("-a")]

	like(identity, session.Same)
	like(earlier, session.Other) // it has a mark
	like("", session.Other)
	err = syscall.Removexattr(name, "user.slipway-session")
	if errors.Is(err, syscall.ENOTSUP) {
		t.Skip("this filesystem keeps no marks")
	}
	must(t, err)
	like(identity, session.Other)
	like(earlier, session.Alike)
	removed, err := sink.Withdraw(background, "name", earlier)
	must(t, err)
	if removed {
		t.Error("an object was withdrawn that nobody knows for sure")
	}
	must(t, syscall.Setxattr(name, "user.slipway-session", []byte("b"), 0))
	like(identity, session.Other)
	like(earlier, session.Other)
}
