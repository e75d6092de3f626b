package powerfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/test/crash/powerfs"
)

// open opens a file or a directory that is there, or makes the file.
func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o600)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() }) // the test may have done so
	return f
}

func write(t *testing.T, f *os.File, text string) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), 0)
	must(t, err)
}

// hears fails the test unless the sync of each file gives its error.
func hears(t *testing.T, when string, f *os.File, want error) {
	t.Helper()
	if err := f.Sync(); !errors.Is(err, want) && (err != nil || want != nil) {
		t.Errorf("%s: %v, want %v", when, err, want)
	}
}

func TestEachDescriptorHearsOnceOfAFailedSync(t *testing.T) {
	f, dir := mount(t, powerfs.Options{})
	path := filepath.Join(dir, "f")
	one, two := open(t, path, os.O_CREATE|os.O_RDWR), open(t, path, os.O_RDWR)
	write(t, one, "lost")
	failing := f.Inject(powerfs.Fault{Op: powerfs.Fsync, Times: 1, Errno: unix.EIO})
	hears(t, "who asked", one, unix.EIO)
	failing.Remove()
	hears(t, "who asked, again", one, nil)
	hears(t, "who had it open", two, unix.EIO)
	hears(t, "who had it open, again", two, nil)
	hears(t, "who opened it when it was heard of", open(t, path, os.O_RDWR), nil)
}

func TestAfterAFailedSyncfsTheFilesThatLostBytesTell(t *testing.T) {
	f, dir := mount(t, powerfs.Options{})
	if !f.SeesSyncfs() {
		t.Skip("the kernel does not tell a FUSE filesystem of syncfs")
	}
	lost, kept := filepath.Join(dir, "lost"), filepath.Join(dir, "kept")
	before, other := open(t, lost, os.O_CREATE|os.O_RDWR), open(t, kept, os.O_CREATE|os.O_RDWR)
	names := open(t, dir, os.O_RDONLY)
	hears(t, "what nothing fails", other, nil)
	hears(t, "the names that nothing fails", names, nil)
	write(t, before, "lost")
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	failing := f.Inject(powerfs.Fault{Op: powerfs.Syncfs, Times: 1, Errno: unix.EIO})
	if err := unix.Syncfs(int(other.Fd())); !errors.Is(err, unix.EIO) {
		t.Errorf("syncfs: %v", err)
	}
	failing.Remove()
	hears(t, "who opens it before anybody has heard", open(t, lost, os.O_RDWR), unix.EIO)
	hears(t, "who had it open", before, unix.EIO)
	hears(t, "who had it open, again", before, nil)
	hears(t, "a file that lost nothing", other, nil)
	hears(t, "the directory that lost a name", names, unix.EIO)
	hears(t, "the directory that lost a name, again", names, nil)
	f.Cut()
	must(t, f.Remount())
	if _, err := os.Stat(filepath.Join(dir, "d")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that was lost is there: %v", err)
	}
}

func TestFilesAreSeenPastTheMount(t *testing.T) {
	f, dir := mount(t, powerfs.Options{})
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	replace(t, filepath.Join(dir, "d"), "f", "one", true)
	f.Inject(powerfs.Fault{Op: powerfs.Lookup, Errno: unix.EIO})
	changes := f.Counts().Changes
	sees := func(want error) {
		t.Helper()
		b, err := fs.ReadFile(f.Files(), "d/f")
		if !errors.Is(err, want) || err == nil && string(b) != "one" {
			t.Errorf("%q, %v", b, err)
		}
	}
	sees(nil)
	must(t, fs.WalkDir(f.Files(), ".", func(_ string, _ fs.DirEntry, err error) error { return err }))
	if got := f.Counts().Changes; got != changes {
		t.Errorf("%d changes", got-changes)
	}
	f.Fail()
	sees(unix.EIO)
	f.Cut()
	must(t, f.Remount())
	if _, err := fs.Stat(f.Files(), "d"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestAWritebackThatFailsIsToldOnceAndNotTriedAgain(t *testing.T) {
	f, dir := mount(t, powerfs.Options{})
	path := filepath.Join(dir, "f")
	one := open(t, path, os.O_CREATE|os.O_RDWR)
	names := open(t, dir, os.O_RDONLY)
	write(t, one, "sure")
	hears(t, "what nothing fails", one, nil)
	hears(t, "its name", names, nil)
	write(t, one, "lost")
	must(t, one.Close())
	if files := f.FailWriteback(); files != 1 {
		t.Errorf("%d files lost bytes", files)
	}
	hears(t, "who opens it next", open(t, path, os.O_RDWR), unix.EIO)
	hears(t, "who opens it then", open(t, path, os.O_RDWR), nil)
	if b, err := os.ReadFile(path); err != nil || string(b) != "lost" {
		t.Errorf("before the cut it has %q, %v", b, err)
	}
}

func TestWhatIsWrittenAnewAfterAFailedWritebackBecomesSure(t *testing.T) {
	for seed := range uint64(8) {
		f, dir := mount(t, powerfs.Options{Seed: seed})
		path := filepath.Join(dir, "f")
		one, names := open(t, path, os.O_CREATE|os.O_RDWR), open(t, dir, os.O_RDONLY)
		write(t, one, "lost")
		hears(t, "its name", names, nil)
		f.FailWriteback()
		hears(t, "who wrote it", one, unix.EIO)
		write(t, one, "anew")
		hears(t, "who wrote it anew", one, nil)
		f.Cut()
		must(t, f.Remount())
		if b, err := os.ReadFile(path); err != nil || string(b) != "anew" {
			t.Errorf("after the cut it has %q, %v", b, err)
		}
		f.Unmount()
	}
}
