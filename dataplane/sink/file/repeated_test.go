package file_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/sink/sinktest"
	"github.com/slipway-dev/slipway/test/crash/powerfs"
)

// changing are the operations that answer otherwise when they are done a second time, and some that should not.
var changing = []powerfs.Op{
	powerfs.Create, powerfs.Mkdir, powerfs.Rmdir, powerfs.Link, powerfs.Unlink, powerfs.Rename, powerfs.Setxattr, powerfs.Truncate,
}

// TestConformanceWhereEveryCallIsRepeated runs the suite on a filesystem that does every change of names twice and
// gives the second answer, as one does behind a network that loses answers.
func TestConformanceWhereEveryCallIsRepeated(t *testing.T) {
	disk, mount := onPower(t, 1)
	var repeated []*powerfs.Injected
	for _, op := range changing {
		repeated = append(repeated, disk.Inject(powerfs.Fault{Op: op, Repeated: true}))
	}
	sinktest.Run(t, func(dir string) (sinktest.Volume, error) {
		volume := filepath.Join(mount, filepath.Base(filepath.Dir(dir))+filepath.Base(dir))
		if err := os.MkdirAll(volume, 0o700); err != nil {
			return sinktest.Volume{}, err
		}
		return openVolume(volume)
	})
	for i, one := range repeated {
		if one.Hits() == 0 {
			t.Errorf("no %s was repeated", changing[i])
		}
	}
}

// TestReplicasWhereEveryCallIsRepeated: what a former version or another replica left is adopted and swept the same.
func TestReplicasWhereEveryCallIsRepeated(t *testing.T) {
	disk, dir := onPower(t, 1)
	former(t, dir, "a", "b")
	two := mustOpenAs(t, dir, other)
	staged(t, two, "c", 'x')
	must(t, two.Abandon())
	for _, op := range changing {
		disk.Inject(powerfs.Fault{Op: op, Repeated: true})
	}
	sink := mustOpenAs(t, dir, adopting)
	wantsHeld(t, sink, "a", "b")
	must(t, sink.SweepDerelicts(background, (&gone{ids: []session.ID{"c"}}).orphan))
	if got := below(t, filepath.Join(dir, ".slipway", other.Replica+".replica")); !slices.Equal(got, []string{".lock", ".sweep"}) {
		t.Errorf("left: %v", got)
	}
	longer := record("a", 100)
	longer.Outcome = make([]byte, session.MaxPayload) // which takes a new file
	must(t, sink.SaveRecord(background, longer))
}

// TestALinkMadeBeforeIsOnesOwn has the object's name given between the look at it and the link, once by the
// same session and once by another.
func TestALinkMadeBeforeIsOnesOwn(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "b"), nil, 0o600))
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	must(t, file.LinkBetween(root, "a", root, "c"))
	must(t, file.LinkBetween(root, "a", root, "c"))
	wants(t, file.LinkBetween(root, "b", root, "c"), os.ErrExist)
}
