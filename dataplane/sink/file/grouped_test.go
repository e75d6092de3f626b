package file_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/test/crash/powerfs"
)

// onDisk is a volume whose filesystem can be synced as a whole.
func onDisk(t *testing.T) (*file.Sink, string) {
	t.Helper()
	dir := t.TempDir()
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	if st.Type != unix.EXT4_SUPER_MAGIC && st.Type != unix.XFS_SUPER_MAGIC {
		t.Skipf("the temporary folder is on a filesystem of type %#x; TMPDIR on ext4 or XFS runs this test", st.Type)
	}
	return mustOpen(t, dir), dir
}

// TestManyAtOnce has far more sessions at work than are synced one by one.
func TestManyAtOnce(t *testing.T) {
	sink, dir := onDisk(t)
	const sessions, chunks = 200, 4
	var all sync.WaitGroup
	for i := range sessions {
		if i == sessions/2 {
			sink.Crowd()
		}
		all.Go(func() {
			id := session.ID(fmt.Sprintf("s%d", i))
			r := record(id, 4*chunks)
			r.Spec.ChunkSize = 4
			if err := live(sink, r, fmt.Sprintf("d/%d/o", i%7), fmt.Sprintf("o%d", i)); err != nil {
				t.Errorf("session %s: %v", id, err)
			}
		})
	}
	all.Wait()
	if n := sink.WholeSyncs(); n == 0 || n > 3*sessions {
		t.Errorf("%d syncs of the whole", n)
	}
	must(t, sink.Close())
	sink = mustOpen(t, dir)
	found, failed := recovered(t, sink)
	if len(found) != sessions || len(failed) > 0 {
		t.Fatalf("recovered %d, failed %v", len(found), failed)
	}
	for id, r := range found {
		if r.State != session.Finished || r.HasBytes || len(r.Held) != chunks {
			t.Errorf("session %s: %+v", id, r)
		}
	}
	for i := range sessions {
		if b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("o%d", i))); err != nil || len(b) != 4*chunks {
			t.Errorf("object %d: %q, %v", i, b, err)
		}
	}
}

// TestFewSyncEachForItself has one more sync than go alone, all at once.
func TestFewSyncEachForItself(t *testing.T) {
	sink, _ := onDisk(t)
	arrived, let := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for range file.AloneAtMost {
		all.Go(func() { _ = sink.Do(func() error { arrived <- struct{}{}; <-let; return nil }) })
		<-arrived
	}
	before := sink.WholeSyncs()
	must(t, sink.Do(func() error { t.Error("it synced for itself"); return nil }))
	if n := sink.WholeSyncs() - before; n != 1 {
		t.Errorf("%d syncs of the whole, want 1", n)
	}
	close(let)
	all.Wait()
	alone := false
	must(t, sink.Do(func() error { alone = true; return nil }))
	if !alone {
		t.Error("it did not sync for itself when all others were through")
	}
}

// live takes a session from its creation to its end.
func live(sink *file.Sink, r session.Record, names ...string) error {
	if err := sink.Create(background, r); err != nil {
		return err
	}
	staged, err := sink.Open(background, r.ID)
	if err != nil {
		return err
	}
	defer staged.Close()
	for index := range r.Spec.Chunks() {
		offset, length, err := r.Spec.Extent(index)
		if err != nil {
			return err
		}
		if _, err := staged.WriteAt([]byte("abcd"), offset); err != nil {
			return err
		}
		if err := staged.Commit(background, index, offset, session.Slot{Length: length, Checksum: 7}); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := sink.Publish(background, r.ID, name, true, nil); err != nil {
			return err
		}
	}
	r.State, r.Ended = session.Finished, r.Created
	if err := sink.SaveRecord(background, r); err != nil {
		return err
	}
	return sink.Free(background, r.ID)
}

func failingSync() error { return unix.EIO }

// TestAfterASyncThatFailedForANeighbour: a sync of the whole filesystem that fails is not the failure of those whose
// own do not.
func TestAfterASyncThatFailedForANeighbour(t *testing.T) {
	sink, dir := onDisk(t)
	before := sink.WholeSyncs()
	sink.SyncWholeBy(failingSync)
	sink.Crowd()
	const sessions = 3
	for i := range sessions {
		r := record(session.ID(fmt.Sprintf("s%d", i)), 4)
		r.Spec.ChunkSize = 4
		must(t, live(sink, r, fmt.Sprintf("o%d", i)))
	}
	must(t, sink.Failed())
	if n := sink.WholeSyncs() - before; n != 1 {
		t.Errorf("the whole was synced %d times, and tells of nothing any more after the first", n)
	}
	must(t, sink.Close())
	found, failed := recovered(t, mustOpen(t, dir))
	if len(found) != sessions || len(failed) > 0 {
		t.Errorf("recovered %d, failed %v", len(found), failed)
	}
}

// TestWhoWaitsForTheSyncAfterOneThatFailed wrote before that one began, and may have lost what the next does not write.
func TestWhoWaitsForTheSyncAfterOneThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, _ := onDisk(t)
		let := make(chan struct{})
		first := true
		sink.SyncWholeBy(func() error { // one at a time
			if !first {
				return nil
			}
			first = false
			<-let
			return unix.EIO
		})
		sink.Crowd()
		var asked atomic.Int64
		var all sync.WaitGroup
		do := func() { _ = sink.Do(func() error { asked.Add(1); return nil }) }
		all.Go(do)
		synctest.Wait()
		const waiting = 3
		for range waiting {
			all.Go(do)
		}
		synctest.Wait()
		if asked.Load() > 0 {
			t.Error("they did not wait")
		}
		close(let)
		all.Wait()
		if n := asked.Load(); n != waiting+1 {
			t.Errorf("%d of %d looked whether they have lost anything", n, waiting+1)
		}
		must(t, sink.Failed())
	})
}

// TestNamesThatShareADirectoryWhoseSyncFailed: the kernel tells one of them.
func TestNamesThatShareADirectoryWhoseSyncFailed(t *testing.T) {
	for seed := range uint64(4) {
		disk, dir := onPower(t, seed)
		sink := mustOpen(t, dir)
		failing := disk.Inject(powerfs.Fault{Op: powerfs.FsyncDir, Path: ".slipway/*.replica", Times: 1, Errno: unix.EIO})
		const sessions = 16
		var created [sessions]error
		var all sync.WaitGroup
		for i := range sessions {
			all.Go(func() { created[i] = sink.Create(background, record(session.ID(fmt.Sprintf("s%d", i)), 4)) })
		}
		all.Wait()
		failing.Remove()
		if failing.Hits() != 1 || sink.Failed() == nil {
			t.Errorf("%d hits, and the volume is well", failing.Hits())
		}
		must(t, sink.Abandon())
		disk.Cut()
		must(t, disk.Remount())
		found, _ := recovered(t, mustOpen(t, dir))
		for i, err := range created {
			if _, there := found[session.ID(fmt.Sprintf("s%d", i))]; err == nil && !there {
				t.Errorf("session %d was created and is not there", i)
			}
		}
		disk.Unmount()
	}
}

// TestAfterADirectoryThatCouldNotBeSynced: nothing is promised any more.
func TestAfterADirectoryThatCouldNotBeSynced(t *testing.T) {
	disk, dir := onPower(t, 1)
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("s", 100)))
	must(t, sink.Failed())
	staged, err := sink.Open(background, "s")
	must(t, err)
	defer staged.Close()
	failing := disk.Inject(powerfs.Fault{Op: powerfs.FsyncDir, Path: ".slipway/*.replica", Times: 1, Errno: unix.EIO})
	for what, err := range map[string]error{
		"create":  sink.Create(background, record("another", 100)),
		"commit":  staged.Commit(background, 0, 0, session.Slot{Length: 50}),
		"save":    sink.SaveRecord(background, record("s", 99)),
		"publish": sink.Publish(background, "s", "name", false, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	failing.Remove()
	if _, held, err := sink.Slot(background, "s", 0); held || err != nil {
		t.Errorf("the chunk is held: %t, %v", held, err)
	}
	if err := sink.Remove(background, "s"); err == nil {
		t.Error("remove: no error")
	}
	must(t, sink.Close())
	sink = mustOpen(t, dir)
	must(t, sink.Failed())
	must(t, sink.Create(background, record("another", 100)))
}

func TestWhichFilesystemsAreSyncedAsAWhole(t *testing.T) {
	whole := func(dir string) bool {
		f, err := os.Open(dir)
		must(t, err)
		defer f.Close()
		got, err := file.SyncsWhole(f)
		must(t, err)
		return got
	}
	if dir := mounted(t, "tmpfs", "size=1m"); dir != "" && whole(dir) {
		t.Error("tmpfs is")
	}
	if whole("/proc") {
		t.Error("proc is")
	}
	// Its server may know nothing of syncfs, and nobody is told so.
	if _, dir := onPower(t, 1); whole(dir) {
		t.Error("FUSE is")
	}
}

func TestWhichKernelsTellOfLostWrites(t *testing.T) {
	for release, want := range map[string]bool{
		"4.18.0-553.el8_10.x86_64": false, "5.4.0-150-generic": false, "5.7.19": false, "5.8.0": true, "5.10.0-28-amd64": true,
		"5.14.0-427.el9": true, "6.1.0": true, "6.18.44": true, "10.0-rc1": true, "": false, "linux": false, "5": false,
	} {
		if got := file.TellsOfLostWrites(release); got != want {
			t.Errorf("%q: %t, want %t", release, got, want)
		}
	}
}
