package kill_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/test/crash/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

const (
	// short is how long the program goes on in the normal run.
	short = 12 * time.Second
	// shortestLife and longestLife bound how long the dataplane is under load before it is killed.
	shortestLife, longestLife = 20 * time.Millisecond, 500 * time.Millisecond
	// rarely is how rarely it is killed once more while it starts, within longestBirth.
	rarely, longestBirth = 5, 80 * time.Millisecond
)

func TestNothingIsLostWhenTheDataplaneIsKilled(t *testing.T) {
	duration := rig.Duration(t, short)
	world := rig.NewWorld(t)
	oracle := rig.NewOracle(rig.Seed(t))
	dataplane := world.Dataplane(t.TempDir())
	load := rig.NewLoad(world, oracle, dataplane)

	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	defer oracle.Watch(dataplane.Files)()
	must(dataplane.Start(ctx))
	random := rand.New(rand.NewPCG(oracle.Seed, 1<<32))
	shapes := []*rig.Shape{load.Shape, rig.Crowd(), rig.Giants()}
	for end := time.Now().Add(duration); time.Now().Before(end); {
		load.Shape = shapes[random.IntN(len(shapes))]
		must(load.TopUp(ctx))
		life := shortestLife + time.Duration(random.Int64N(int64(longestLife-shortestLife)))
		must(killUnderLoad(ctx, load, life))
		for random.IntN(rarely) == 0 {
			must(killAtBirth(load, time.Duration(random.Int64N(int64(longestBirth)))))
		}
		must(dataplane.Start(ctx))
		must(load.Check(ctx))
		must(load.Retire(ctx))
	}
	must(load.Finish(ctx))
	must(load.Clear(ctx))
}

// killUnderLoad lets the load run, kills the dataplane in the middle of it,
// and waits until all its clients have noticed.
func killUnderLoad(ctx context.Context, load *rig.Load, life time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); load.Run(ctx) }()
	select {
	case <-time.After(life):
	case <-load.Oracle.Violated():
	}
	err := load.Dataplane.Kill()
	load.Oracle.Kills.Add(1)
	cancel()
	<-ended
	return err
}

// killAtBirth kills the dataplane while it recovers the volume, or just after.
func killAtBirth(load *rig.Load, age time.Duration) error {
	if _, err := load.Dataplane.Launch(); err != nil {
		return err
	}
	time.Sleep(age)
	load.Oracle.Kills.Add(1)
	return load.Dataplane.Kill()
}
