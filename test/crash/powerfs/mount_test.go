package powerfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/test/crash/powerfs"
)

func mount(t *testing.T, o powerfs.Options) (*powerfs.FS, string) {
	t.Helper()
	dir := t.TempDir()
	f, err := powerfs.Mount(dir, o)
	if errors.Is(err, powerfs.ErrCannotMount) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Unmount)
	return f, dir
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// replace writes a file beside the name, and moves it there.
func replace(t *testing.T, dir, name, text string, syncs bool) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name+".new"))
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	if syncs {
		must(t, f.Sync())
	}
	must(t, f.Close(), os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)))
	if syncs {
		d, err := os.Open(dir)
		must(t, err, d.Sync(), d.Close())
	}
}

func TestSyncedSurvivesAndTheRestNeedNot(t *testing.T) {
	lost := 0
	for seed := range uint64(8) {
		f, dir := mount(t, powerfs.Options{Seed: seed})
		replace(t, dir, "sure", "one", true)
		replace(t, dir, "unsure", "two", false)
		f.Cut()
		must(t, f.Remount())
		if b, err := os.ReadFile(filepath.Join(dir, "sure")); err != nil || string(b) != "one" {
			t.Errorf("what was synced: %q, %v", b, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "unsure")); err != nil || string(b) != "two" {
			lost++
		}
		f.Unmount()
	}
	if lost == 0 {
		t.Error("nothing was ever lost")
	}
}

func TestAnIgnoredSyncDoesNothing(t *testing.T) {
	for _, op := range []powerfs.Op{powerfs.Fsync, powerfs.FsyncDir} {
		t.Run(string(op), func(t *testing.T) {
			for seed := range uint64(20) {
				f, dir := mount(t, powerfs.Options{Seed: seed})
				ignored := f.Inject(powerfs.Fault{Op: op, Ignored: true})
				replace(t, dir, "f", "one", true)
				f.Cut()
				must(t, f.Remount())
				b, err := os.ReadFile(filepath.Join(dir, "f"))
				f.Unmount()
				if ignored.Hits() != 1 {
					t.Fatalf("%d were ignored", ignored.Hits())
				}
				if err != nil || string(b) != "one" {
					return
				}
			}
			t.Error("nothing was ever lost")
		})
	}
}

func TestSyncfs(t *testing.T) {
	f, dir := mount(t, powerfs.Options{})
	if !f.SeesSyncfs() {
		t.Skip("the kernel does not tell a FUSE filesystem of syncfs")
	}
	replace(t, dir, "f", "one", false)
	d, err := os.Open(dir)
	must(t, err, unix.Syncfs(int(d.Fd())), d.Close())
	f.Cut()
	must(t, f.Remount())
	if b, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(b) != "one" {
		t.Errorf("%q, %v", b, err)
	}
	if c := f.Counts(); c.Syncfs != 1 || c.Cuts != 1 {
		t.Errorf("%+v", c)
	}
}

func TestTheCutIsAtOneMoment(t *testing.T) {
	f, dir := mount(t, powerfs.Options{})
	cut := f.CutAfter(3) // create, write and fsync; the rename fails
	file, err := os.Create(filepath.Join(dir, "f"))
	must(t, err)
	_, err = file.WriteString("one")
	must(t, err, file.Sync())
	<-cut
	renamed := make(chan error)
	go func() { renamed <- os.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "g")) }()
	select {
	case err := <-renamed:
		t.Errorf("after the cut there was an answer: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	f.Cut()
	if err := <-renamed; err == nil {
		t.Error("something was renamed after the cut")
	}
	if _, err := os.Stat(filepath.Join(dir, "f")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the power is back: %v", err)
	}
	if _, err := file.WriteString("two"); err == nil {
		t.Error("a file that was open before the cut can still be written")
	}
	must(t, f.Remount())
	if _, err := os.Stat(filepath.Join(dir, "g")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what came after the cut: %v", err)
	}
	_ = file.Close()
}

func TestFaultsReachTheProgram(t *testing.T) {
	f, dir := mount(t, powerfs.Options{})
	fault := f.Inject(powerfs.Fault{Op: powerfs.Write, Path: "d/*", Times: 1, Errno: unix.ENOSPC})
	slow := f.Inject(powerfs.Fault{Op: powerfs.FsyncDir, Path: "d", Delay: 50 * time.Millisecond})
	d := filepath.Join(dir, "d")
	must(t, os.Mkdir(d, 0o755), os.WriteFile(filepath.Join(dir, "f"), []byte("a"), 0o600))
	if err := os.WriteFile(filepath.Join(d, "f"), []byte("a"), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("the first write: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(d, "f"), []byte("a"), 0o600))
	began := time.Now()
	replace(t, d, "g", "a", true)
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("the slow sync took %s", took)
	}
	if fault.Hits() != 1 || slow.Hits() != 1 {
		t.Errorf("%d and %d hits", fault.Hits(), slow.Hits())
	}
	slow.Remove()
	replace(t, d, "g", "a", true)
	if slow.Hits() != 1 {
		t.Error("a fault that was removed still hits")
	}
}

func TestFilesAreAsElsewhere(t *testing.T) {
	_, dir := mount(t, powerfs.Options{Capacity: 1 << 20})
	name := filepath.Join(dir, "f")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	must(t, err)
	defer file.Close()
	fd := int(file.Fd())
	must(t, unix.Fallocate(fd, 0, 0, 100_000), file.Chmod(0o644), unix.Fsetxattr(fd, "user.a", []byte("b"), 0),
		unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), os.Chtimes(name, time.Time{}, time.Unix(1000, 0)))
	if other, err := os.Open(name); err != nil || !errors.Is(unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
		t.Errorf("a second lock: %v", err)
	}
	info, err := os.Stat(name)
	must(t, err)
	if info.Size() != 100_000 || info.Mode() != 0o644 || info.ModTime().Unix() != 1000 {
		t.Errorf("%v", info)
	}
	value := make([]byte, 10)
	if n, err := unix.Getxattr(name, "user.a", value); err != nil || string(value[:n]) != "b" {
		t.Errorf("attribute %q, %v", value[:max(n, 0)], err)
	}
	if n, err := unix.Listxattr(name, value); err != nil || string(value[:n]) != "user.a\x00" {
		t.Errorf("attributes %q, %v", value[:max(n, 0)], err)
	}
	if _, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an exclusive creation: %v", err)
	}
	sub := filepath.Join(dir, "d")
	must(t, os.Mkdir(sub, 0o755), os.Link(name, filepath.Join(sub, "g")))
	if err := os.Link(name, filepath.Join(sub, "g")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link over a file: %v", err)
	}
	if err := os.Remove(sub); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("removing a directory that is not empty: %v", err)
	}
	big := bytes.Repeat([]byte("0123456789"), 300_000)
	must(t, os.WriteFile(filepath.Join(sub, "big"), big, 0o600))
	if got, err := os.ReadFile(filepath.Join(sub, "big")); err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(big), err)
	}
	for i := range 300 { // more names than one reply holds
		must(t, os.WriteFile(filepath.Join(sub, string(rune('a'+i%26))+string(rune('0'+i/26))), nil, 0o600))
	}
	entries, err := os.ReadDir(sub)
	if err != nil || len(entries) != 302 || !slices.IsSortedFunc(entries, func(a, b fs.DirEntry) int { return bytes.Compare([]byte(a.Name()), []byte(b.Name())) }) {
		t.Errorf("%d names, %v", len(entries), err)
	}
	must(t, os.RemoveAll(sub))
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	if total, free := st.Blocks*uint64(st.Frsize), st.Bavail*uint64(st.Frsize); total != 1<<20 || free < 900_000 || free > total-100_000 {
		t.Errorf("%d of %d free", free, total)
	}
}
