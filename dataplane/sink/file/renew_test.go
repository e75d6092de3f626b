package file_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/test/crash/powerfs"
)

// onPower is a directory on a filesystem whose power can be cut.
func onPower(t *testing.T, seed uint64) (*powerfs.FS, string) {
	t.Helper()
	dir := t.TempDir()
	disk, err := powerfs.Mount(dir, powerfs.Options{Seed: seed})
	if errors.Is(err, powerfs.ErrCannotMount) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(disk.Unmount)
	return disk, dir
}

// killedBefore runs a step and leaves the volume as where the process is killed just before the last sync of it.
func killedBefore(t *testing.T, disk *powerfs.FS, sink *file.Sink, path string, step func() error) {
	t.Helper()
	left := disk.Inject(powerfs.Fault{Op: powerfs.Fdatasync, Path: path, Ignored: true})
	must(t, step())
	left.Remove()
	if left.Hits() != 1 {
		t.Fatalf("%d syncs", left.Hits())
	}
	must(t, sink.Abandon())
}

// reopened opens a volume as often as it takes until nothing tells of what was lost.
func reopened(t *testing.T, dir string) (*file.Sink, session.Recovered) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		sink := mustOpen(t, dir)
		found, failed := recovered(t, sink)
		if len(failed) == 0 {
			return sink, found["s"]
		}
		t.Logf("start %d: %v", attempt, failed)
		if attempt == 5 {
			t.Fatal("the volume is never well")
		}
		must(t, sink.Close())
	}
}

// TestAFailedWritebackBeforeRecovery has the kernel fail, once nobody waits for it, to write what a process
// that was killed has left. What is recovered then is as it was when the power fails next.
func TestAFailedWritebackBeforeRecovery(t *testing.T) {
	for _, one := range []struct {
		name, path string
		step       func(sink *file.Sink) error
		is         func(r session.Recovered) bool
	}{
		{
			"slot of a chunk", ".slipway/*.replica/s/ledger",
			func(sink *file.Sink) error {
				staged, err := sink.Open(background, "s")
				if err != nil {
					return err
				}
				return staged.Commit(background, 0, 0, session.Slot{Length: 50})
			},
			func(r session.Recovered) bool { return r.Held[0] },
		},
		{
			"record", ".slipway/*.replica/s/record",
			func(sink *file.Sink) error {
				ended := record("s", 100)
				ended.State = session.Finished
				return sink.SaveRecord(background, ended)
			},
			func(r session.Recovered) bool { return r.State == session.Finished },
		},
	} {
		t.Run(one.name, func(t *testing.T) {
			told := 0
			for seed := range uint64(6) {
				disk, dir := onPower(t, seed)
				sink := mustOpen(t, dir)
				must(t, sink.Create(background, record("s", 100)))
				write(t, sink, "s", make([]byte, 50))
				killedBefore(t, disk, sink, one.path, func() error { return one.step(sink) })
				if disk.FailWriteback() == 0 {
					t.Fatal("nothing was to be written")
				}
				sink, before := reopened(t, dir)
				if one.is(before) {
					told++
				}
				must(t, sink.Abandon())
				disk.Cut()
				must(t, disk.Remount())
				_, after := reopened(t, dir)
				if one.is(before) && !one.is(after) {
					t.Errorf("seed %d: it was recovered, and is lost with the power", seed)
				}
				disk.Unmount()
			}
			if told == 0 {
				t.Error("it was never recovered, so that nothing is tested")
			}
		})
	}
}

// TestRecoveryLeavesTheTimeOfTheLastCommit, however often it writes the ledger again.
func TestRecoveryLeavesTheTimeOfTheLastCommit(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("s", 100)))
	write(t, sink, "s", make([]byte, 50))
	staged, err := sink.Open(background, "s")
	must(t, err)
	must(t, staged.Commit(background, 0, 0, session.Slot{Length: 50}))
	must(t, staged.Close())
	last := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	must(t, os.Chtimes(filepath.Join(area(dir), "s", "ledger"), last, last))
	for range 2 {
		found, _ := recovered(t, sink)
		if got := found["s"].LastCommit; !got.Equal(last) {
			t.Errorf("the last commit was at %s, want %s", got, last)
		}
	}
}

// smallDisk is an ext4 whose blocks can be made to fail.
type smallDisk struct {
	t          *testing.T
	room, disk string // a filesystem and the file on it that is the disk
	dir        string // where it is mounted
}

const diskSize = 32 << 20

func newSmallDisk(t *testing.T) *smallDisk {
	t.Helper()
	room := mounted(t, "tmpfs", "size=64m")
	if room == "" {
		t.Skip("mounting is not allowed here")
	}
	d := &smallDisk{t: t, room: room, disk: filepath.Join(room, "disk"), dir: t.TempDir()}
	must(t, errors.Join(os.WriteFile(d.disk, nil, 0o600), os.Truncate(d.disk, diskSize)))
	for _, command := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-b", "4096", d.disk},
		{"mount", "-o", "loop", d.disk, d.dir},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", command, err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) }) // it goes with the test's folder
	return d
}

// breakFirstBlock takes from the disk the room for the first block of a file, and all other room that there is
// for what the disk does not have yet: it reads as zeros, and writes to it fail until it is mended.
func (d *smallDisk) breakFirstBlock(path string) (mend func()) {
	d.t.Helper()
	f, err := os.Open(path)
	must(d.t, err)
	defer f.Close()
	const blockOf = 1 // FIBMAP, of block 0
	block, err := unix.IoctlGetInt(int(f.Fd()), blockOf)
	must(d.t, err)
	if block == 0 {
		d.t.Fatalf("%s has no block", path)
	}
	disk, err := os.OpenFile(d.disk, os.O_RDWR, 0)
	must(d.t, err)
	defer disk.Close()
	must(d.t, unix.Fallocate(int(disk.Fd()), 0, 0, diskSize)) // nothing else is to fail
	must(d.t, unix.Fallocate(int(disk.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(block)*4096, 4096))
	ballast, err := os.Create(filepath.Join(d.room, "ballast"))
	must(d.t, err)
	defer ballast.Close()
	for err == nil {
		_, err = ballast.Write(make([]byte, 4096))
	}
	wants(d.t, err, unix.ENOSPC)
	return func() { must(d.t, os.Remove(ballast.Name())) }
}

// onTheDisk reads the first bytes of a file past the page cache.
func onTheDisk(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	must(t, err)
	defer f.Close()
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE) // which is aligned
	must(t, err)
	t.Cleanup(func() { _ = unix.Munmap(b) })
	n, err := f.ReadAt(b, 0)
	if n == 0 { // of writes that failed before it is told here too, once
		n, err = f.ReadAt(b, 0)
	}
	if n == 0 {
		t.Fatal(err)
	}
	return b[:n]
}

// TestARealDiskThatFailsBeforeRecovery is TestAFailedWritebackBeforeRecovery on a kernel's own filesystem.
func TestARealDiskThatFailsBeforeRecovery(t *testing.T) {
	disk := newSmallDisk(t)
	sink := mustOpen(t, disk.dir)
	must(t, sink.Create(background, record("s", 100)))
	write(t, sink, "s", make([]byte, 50))
	ledger := filepath.Join(area(disk.dir), "s", "ledger")
	root, err := os.Open(disk.dir)
	must(t, err)
	defer root.Close()
	must(t, unix.Syncfs(int(root.Fd())))

	mend := disk.breakFirstBlock(ledger)

	// The slot is written, and not synced: the process is killed, and somebody else is told what became of it.
	f, err := os.OpenFile(ledger, os.O_RDWR, 0)
	must(t, err)
	slot := session.EncodeSlot("s", 0, session.Slot{Length: 50})
	_, err = f.WriteAt(slot[:], 0)
	must(t, err)
	must(t, sink.Abandon())
	wants(t, f.Sync(), unix.ENOSPC) // why the disk failed
	must(t, f.Close())
	_ = unix.Syncfs(int(root.Fd())) // which may tell of it as well

	sink = mustOpen(t, disk.dir)
	for range 3 { // it is not on the disk, and never will be
		found, failed := recovered(t, sink)
		if r, there := found["s"]; there && r.Held[0] {
			t.Fatalf("the chunk is recovered, and the disk has %x; failed: %v", onTheDisk(t, ledger)[:session.SlotSize], failed)
		}
		wants(t, failed[""], unix.ENOSPC)
	}
	must(t, sink.Close())
	mend()
	_, r := reopened(t, disk.dir)
	if !r.Held[0] {
		t.Error("the chunk is not recovered from a disk that is well again")
	}
	if _, held := session.DecodeSlot("s", 0, onTheDisk(t, ledger)[:session.SlotSize]); !held {
		t.Error("the chunk is recovered and its slot is not on the disk")
	}
}
