package faults

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

const mebi = 1 << 20

// ext4 makes and mounts a real filesystem of 64 MiB.
func ext4(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, volume := filepath.Join(dir, "image"), filepath.Join(dir, "volume")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 64*mebi), os.Mkdir(volume, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-m", "0", image}, // nothing is set aside for root, who runs this
		{"mount", "-o", "loop", image, volume},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", command, err, out)
		}
	}
	t.Cleanup(func() {
		// What was killed may hold it for a moment.
		var err error
		for range 100 {
			if err = unix.Unmount(volume, 0); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("unmount: %v", errors.Join(err, unix.Unmount(volume, unix.MNT_DETACH)))
		}
	})
	return volume
}

// fill has another writer take all the room that is left.
func fill(t *testing.T, volume string) (free func()) {
	t.Helper()
	name := filepath.Join(volume, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for size := mebi; size > 0; {
		if _, err = f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// A volume that another writer fills: whoever has room goes on, whoever has none
// waits for it.
func TestARealVolumeFillsUp(t *testing.T) {
	volume := ext4(t)
	ctx := t.Context()
	world, oracle := rig.NewWorld(t), rig.NewOracle(rig.Seed(t))
	dataplane := world.Dataplane(volume)
	load := rig.NewLoad(world, oracle, dataplane)
	must := func(err error) {
		t.Helper()
		if err := errors.Join(err, oracle.Err()); err != nil {
			t.Fatal(err)
		}
	}
	must(dataplane.Start(ctx))
	begin := func(key string, explicit bool) *rig.Session {
		s := &rig.Session{Name: key, Key: key, Size: 6 * mebi, ChunkSize: mebi, Explicit: explicit}
		oracle.Add(s)
		must(load.Admit(ctx, s))
		return s
	}
	send := func(s *rig.Session, want int, indexes ...int) {
		t.Helper()
		for _, index := range indexes {
			if reply := load.Send(ctx, s, index, 0, true); reply.Status != want {
				t.Errorf("session %s chunk %d: %s", s.Name, index, reply)
			}
		}
		must(nil)
	}
	admitted := []*rig.Session{begin("a", true), begin("b", true), begin("c", true)}
	for i, s := range admitted {
		send(s, http.StatusCreated, i)
	}

	free := fill(t, volume)
	// A new process finds the volume full, and is of use all the same.
	must(dataplane.Kill())
	must(dataplane.Start(ctx))
	must(load.Check(ctx))
	late := begin("late", false)
	load.Tolerates = func(reply rig.Reply) bool {
		return reply.Status == http.StatusInsufficientStorage && reply.Code == chunkapi.CodeVolumeFull
	}
	send(late, http.StatusInsufficientStorage, 0, 3)
	load.Tolerates = nil
	for i, s := range admitted {
		for index := range s.Chunks() {
			if index != i {
				send(s, http.StatusCreated, index)
			}
		}
		if reply := load.Complete(ctx, s, nil, false); reply.Status != http.StatusOK {
			t.Errorf("session %s, which was admitted, on a full volume: %s", s.Name, reply)
		}
		must(nil)
	}

	free()
	send(late, http.StatusCreated, 0, 1, 2, 3, 4)
	must(load.Finish(ctx))
	must(load.Clear(ctx))
}
