package faults

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// What the other programs of this package found by chance, each by itself.

// The kernel reports once that a directory could not be written. Who syncs it again is told that
// all is well, and the name is gone after a loss of power.
func TestASyncOfNamesThatFailedIsNotTrusted(t *testing.T) {
	for _, test := range []struct {
		why  string
		path string
	}{
		{"of the object's name", "d[0-9]*"},
		{"of the name of its parent", "."},
	} {
		t.Run(test.why, func(t *testing.T) {
			b := newBench(t)
			s := b.begin(false)
			if hits := b.under(powerfs.Fault{Op: powerfs.FsyncDir, Path: test.path, Times: 1, Errno: unix.EIO}, func() { b.send(s) }); hits != 1 {
				t.Fatalf("%d hits", hits)
			}
			b.cut()
			b.must(b.oracle.Err())
			b.finish()
		})
	}
}

// That the object can't be opened for a look at its time does not mean that somebody removed it.
func TestAnObjectThatCouldNotBeLookedAtIsNotReplaced(t *testing.T) {
	b := newBench(t)
	s := b.begin(false)
	if hits := b.under(powerfs.Fault{Op: powerfs.Open, Path: s.Key, Times: 1, Errno: unix.EIO}, func() { b.send(s) }); hits != 1 {
		t.Fatalf("%d hits", hits)
	}
	b.look()
	b.must(b.oracle.Err())
	b.finish()
}

// Two calls take a session up at once, the watch's and a client's. The first fails, and the second
// does not; the name is the session's.
func TestASessionStaysKnownWhereAnotherCallFailed(t *testing.T) {
	t.Parallel() // most of it is waiting
	b := newBench(t)
	b.allow(chunkapi.CodeInternal)
	taking := b.disk.Inject(powerfs.Fault{Op: powerfs.Fallocate, Path: ".slipway/*.replica/*.new/data", Times: 1, Delay: time.Second, Errno: unix.EIO})
	s := b.begin(false)
	b.await("the watch to take the session up", func() bool { return taking.Hits() > 0 })
	var sending sync.WaitGroup
	for index := range s.Chunks() {
		sending.Go(func() { b.load.Send(t.Context(), s, index, 0, true) })
	}
	sending.Wait()
	b.must(b.oracle.Err())
	b.finish()
}

// An end that somebody was told of is one for good.
func TestAnEndThatWasToldStays(t *testing.T) {
	t.Parallel() // most of it is waiting
	b := newBench(t)
	ctx := t.Context()
	s := b.begin(false)
	b.load.Send(ctx, s, 0, 0, true)
	slow := b.disk.Inject(powerfs.Fault{Op: powerfs.Write, Path: ".slipway/*.replica/*/record", Delay: time.Minute})
	var aborting sync.WaitGroup
	aborting.Go(func() { b.dataplane.Do(ctx, s, rig.Request{Method: http.MethodDelete}) })
	told := false
	for end := time.Now().Add(5 * time.Second); !told && time.Now().Before(end); {
		reply := b.dataplane.Do(ctx, s, rig.Request{Method: http.MethodGet})
		told = bytes.Contains(reply.Body, []byte(`"Aborted"`))
	}
	slow.Remove() // the next process writes again what it reads
	b.cut()
	aborting.Wait()
	reply := b.dataplane.Do(ctx, s, rig.Request{Method: http.MethodGet})
	if told && !bytes.Contains(reply.Body, []byte(`"Aborted"`)) {
		t.Errorf("its status was Aborted before the power was cut, and is now %s", reply.Body)
	}
}

// The bytes of an upload that has ended may come back when the power is cut, to be freed again. It
// has ended all the same.
func TestAnEndIsToldAtOnceAfterAPowerCut(t *testing.T) {
	b := newBench(t)
	for range 6 {
		if !b.send(b.begin(false)) {
			t.Fatal("an upload that nothing fails is not published")
		}
	}
	b.disk.Inject(powerfs.Fault{Op: powerfs.Unlink, Path: ".slipway/*.replica/*/data", Delay: time.Second})
	b.cut()
	b.must(b.oracle.Err())
	b.finish()
}

// What went with its session does not come back with the power.
func TestAnObjectThatWentWithItsSessionStaysAway(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for n := range 3 {
		s := &rig.Session{
			Name: fmt.Sprintf("reclaimed%d", n), Key: fmt.Sprintf("reclaimed/o%d", n),
			Size: chunkSize, ChunkSize: chunkSize, Explicit: true, Reclaim: true,
		}
		b.add(s)
		if !b.send(s) {
			t.Fatal("an upload that nothing fails is not published")
		}
		b.must(b.load.Finish(ctx))
		b.must(b.load.Retire(ctx))
		b.cut()
		b.must(b.oracle.Err())
	}
	b.finish()
}

// A process is killed between a write and its sync, and the kernel fails to write that out while nobody
// waits for it. Whoever starts next reads it from memory, and must not take that for the disk.
func TestAWritebackThatFailsBeforeTheStart(t *testing.T) {
	for _, test := range []struct {
		why, file string
		do        func(b *bench, s *rig.Session)
	}{
		{"of a chunk's slot", "ledger", func(b *bench, s *rig.Session) { b.load.Send(b.t.Context(), s, 0, 0, true) }},
		{"of a record", "record", func(b *bench, s *rig.Session) {
			s.Aborting()
			b.dataplane.Do(b.t.Context(), s, rig.Request{Method: http.MethodDelete})
		}},
	} {
		t.Run(test.why, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			b := newBench(t)
			for range 4 {
				s := b.begin(false)
				b.load.Send(t.Context(), s, 1, 0, true)
				file := ".slipway/*.replica/" + s.UID + "/" + test.file
				syncing := b.disk.Inject(powerfs.Fault{Op: powerfs.Fdatasync, Path: file, Delay: time.Minute})
				var asking sync.WaitGroup
				asking.Go(func() { test.do(b, s) })
				b.await("what was written to be synced", func() bool { return syncing.Hits() > 0 })
				b.kill()
				asking.Wait()
				syncing.Remove()
				if b.disk.FailWriteback() == 0 {
					t.Fatal("nothing was to be written")
				}
				b.restart(powerfs.Fault{Op: powerfs.Fdatasync})
				b.load.Send(t.Context(), s, 0, 0, true) // where it is held, it is acknowledged without a write
				b.must(b.load.Check(t.Context()))
				b.cut()
				b.must(b.oracle.Err())
			}
			b.finish()
		})
	}
}

// A network filesystem asks again when an answer is lost, and tells what the second one was: that the name is
// taken, or that nothing is there. That is no failure of the upload, and no conflict.
func TestOperationsThatAreRepeated(t *testing.T) {
	t.Parallel() // most of it is waiting
	b := newBench(t)
	for _, replace := range []bool{false, true} {
		for _, op := range powerfs.Ops() {
			s := b.begin(replace)
			b.under(powerfs.Fault{Op: op, Repeated: true}, func() {
				if !b.send(s) {
					t.Errorf("with every %s repeated it is not published", op)
				}
				b.must(b.oracle.Err())
			})
		}
	}
	sessions := b.halfAndWhole()
	for _, op := range powerfs.Ops() {
		b.disk.Inject(powerfs.Fault{Op: op, Repeated: true})
	}
	b.remove(sessions, func() bool { return false })
	b.cut()
	b.finish()
}
