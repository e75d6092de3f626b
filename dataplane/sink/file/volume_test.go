package file_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

func TestOpenedTwice(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	_, err := file.Open(dir, own)
	wants(t, err, file.ErrLocked)
	for _, part := range []string{dir, fmt.Sprintf("process %d ", os.Getpid())} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not tell %q", err, part)
		}
	}
	must(t, sink.Create(background, record("a", 10)))
	must(t, sink.Close())
	again := mustOpen(t, dir)
	if found, _ := recovered(t, again); len(found) != 1 {
		t.Errorf("recovered %v", found)
	}
}

func TestOfConcurrentOpensOneWins(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		results := make(chan error, 4)
		sinks := make(chan *file.Sink, 4)
		for range 4 {
			go func() {
				sink, err := file.Open(dir, own)
				sinks <- sink
				results <- err
			}()
		}
		won := 0
		for range 4 {
			if err := <-results; err == nil {
				won++
			} else {
				wants(t, err, file.ErrLocked)
			}
		}
		for range 4 {
			if sink := <-sinks; sink != nil {
				must(t, sink.Close())
			}
		}
		if won != 1 {
			t.Fatalf("%d opened the volume", won)
		}
	}
}

func TestWhatOpenLeaves(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(area(dir), ".probe", "d"), 0o700))
	mustOpen(t, dir)
	if got, want := below(t, dir), []string{
		".slipway", ".slipway/.lock", ".slipway/.names", ".slipway/models-0.replica", ".slipway/models-0.replica/.lock",
	}; !slices.Equal(got, want) {
		t.Errorf("on the volume: %v, want %v", got, want)
	}
}

func TestIDsLikeTheSinksOwnNames(t *testing.T) {
	sink := mustOpen(t, t.TempDir())
	for _, id := range []session.ID{"lock", "probe", "data", "object", "new", "gone"} {
		must(t, sink.Create(background, record(id, 10)))
	}
	if found, failed := recovered(t, sink); len(found) != 6 || len(failed) > 0 {
		t.Errorf("recovered %v, failed %v", found, failed)
	}
}

func TestVolumesThatAreRefused(t *testing.T) {
	regular := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(regular, nil, 0o600))
	planted := t.TempDir()
	must(t, os.Symlink(t.TempDir(), filepath.Join(planted, ".slipway")))
	inside := t.TempDir()
	must(t, os.Mkdir(filepath.Join(inside, "elsewhere"), 0o700))
	must(t, os.Symlink("elsewhere", filepath.Join(inside, ".slipway")))

	for name, dir := range map[string]string{
		"missing":                   filepath.Join(t.TempDir(), "missing"),
		"a file":                    regular,
		"proc":                      "/proc",
		"staging is a link out":     planted,
		"staging is a link within":  inside,
		"read-only mount":           mounted(t, "tmpfs", "ro"),
		"staging is another volume": stagingMounted(t),
	} {
		t.Run(name, func(t *testing.T) {
			if dir == "" {
				t.Skip("mounting is not allowed here")
			}
			_, err := file.Open(dir, own)
			wants(t, err, session.ErrUnsupported)
			t.Log(err)
		})
	}
	t.Run("no permission", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o555))
		if unix.Geteuid() == 0 {
			t.Skip("root may write everywhere")
		}
		_, err := file.Open(dir, own)
		wants(t, err, session.ErrUnsupported)
	})
	if got := below(t, filepath.Join(inside, "elsewhere")); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// TestRefusedByTheProbe has a filesystem with directories, links and locks, to whose files nothing can be written.
func TestRefusedByTheProbe(t *testing.T) {
	dir := mounted(t, "hugetlbfs", "mode=0755")
	if dir == "" {
		t.Skip("mounting is not allowed here")
	}
	_, err := file.Open(dir, own)
	wants(t, err, session.ErrUnsupported)
	if want := "files can't be written and synced"; !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not tell that %s", err, want)
	}
	if got := below(t, dir); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// TestFullVolume uses a real filesystem that is full.
func TestFullVolume(t *testing.T) {
	dir := mounted(t, "tmpfs", "size=8m")
	if dir == "" {
		t.Skip("mounting is not allowed here")
	}
	sink := mustOpen(t, dir)
	const large = 3 << 20
	for _, id := range []session.ID{"a", "b"} {
		must(t, sink.Create(background, record(id, large)))
	}
	before := below(t, dir)
	for _, size := range []int64{large, 7 << 20, 9 << 20, session.MaxSize} {
		wants(t, sink.Create(background, record("c", size)), session.ErrNoSpace)
		if got := below(t, dir); !slices.Equal(got, before) {
			t.Fatalf("a creation of %d bytes that failed left %v, before was %v", size, got, before)
		}
	}
	must(t, sink.Remove(background, "a"))
	must(t, sink.Create(background, record("c", large)))

	// What was reserved is there when others have taken all the rest.
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the volume is not full: %v", err)
	}
	r := record("c", large)
	staged, err := sink.Open(background, r.ID)
	must(t, err)
	for index := range r.Spec.Chunks() {
		offset, length, err := r.Spec.Extent(index)
		must(t, err)
		_, err = staged.WriteAt(slices.Repeat([]byte{1}, int(length)), offset)
		must(t, err)
		must(t, staged.Commit(background, index, offset, session.Slot{Length: length}))
	}
	must(t, staged.Close())
	r.State, r.Outcome = session.Finished, make([]byte, 4<<10)
	must(t, sink.SaveRecord(background, r))
	longer := r
	longer.Outcome = make([]byte, session.MaxPayload)
	for range 2 { // a record that finds no room harms nothing
		wants(t, sink.SaveRecord(background, longer), session.ErrNoSpace)
	}
	must(t, sink.Publish(background, r.ID, "object", false, map[string]string{"a": "b"}))
	must(t, sink.Free(background, r.ID))

	// A full volume can be opened again, and emptied.
	must(t, sink.Close())
	sink = mustOpen(t, dir)
	if found, failed := recovered(t, sink); len(found) != 2 || len(failed) > 0 || found["c"].State != session.Finished || len(found["c"].Outcome) != len(r.Outcome) {
		t.Errorf("recovered %v, failed %v", found, failed)
	}
	must(t, sink.Remove(background, "b"))
	must(t, os.Remove(ballast))
	must(t, sink.Create(background, record("d", large)))
}

// TestNoInodes has creations that fail in their midst: there is room for the bytes and none for the files.
func TestNoInodes(t *testing.T) {
	dir := mounted(t, "tmpfs", "nr_inodes=17") // one is for extended attributes
	if dir == "" {
		t.Skip("mounting is not allowed here")
	}
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("a", 100)))
	before := below(t, dir)
	failures := 0
	for taken := range 6 {
		must(t, os.Mkdir(fmt.Sprintf("%s/taken-%d", dir, taken), 0o755))
		err := sink.Create(background, record("b", 100))
		if err == nil {
			must(t, sink.Remove(background, "b"))
			continue
		}
		wants(t, err, session.ErrNoSpace)
		failures++
		if got := below(t, filepath.Join(dir, ".slipway")); len(got) != len(before)-1 {
			t.Fatalf("a creation that failed left %v, before was %v", got, before)
		}
	}
	if failures < 4 {
		t.Errorf("%d creations failed", failures)
	}
	must(t, os.Remove(dir+"/taken-0"))
	must(t, sink.Remove(background, "a"))
	must(t, sink.Create(background, record("b", 100)))
}

// mounted returns a directory with a filesystem of its own, or "" where this process may not mount.
func mounted(t *testing.T, kind, options string) string {
	t.Helper()
	return mountOn(t, t.TempDir(), kind, options)
}

func mountOn(t *testing.T, dir, kind, options string) string {
	t.Helper()
	if out, err := exec.Command("mount", "-t", kind, "-o", options, kind, dir).CombinedOutput(); err != nil {
		t.Logf("mount: %v: %s", err, out)
		return ""
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func stagingMounted(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	staging := filepath.Join(dir, ".slipway")
	must(t, os.Mkdir(staging, 0o700))
	if mountOn(t, staging, "tmpfs", "size=1m") == "" {
		return ""
	}
	return dir
}
