package file_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// TestTheStagingDirectoryUnderAnotherName has a second name for it, as a
// filesystem that ignores case or normalises Unicode gives it many.
func TestTheStagingDirectoryUnderAnotherName(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("s", 100)))
	for alias, of := range map[string]string{"alias": "", "deep/alias": "", "area": own.Replica + ".replica"} {
		path := filepath.Join(dir, alias)
		must(t, os.MkdirAll(path, 0o755))
		if err := unix.Mount(filepath.Join(dir, ".slipway", of), path, "", unix.MS_BIND, ""); err != nil {
			t.Skipf("mounting is not allowed here: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		before := below(t, dir)
		for _, name := range []string{alias + "/object", alias + "/s/data", alias + "/s/record", alias + "/new/object"} {
			wants(t, sink.Lookup(background, name), session.ErrUnusableName)
			for _, replace := range []bool{false, true} {
				wants(t, sink.Publish(background, "s", name, replace, nil), session.ErrUnusableName)
			}
			_, err := sink.OpenObject(background, name)
			wants(t, err, session.ErrNotFound)
			if published, err := sink.Published(background, "s", name); published || err != nil {
				t.Errorf("published as %s: %t, %v", name, published, err)
			}
			identity, err := sink.Identify(background, "s")
			must(t, err)
			if removed, err := sink.Withdraw(background, name, identity); removed || err != nil {
				t.Errorf("withdrawn as %s: %t, %v", name, removed, err)
			}
		}
		if after := below(t, dir); !slices.Equal(before, after) {
			t.Errorf("before %v, after %v", before, after)
		}
	}
}
