package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
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

func TestMain(m *testing.M) { rig.Main(m) }

// unused are operations that an upload does not need.
var unused = []powerfs.Op{powerfs.Getxattr, powerfs.Syncfs, powerfs.Opendir, powerfs.Readdir, powerfs.Rmdir}

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
	faults    int

	mu      sync.Mutex
	allowed []chunkapi.Code // by the fault at work
}

func newBench(t *testing.T) *bench {
	t.Helper()
	rig.OnlyNightly(t)
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
		b.faults += injected.Hits()
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
	b.oracle.Add(s)
	b.must(b.users.begin(b.t.Context(), s))
	return s
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
	b.must(<-killed)
	b.must(b.disk.Remount())
	b.must(b.dataplane.Start(b.t.Context()))
	b.settle()
	b.must(b.load.Check(b.t.Context()))
}

// settle asks again for the end of what was told to be published, and looks at
// the object. Where the end could not be stored it is being found again, and
// the status says Completing until then.
func (b *bench) settle() {
	b.t.Helper()
	for _, s := range b.oracle.Sessions() {
		if s.End() != upload.Published {
			continue
		}
		b.load.Complete(b.t.Context(), s, nil, false)
		reply := b.dataplane.Do(b.t.Context(), s, rig.Request{Method: http.MethodGet, Path: "/content"})
		if !reply.OK() {
			b.oracle.Violate(s, "it was published, and its content after a power cut is %s", reply)
		} else if err := s.CheckObject(reply.Body); err != nil {
			b.oracle.Violate(s, "it was published, and its content after a power cut: %v", err)
		}
	}
}

// finish brings all sessions to their end, and leaves nothing.
func (b *bench) finish() {
	b.t.Helper()
	b.must(b.load.Finish(b.t.Context()))
	b.must(b.load.Clear(b.t.Context()))
}

// calls counts how often each operation is called in an upload that nothing fails.
func (b *bench) calls() map[powerfs.Op]int {
	b.t.Helper()
	counts := map[powerfs.Op]*powerfs.Injected{}
	for _, op := range powerfs.Ops() {
		counts[op] = b.disk.Inject(powerfs.Fault{Op: op})
	}
	if !b.send(b.begin(true)) {
		b.t.Fatal("an upload that nothing fails is not published")
	}
	calls := map[powerfs.Op]int{}
	for op, injected := range counts {
		injected.Remove()
		calls[op] = injected.Hits()
		if injected.Hits() == 0 && !slices.Contains(unused, op) {
			b.t.Errorf("no %s is part of an upload: the faults would not hit what they should", op)
		}
	}
	return calls
}

// moments are the calls of an operation that fail, one in each upload: some, or
// all in a nightly run.
func (b *bench) moments(calls int) []int {
	if !nightly() {
		return []int{b.random.IntN(max(calls, 1))}
	}
	all := make([]int, calls)
	for i := range all {
		all[i] = i
	}
	return all
}

// Each operation fails, once at each moment of an upload, and for ever.
func TestEveryOperationFails(t *testing.T) {
	b := newBench(t)
	calls := b.calls()
	for end := time.Now().Add(rig.Duration(t, 0)); ; {
		for _, op := range powerfs.Ops() {
			if slices.Contains(unused, op) {
				continue
			}
			t.Run(string(op), func(t *testing.T) {
				b.t = t
				b.fail(op, calls[op])
			})
			if t.Failed() {
				return
			}
		}
		b.t = t
		b.finish()
		if time.Now().After(end) {
			break
		}
	}
	b.counts()
}

// fail fails an operation in one upload after the other, and then cuts the power.
func (b *bench) fail(op powerfs.Op, calls int) {
	b.t.Helper()
	for _, errno := range sortedErrnos() {
		for _, after := range b.moments(calls) {
			s := b.begin(b.random.IntN(2) == 0)
			b.under(powerfs.Fault{Op: op, After: after, Times: 1, Errno: errno}, func() { b.send(s) })
		}
	}
	lasting := sortedErrnos()[b.random.IntN(len(errnos))]
	s := b.begin(true)
	b.under(powerfs.Fault{Op: op, Errno: lasting}, func() { b.send(s) })
	b.cut()
}

// Each operation fails while the volume is opened and recovered: either the
// dataplane does not start, or it says nothing that is wrong.
func TestEveryOperationFailsAtStart(t *testing.T) {
	b := newBench(t)
	b.faultless()
	for _, op := range powerfs.Ops() {
		t.Run(string(op), func(t *testing.T) {
			b.t = t
			errnos := sortedErrnos()
			if !nightly() {
				b.random.Shuffle(len(errnos), func(i, j int) { errnos[i], errnos[j] = errnos[j], errnos[i] })
				errnos = errnos[:2]
			}
			for _, errno := range errnos {
				b.failStart(powerfs.Fault{Op: op, After: b.random.IntN(12), Times: 1 + b.random.IntN(20), Errno: errno})
			}
		})
		if t.Failed() {
			return
		}
	}
	b.t = t
	b.cut()
	b.finish()
	b.counts()
}

// faultless makes a session in each state that there is.
func (b *bench) faultless() {
	b.t.Helper()
	b.send(b.begin(true))
	b.load.Send(b.t.Context(), b.begin(false), 1, 0, true)
	b.must(b.oracle.Err())
}

// failStart starts the dataplane while a fault is at work, asks it for
// everything, and does the same without the fault.
func (b *bench) failStart(f powerfs.Fault) {
	b.t.Helper()
	b.must(b.dataplane.Kill())
	b.under(f, func() {
		starting, stop := context.WithTimeout(b.t.Context(), 20*time.Second)
		defer stop()
		// A session that could not be read then is not served until the next start.
		// Of one that has ended the API server knows.
		b.allow(chunkapi.CodeInternal)
		b.allow(chunkapi.CodeSessionEnded)
		if err := b.dataplane.Start(starting); err == nil {
			b.must(b.load.Check(b.t.Context()))
		} else if starting.Err() != nil {
			b.t.Errorf("under %s it neither starts nor ends", f)
		}
	})
	b.must(b.dataplane.Kill())
	b.forgive()
	b.must(b.dataplane.Start(b.t.Context()))
	b.settle()
	b.must(b.load.Check(b.t.Context()))
}

// counts is the last line of a program.
func (b *bench) counts() {
	fmt.Printf("faults: %d operations failed, %d acknowledged chunks, %d objects, 0 violations\n",
		b.faults, b.oracle.Acknowledged.Load(), b.oracle.Objects.Load())
}

func nightly() bool { return os.Getenv("NIGHTLY_MINUTES") != "" }

func sortedErrnos() []unix.Errno {
	var all []unix.Errno
	for errno := range errnos {
		all = append(all, errno)
	}
	slices.Sort(all)
	return all
}
