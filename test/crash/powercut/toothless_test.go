package powercut

import (
	"os"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// enough is how many cuts a run may take until it is found out that a sync is missing.
const enough = 40

// toothless is a disk that ignores some syncs.
type toothless struct {
	name    string
	ignores []powerfs.Fault
	// atStart is the one that it ignores when the dataplane starts after it was killed; nil for none.
	atStart *powerfs.Fault
}

// ignore is a disk that ignores the syncs of one kind, everywhere or in some places.
func ignore(name string, op powerfs.Op, paths ...string) toothless {
	if paths == nil {
		paths = []string{""}
	}
	one := toothless{name: name}
	for _, path := range paths {
		one.ignores = append(one.ignores, powerfs.Fault{Op: op, Path: path, Ignored: true})
	}
	return one
}

// kinds are the kinds of sync, each ignored in turn, and all at once.
func kinds() []toothless {
	all := toothless{name: "every sync"}
	var each []toothless
	for _, op := range powerfs.Ops() {
		if op.IsSync() {
			one := ignore(string(op), op)
			each = append(each, one)
			all.ignores = append(all.ignores, one.ignores...)
		}
	}
	return append(each, all)
}

// places are where the dataplane syncs, each ignored in turn.
func places() []toothless {
	return []toothless{
		ignore("bytes of chunks", powerfs.Fdatasync, ".slipway/*.replica/*/data"),
		ignore("chunks in the ledger", powerfs.Fdatasync, ".slipway/*.replica/*/ledger"),
		ignore("files of a new session", powerfs.Fsync, ".slipway/*.replica/*.new/*"),
		ignore("names in a new session", powerfs.FsyncDir, ".slipway/*.replica/*.new"),
		ignore("names of sessions", powerfs.FsyncDir, ".slipway/*.replica"),
		ignore("how a session ended", powerfs.Fdatasync, ".slipway/*.replica/*/record"),
		ignore("names of objects", powerfs.FsyncDir, "objects/*"),
		ignore("directories of objects", powerfs.FsyncDir, "objects"),
		{name: "what a killed process has left", atStart: &powerfs.Fault{Op: powerfs.Syncfs, Times: 1, Ignored: true}},
	}
}

// few is a load of which so little is under way at once that each sync is of one file.
func few() *rig.Shape {
	return &rig.Shape{Active: 10, Workers: 3, ChunkSizes: []int64{512, 4 << 10, 64 << 10}, MaxBytes: 256 << 10, MaxChunks: 12}
}

// The same for each place where the dataplane syncs: as if one call were missing.
func TestToothlessPlacesAreFoundOut(t *testing.T) {
	if os.Getenv("TOOTHLESS") == "" && !rig.Nightly() {
		t.Skip("make toothless runs this one")
	}
	for _, disk := range places() {
		t.Run(disk.name, func(t *testing.T) { disk.isFoundOut(t) })
	}
}

// The dataplane is the same; only the disk ignores a kind of sync. Each has to be found out:
// without that the program would prove nothing.
func TestToothlessDisksAreFoundOut(t *testing.T) {
	for _, disk := range kinds() {
		t.Run(disk.name, func(t *testing.T) { disk.isFoundOut(t) })
	}
}

func (l toothless) isFoundOut(t *testing.T) {
	seed := rig.Seed(t)
	p := newProgram(t, seed, rig.NewUncountedOracle(seed))
	if !p.disk.SeesSyncfs() && (l.atStart != nil || l.isOnly(powerfs.Syncfs)) {
		t.Skip("this kernel does not tell a FUSE filesystem of syncfs")
	}
	switch {
	case l.atStart != nil: // and nothing else syncs the whole volume soon
		p.shapes, p.killEvery, p.atStart = []*rig.Shape{few()}, 1, l.atStart
	case l.isOnly(powerfs.Syncfs):
		// It is for what many have written at once, and for what was killed just before the cut.
		p.shapes, p.killEvery, p.mostChanges = []*rig.Shape{rig.Crowd()}, 2, 60
	case len(l.ignores) == 1: // for what few have written
		p.shapes, p.mostChanges = []*rig.Shape{few(), rig.Giants()}, 200
	}
	var ignored []*powerfs.Injected
	for _, fault := range l.ignores {
		ignored = append(ignored, p.disk.Inject(fault))
	}
	began := time.Now()
	ctx := t.Context()
	err := p.dataplane.Start(ctx)
	for err == nil && p.oracle.Cuts.Load() < enough {
		err = p.round(ctx)
	}
	hits := 0 // but for those at a start
	for _, i := range ignored {
		hits += i.Hits()
	}
	found, cuts, kills := p.oracle.Err(), p.oracle.Cuts.Load(), p.oracle.Kills.Load()
	switch {
	case found == nil && err != nil:
		t.Fatalf("it ended for another reason: %v", err)
	case found == nil:
		t.Fatalf("nothing was found in %d cuts and %d kills, although %d syncs were ignored", cuts, kills, hits)
	}
	rig.Count("found", 1)
	t.Logf("%s: found out after %d syncs were ignored, %d cuts and %d kills, %s: %.300s", l.name, hits, cuts, kills, time.Since(began).Round(time.Millisecond), found)
}

// isOnly reports whether that is the only kind of sync that is ignored.
func (l toothless) isOnly(op powerfs.Op) bool { return len(l.ignores) == 1 && l.ignores[0].Op == op }
