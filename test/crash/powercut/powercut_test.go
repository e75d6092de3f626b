package powercut

import (
	"testing"
	"time"

	"github.com/slipway-dev/slipway/test/crash/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// short is how long the normal run cuts.
const short = 10 * time.Second

func TestPowerCuts(t *testing.T) {
	seed := rig.Seed(t)
	p := newProgram(t, seed, rig.NewOracle(seed))
	defer p.count()
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

func (p *program) count() {
	c := p.disk.Counts()
	for kind, n := range map[string]int{"fdatasync": c.Fdatasync, "fsync": c.Fsync, "fsyncdir": c.FsyncDir, "syncfs": c.Syncfs} {
		rig.Count(kind, n)
	}
}
