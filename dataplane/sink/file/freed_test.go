package file_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// few is more than what is freed takes, in bytes.
const few = 32 << 10

// roomOf is how much room the files of a session take on the volume, in bytes.
func roomOf(t *testing.T, dir string, id session.ID) int64 {
	t.Helper()
	var sum int64
	must(t, filepath.WalkDir(filepath.Join(area(dir), string(id)), func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum += info.Sys().(*syscall.Stat_t).Blocks * 512 //nolint:errcheck // Linux only
		return nil
	}))
	return sum
}

// However many chunks a session has, once it is freed it takes a few KiB.
func TestWhatIsFreedTakesNoRoom(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	r := record("s", session.MaxChunks)
	r.Spec.ChunkSize = 1
	must(t, sink.Create(background, r))
	if got := roomOf(t, dir, "s"); got < session.MaxChunks*session.SlotSize {
		t.Skipf("the volume says that %d bytes are taken", got)
	}
	r.State = session.Aborted
	must(t, sink.SaveRecord(background, r))
	for range 2 {
		must(t, sink.Free(background, "s"))
		if got := roomOf(t, dir, "s"); got > few {
			t.Errorf("%d bytes are taken by what was freed", got)
		}
		must(t, sink.Close())
		sink = mustOpen(t, dir)
		found, failed := recovered(t, sink)
		if len(failed) > 0 || found["s"].HasBytes || len(found["s"].Held) != session.MaxChunks {
			t.Fatalf("recovered with bytes: %t, %d chunks; failed: %v", found["s"].HasBytes, len(found["s"].Held), failed)
		}
		if got := roomOf(t, dir, "s"); got > few {
			t.Errorf("%d bytes are taken after a restart", got)
		}
	}
}

// The version before freed the data and kept the ledger; power may go while it is freed; and a volume that
// can't free a part of a file leaves a short ledger for a moment.
func TestLedgersOfEndedSessionsAreFreed(t *testing.T) {
	for _, one := range []struct {
		what     string
		cut      func(dir string) error
		chunks   int // that are held before
		hasBytes bool
	}{
		{"kept", func(dir string) error { return os.Remove(filepath.Join(dir, "data")) }, 1, true},
		{"kept without a chunk", func(dir string) error { return os.Remove(filepath.Join(dir, "data")) }, 0, false},
		{"short", func(dir string) error { return os.Truncate(filepath.Join(dir, "ledger"), 0) }, 1, true},
	} {
		t.Run(one.what, func(t *testing.T) {
			dir := t.TempDir()
			sink := mustOpen(t, dir)
			r := record("s", 50_000)
			r.Spec.ChunkSize = 1
			must(t, sink.Create(background, r))
			staged, err := sink.Open(background, "s")
			must(t, err)
			for index := range one.chunks {
				must(t, staged.Commit(background, index, int64(index), session.Slot{Length: 1}))
			}
			must(t, staged.Close())
			r.State = session.Aborted
			must(t, sink.SaveRecord(background, r))
			must(t, sink.Abandon())
			must(t, one.cut(filepath.Join(area(dir), "s")))

			sink = mustOpen(t, dir)
			found, failed := recovered(t, sink)
			if len(failed) > 0 || found["s"].HasBytes != one.hasBytes {
				t.Fatalf("recovered with bytes: %t; failed: %v", found["s"].HasBytes, failed)
			}
			if held := slices.Contains(found["s"].Held, true); held != (one.what == "kept") {
				t.Errorf("a chunk is held: %t", held)
			}
			if one.hasBytes {
				must(t, sink.Free(background, "s"))
			}
			if got := roomOf(t, dir, "s"); got > few {
				t.Errorf("%d bytes are taken by what was freed", got)
			}
			must(t, sink.Close())
			sink = mustOpen(t, dir)
			if found, failed := recovered(t, sink); len(failed) > 0 || found["s"].HasBytes {
				t.Errorf("freed and recovered with bytes: %t; failed: %v", found["s"].HasBytes, failed)
			}
		})
	}
}
