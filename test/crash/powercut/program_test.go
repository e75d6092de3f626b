package powercut

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

const (
	// mostChanges is the most that the dataplane changes on the volume between two cuts.
	mostChanges = 500
	// soon is the most that it changes between a kill and the cut that follows.
	soon = 10
	// longestLife bounds a life in which the load has too little left to do for that.
	longestLife = 700 * time.Millisecond
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
	// shapes are what the load is like, by turns.
	shapes []*rig.Shape
	// atStart is a fault at work while the dataplane starts after a kill; nil for none.
	atStart *powerfs.Fault
}

func newProgram(t *testing.T, seed uint64, oracle *rig.Oracle) *program {
	t.Helper()
	volume := t.TempDir()
	disk, err := powerfs.Mount(volume, powerfs.Options{Seed: seed})
	if errors.Is(err, powerfs.ErrCannotMount) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(disk.Unmount)
	world := rig.NewWorld(t)
	dataplane := world.Dataplane(volume)
	dataplane.Files = disk.Files()
	if disk.SeesSyncfs() {
		dataplane.Args = append(dataplane.Args, "--trust-syncfs")
	}
	t.Cleanup(oracle.Watch(dataplane.Files))
	load := rig.NewLoad(world, oracle, dataplane)
	// Between the cut and its end the dataplane may see what no process sees that has no power.
	load.Tolerates = func(rig.Reply) bool { return disk.Dead() }
	p := &program{
		disk: disk, oracle: oracle, dataplane: dataplane, load: load,
		random: rand.New(rand.NewPCG(seed, 1)), mostChanges: mostChanges,
		shapes: []*rig.Shape{rig.Mixed(), rig.Crowd(), rig.Giants()},
	}
	if disk.SeesSyncfs() {
		p.killEvery = 4
	}
	return p
}

// round is one life of the dataplane, from a start that has happened to the
// checks after the next one.
func (p *program) round(ctx context.Context) error {
	p.load.Shape = p.shapes[p.random.IntN(len(p.shapes))]
	if err := p.load.TopUp(ctx); err != nil {
		return err
	}
	changes := 1 + p.random.IntN(p.mostChanges)
	// A process that is killed while it syncs leaves what can be read and is not durable. Only
	// syncfs makes it so: when the next one starts, or any time later.
	if p.killEvery > 0 && p.random.IntN(p.killEvery) == 0 {
		if err := p.kill(ctx); err != nil {
			return err
		}
		changes = 1 + p.random.IntN(soon)
	}
	if err := p.live(ctx, p.disk.CutAfter(changes), false); err != nil {
		return err
	}
	if err := p.restart(ctx); err != nil {
		return err
	}
	if err := p.load.Check(ctx); err != nil {
		return err
	}
	return p.load.Retire(ctx)
}

// live has the load work until the end is closed, and then ends the dataplane
// and, where that is wanted, the power.
func (p *program) live(ctx context.Context, end <-chan struct{}, withPower bool) error {
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
	p.oracle.Cuts.Add(1)
	return <-killed
}

// kill kills the dataplane with the power on, and checks what the next one says it has: that
// may be believed, whatever the last one had not synced.
func (p *program) kill(ctx context.Context) error {
	p.oracle.Kills.Add(1)
	const delay = 30 * time.Millisecond
	alone := p.disk.Inject(powerfs.Fault{Op: powerfs.Fdatasync, Path: ".slipway/*.replica/*/ledger", Delay: delay})
	together := p.disk.Inject(powerfs.Fault{Op: powerfs.Syncfs, Delay: delay})
	end := make(chan struct{})
	time.AfterFunc(time.Duration(50+p.random.IntN(200))*time.Millisecond, func() { close(end) })
	err := p.live(ctx, end, true)
	alone.Remove()
	together.Remove()
	if err != nil {
		return err
	}
	if p.atStart != nil {
		defer p.disk.Inject(*p.atStart).Remove()
	}
	if err := p.dataplane.Start(ctx); err != nil {
		return err
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
