package powercut

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

const (
	// short is how long the normal run cuts.
	short = 10 * time.Second
	// mostChanges is the most that the dataplane changes on the volume between two cuts.
	mostChanges = 500
	// longestLife bounds a life in which the load has too little left to do for that.
	longestLife = 1500 * time.Millisecond
	// bound is how many cuts a run without syncs may take to be found out.
	bound = 40
)

// program is the dataplane on a disk whose power is cut again and again.
type program struct {
	disk      *powerfs.FS
	oracle    *rig.Oracle
	dataplane *rig.Dataplane
	load      *rig.Load
	random    *rand.Rand
	// Before one cut in so many the dataplane is killed with the power on; 0 is never.
	killEvery   int
	mostChanges int
	cuts, kills int
}

func newProgram(t *testing.T, lie powerfs.Lie) *program {
	t.Helper()
	rig.OnlyNightly(t)
	seed := rig.Seed(t)
	volume := t.TempDir()
	disk, err := powerfs.Mount(volume, powerfs.Options{Seed: seed, Lie: lie})
	if errors.Is(err, powerfs.ErrCannotMount) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(disk.Unmount)
	world := rig.NewWorld(t)
	oracle := rig.NewOracle(seed)
	dataplane := world.Dataplane(volume)
	load := rig.NewLoad(world, oracle, dataplane)
	// Between the cut and its end the dataplane may see what no process sees that has no power.
	load.Tolerates = func(rig.Reply) bool { return disk.Dead() }
	p := &program{
		disk: disk, oracle: oracle, dataplane: dataplane, load: load,
		random: rand.New(rand.NewPCG(seed, 1)), mostChanges: mostChanges,
	}
	if disk.SeesSyncfs() {
		p.killEvery = 4
	}
	return p
}

// round is one life of the dataplane, from a start that has happened to the
// checks after the next one.
func (p *program) round(ctx context.Context) error {
	if err := p.load.TopUp(ctx); err != nil {
		return err
	}
	// A process that is killed while it syncs leaves what can be read and is not durable. Only
	// syncfs makes it so.
	if p.killEvery > 0 && p.random.IntN(p.killEvery) == 0 {
		if err := p.kill(ctx); err != nil {
			return err
		}
	}
	if err := p.live(ctx, p.disk.CutAfter(1+p.random.IntN(p.mostChanges)), false); err != nil {
		return err
	}
	if err := p.restart(ctx); err != nil {
		return err
	}
	if err := p.check(ctx); err != nil {
		return err
	}
	return p.retire(ctx)
}

// retire deletes what has ended, and waits until the dataplane has heard of it:
// of what is deleted while it is away it knows minutes later.
func (p *program) retire(ctx context.Context) error {
	before := p.oracle.Sessions()
	if err := p.load.Retire(ctx); err != nil {
		return err
	}
	after := p.oracle.Sessions()
	for _, s := range before {
		if slices.Contains(after, s) {
			continue
		}
		for {
			_, err := os.Stat(filepath.Join(p.dataplane.Volume, ".slipway", s.UID))
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err := errors.Join(err, ctx.Err()); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// live has the load work until the end is closed, and then ends the dataplane
// and, where that is wanted, the power.
func (p *program) live(ctx context.Context, end <-chan struct{}, withPower bool) error {
	stopWatching := p.oracle.Watch(p.dataplane.Volume)
	working, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { p.load.Run(working) })
	select {
	case <-end:
	case <-time.After(longestLife):
	case <-p.oracle.Violated():
	case <-ctx.Done():
	}
	err := p.stop(withPower)
	stop()
	running.Wait()
	stopWatching()
	return errors.Join(err, p.oracle.Err())
}

// stop kills the dataplane. Without power nothing that it waits for is answered
// before the signal is on its way, so that nobody hears of it.
func (p *program) stop(withPower bool) error {
	if withPower {
		return p.dataplane.Kill()
	}
	killed := make(chan error)
	go func() { killed <- p.dataplane.Kill() }()
	const onItsWay = 10 * time.Millisecond
	p.disk.Fail()
	time.Sleep(onItsWay)
	p.disk.Cut()
	p.cuts++
	return <-killed
}

// kill kills the dataplane with the power on, and checks what the next one says it has: that
// may be believed, whatever the last one had not synced.
func (p *program) kill(ctx context.Context) error {
	p.kills++
	slow := p.disk.Inject(powerfs.Fault{Op: powerfs.Fdatasync, Path: ".slipway/*/ledger", Delay: 30 * time.Millisecond})
	end := make(chan struct{})
	time.AfterFunc(time.Duration(50+p.random.IntN(200))*time.Millisecond, func() { close(end) })
	err := p.live(ctx, end, true)
	slow.Remove()
	if err != nil {
		return err
	}
	if err := p.dataplane.Start(ctx); err != nil {
		return err
	}
	return p.check(ctx)
}

// check checks every promise. What was told to be published is asked for first: it is, but how
// it ended may not have been stored, and the status says Completing until that is found out again.
func (p *program) check(ctx context.Context) error {
	for _, s := range p.oracle.Sessions() {
		for s.End() == upload.Published && p.load.Complete(ctx, s, nil, false).Status == http.StatusAccepted {
			continue
		}
	}
	return p.load.Check(ctx)
}

// restart starts the dataplane on what survived, now and then only to cut it
// off in the middle of its start.
func (p *program) restart(ctx context.Context) error {
	for {
		if err := p.disk.Remount(); err != nil {
			return err
		}
		if p.random.IntN(4) > 0 {
			return p.dataplane.Start(ctx)
		}
		cut := p.disk.CutAfter(1 + p.random.IntN(40))
		starting, stop := context.WithCancel(ctx)
		var failed error
		started := make(chan struct{})
		go func() {
			defer close(started)
			failed = p.dataplane.Start(starting)
		}()
		select {
		case <-started:
			stop()
		case <-cut:
			stop()
			<-started
			failed = nil // it hung, unless it had just become ready
		}
		if err := errors.Join(failed, p.stop(false)); err != nil {
			return err
		}
	}
}

func (p *program) counts(t *testing.T) {
	t.Helper()
	c := p.disk.Counts()
	t.Logf("seed %d, %d kills with the power on, %d fdatasync, %d fsync, %d fsync of directories, %d syncfs",
		p.oracle.Seed, p.kills, c.Fdatasync, c.Fsync, c.FsyncDir, c.Syncfs)
	violations := 0
	if p.oracle.Err() != nil {
		violations = 1
	}
	fmt.Printf("power cut: %d cuts, %d acknowledged chunks, %d objects, %d violations\n",
		p.cuts, p.oracle.Acknowledged.Load(), p.oracle.Objects.Load(), violations)
}

func TestPowerCuts(t *testing.T) {
	p := newProgram(t, 0)
	defer p.counts(t)
	ctx := t.Context()
	if !p.disk.SeesSyncfs() {
		t.Log("this kernel does not tell a FUSE filesystem of syncfs: the dataplane is never killed with the power on")
	}
	if err := p.dataplane.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(rig.Duration(t, short)); time.Now().Before(end); {
		if err := p.round(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.load.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.load.Clear(ctx); err != nil {
		t.Fatal(err)
	}
}

// The dataplane is the same; only the disk ignores a kind of sync. Each has to
// be found out.
func TestWithoutSyncsItFails(t *testing.T) {
	for _, lie := range []powerfs.Lie{powerfs.NoFdatasync, powerfs.NoFsync, powerfs.NoFsyncDir, powerfs.NoSyncfs, powerfs.NoSync} {
		t.Run(lie.String(), func(t *testing.T) {
			p := newProgram(t, lie)
			if lie == powerfs.NoSyncfs && !p.disk.SeesSyncfs() {
				t.Skip("this kernel does not tell a FUSE filesystem of syncfs")
			}
			if lie == powerfs.NoSyncfs {
				p.killEvery, p.mostChanges = 1, 30 // it counts for what was killed just before the cut
			}
			ctx := t.Context()
			err := p.dataplane.Start(ctx)
			for err == nil && p.cuts < bound {
				err = p.round(ctx)
			}
			found := p.oracle.Err()
			switch {
			case found == nil && err != nil:
				t.Fatalf("it ended for another reason: %v", err)
			case found == nil:
				t.Fatalf("nothing was found in %d cuts", p.cuts)
			}
			t.Logf("found out after %d cuts and %d kills: %.300s", p.cuts, p.kills, found)
		})
	}
}
