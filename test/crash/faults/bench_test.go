package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// errnos are what operations fail with, and what a client may be told then.
var errnos = map[unix.Errno]chunkapi.Code{
	unix.EIO:    chunkapi.CodeInternal,
	unix.EROFS:  chunkapi.CodeInternal,
	unix.ENOSPC: chunkapi.CodeVolumeFull,
	unix.EDQUOT: chunkapi.CodeVolumeFull,
}

// statusOf is the status of the codes above.
var statusOf = map[chunkapi.Code]int{
	chunkapi.CodeInternal:   http.StatusInternalServerError,
	chunkapi.CodeVolumeFull: http.StatusInsufficientStorage,

	chunkapi.CodeSessionEnded: http.StatusGone,
}

// bench is a dataplane on a volume that fails when it is told to.
type bench struct {
	t         *testing.T
	disk      *powerfs.FS
	users     *users
	oracle    *rig.Oracle
	dataplane *rig.Dataplane
	load      *rig.Load
	random    *rand.Rand
	made      int

	mu      sync.Mutex
	allowed []chunkapi.Code // by the fault at work
}

func newBench(t *testing.T) *bench {
	t.Helper()
	seed := rig.Seed(t)
	volume := t.TempDir()
	disk, err := powerfs.Mount(volume, powerfs.Options{Seed: seed})
	if errors.Is(err, powerfs.ErrCannotMount) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(disk.Unmount)
	b := &bench{t: t, disk: disk, oracle: rig.NewOracle(seed), random: rand.New(rand.NewPCG(seed, 1))}
	world := rig.NewWorld(t)
	b.users, err = newUsers(world)
	b.must(err)
	b.dataplane = world.Dataplane(volume)
	b.dataplane.Files = disk.Files()
	if disk.SeesSyncfs() {
		b.dataplane.Args = append(b.dataplane.Args, "--trust-syncfs")
	}
	t.Cleanup(b.oracle.Watch(b.dataplane.Files))
	t.Cleanup(b.count)
	b.load = rig.NewLoad(world, b.oracle, b.dataplane)
	b.load.Tolerates = b.tolerates
	b.must(b.dataplane.Start(t.Context()))
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// tolerates reports whether a refusal is what the fault at work should give.
func (b *bench) tolerates(reply rig.Reply) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.allowed, reply.Code) && reply.Status == statusOf[reply.Code]
}

// under does something while a fault is at work, and returns how often it hit.
func (b *bench) under(f powerfs.Fault, do func()) int {
	b.t.Helper()
	if !f.Op.IsSync() {
		b.forgive()
	}
	b.allow(errnos[f.Errno])
	injected := b.disk.Inject(f)
	do()
	injected.Remove()
	if b.t.Failed() || b.oracle.Err() != nil {
		b.t.Logf("under %s", f)
	}
	if f.Errno != 0 {
		b.oracle.Faults.Add(int64(injected.Hits()))
	}
	return injected.Hits()
}

// allow lets the dataplane answer with the code until forgive. What a failed
// sync was about may go on failing as it did, until the volume is opened anew.
func (b *bench) allow(code chunkapi.Code) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = append(b.allowed, code)
}

func (b *bench) forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = nil
}

const (
	chunkSize = 4096
	chunks    = 3
)

// begin makes a session of a few chunks, of which the last is short.
func (b *bench) begin(replace bool) *rig.Session {
	b.t.Helper()
	b.made++
	s := &rig.Session{
		Name: fmt.Sprintf("s%d", b.made), Key: fmt.Sprintf("d%d/o%d", b.made, b.made),
		Size: chunkSize*(chunks-1) + 1000, ChunkSize: chunkSize, Explicit: true, Replace: replace,
	}
	b.add(s)
	return s
}

func (b *bench) add(s *rig.Session) {
	b.t.Helper()
	b.oracle.Add(s)
	b.must(b.users.begin(b.t.Context(), s))
}

// attempts is how often a client tries again before it gives up for now.
const attempts = 3

// send sends what is missing, asks for completion, and tries again a few times.
func (b *bench) send(s *rig.Session) (published bool) {
	ctx := b.t.Context()
	for range attempts {
		for index := range s.Chunks() {
			if !s.Held(index) {
				b.load.Send(ctx, s, index, 0, true)
			}
		}
		if b.load.Complete(ctx, s, nil, false).Status == http.StatusOK {
			return true
		}
	}
	return false
}

// cut cuts the power and starts again, and checks what was acknowledged.
func (b *bench) cut() {
	b.t.Helper()
	b.forgive()
	killed := make(chan error)
	b.disk.Fail()
	go func() { killed <- b.dataplane.Kill() }()
	const onItsWay = 10 * time.Millisecond
	time.Sleep(onItsWay)
	b.disk.Cut()
	b.oracle.Cuts.Add(1)
	b.must(<-killed)
	b.must(b.disk.Remount())
	b.must(b.dataplane.Start(b.t.Context()))
	b.look()
	b.must(b.load.Check(b.t.Context()))
}

// isGone reports whether nothing is staged of a session.
func (b *bench) isGone(s *rig.Session) bool {
	_, err := fs.Stat(b.dataplane.Files, ".slipway/models-0.replica/"+s.UID)
	return errors.Is(err, fs.ErrNotExist)
}

// await waits until it is so.
func (b *bench) await(what string, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("waited a minute for %s", what)
		}
	}
}

// look looks at each object that was told to be published, as its client does.
func (b *bench) look() {
	b.t.Helper()
	for _, s := range b.oracle.Sessions() {
		if s.End() != upload.Published {
			continue
		}
		reply := b.dataplane.Do(b.t.Context(), s, rig.Request{Method: http.MethodGet, Path: "/content"})
		if !reply.OK() {
			b.oracle.Violate(s, "it was published, and its content after a restart is %s", reply)
		} else if err := s.CheckObject(reply.Body); err != nil {
			b.oracle.Violate(s, "it was published, and its content after a restart: %v", err)
		}
	}
}

// finish brings all sessions to their end, and leaves nothing.
func (b *bench) finish() {
	b.t.Helper()
	b.must(b.load.Finish(b.t.Context()))
	b.must(b.load.Clear(b.t.Context()))
}

// calls counts how often each operation is called while something is done that nothing fails.
func (b *bench) calls(do func()) map[powerfs.Op]int {
	b.t.Helper()
	counts := map[powerfs.Op]*powerfs.Injected{}
	for _, op := range powerfs.Ops() {
		counts[op] = b.disk.Inject(powerfs.Fault{Op: op})
	}
	do()
	calls := map[powerfs.Op]int{}
	for op, injected := range counts {
		injected.Remove()
		if injected.Hits() > 0 {
			calls[op] = injected.Hits()
		}
	}
	b.t.Logf("operations: %v", calls)
	return calls
}

// moments are the calls of an operation that fail, one in each upload: some, or
// all in a nightly run.
func (b *bench) moments(calls int) []int {
	if !rig.Nightly() {
		return []int{b.random.IntN(max(calls, 1))}
	}
	all := make([]int, calls)
	for i := range all {
		all[i] = i
	}
	return all
}

// kill kills the dataplane with the power on.
func (b *bench) kill() {
	b.t.Helper()
	b.must(b.dataplane.Kill())
	b.oracle.Kills.Add(1)
}

func (b *bench) count() {
	c := b.disk.Counts()
	for kind, n := range map[string]int{"fdatasync": c.Fdatasync, "fsync": c.Fsync, "fsyncdir": c.FsyncDir, "syncfs": c.Syncfs} {
		rig.Count(kind, n)
	}
}

// someErrnos are EIO and one of the others, or all in a nightly run.
func (b *bench) someErrnos() []unix.Errno {
	all := sortedErrnos()
	if rig.Nightly() {
		return all
	}
	return []unix.Errno{unix.EIO, all[1+b.random.IntN(len(all)-1)]} // EIO is the least
}

func sortedErrnos() []unix.Errno {
	var all []unix.Errno
	for errno := range errnos {
		all = append(all, errno)
	}
	slices.Sort(all)
	return all
}

func sortedOps(calls map[powerfs.Op]int) []powerfs.Op { return slices.Sorted(maps.Keys(calls)) }
