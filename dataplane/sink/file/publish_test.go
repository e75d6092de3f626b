package file_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

// planted is a volume with a staged session s, an object and links to where no name may lead.
func planted(t *testing.T) (sink *file.Sink, dir, outside string) {
	t.Helper()
	dir, outside = t.TempDir(), t.TempDir()
	sink = mustOpen(t, dir)
	for _, id := range []session.ID{"s", "other"} {
		must(t, sink.Create(background, record(id, 100)))
		write(t, sink, id, slices.Repeat([]byte(id), 100)[:100])
	}
	must(t, sink.Publish(background, "other", "real/object", false, nil))
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for link, target := range map[string]string{
		"out":           outside,
		"up":            "..",
		"staging":       ".slipway",
		"session":       ".slipway/s",
		"alias":         "real",
		"real/loop":     "loop",
		"secret":        filepath.Join(outside, "secret"),
		"staged":        ".slipway/s/data",
		"same":          "real/object",
		"dangling":      "nowhere",
		"real/dangling": filepath.Join(outside, "new"),
	} {
		must(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	return sink, dir, outside
}

func TestLinksAboveANameAreNotFollowed(t *testing.T) {
	sink, dir, outside := planted(t)
	before, beforeOutside := below(t, dir), below(t, outside)
	for _, name := range []string{
		"out/object", "out/a/object", "up/object", "staging/object", "staging/s/object", "session/object", "session/data", "alias/object", "alias/a/object",
		"real/loop/object", "dangling/object", "secret/object", "staged/object", "out/secret", "fifo/object",
	} {
		for _, replace := range []bool{false, true} {
			wants(t, sink.Publish(background, "s", name, replace, nil), session.ErrUnusableName)
		}
		wants(t, sink.Lookup(background, name), session.ErrUnusableName)
		_, err := sink.OpenObject(background, name)
		wants(t, err, session.ErrNotFound)
		for _, id := range []session.ID{"s", "other"} {
			if published, err := sink.Published(background, id, name); published || err != nil {
				t.Errorf("session %s published as %s: %t, %v", id, name, published, err)
			}
		}
	}
	if after := below(t, dir); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	if after := below(t, outside); !slices.Equal(beforeOutside, after) {
		t.Errorf("outside: before %v, after %v", beforeOutside, after)
	}
}

func TestLinksUnderANameAreNotFollowed(t *testing.T) {
	for _, name := range []string{"out", "up", "staging", "session", "alias", "real/loop", "secret", "staged", "same", "dangling", "real/dangling", "fifo"} {
		t.Run(name, func(t *testing.T) {
			sink, dir, outside := planted(t)
			_, err := sink.OpenObject(background, name)
			wants(t, err, session.ErrNotFound)
			wants(t, sink.Lookup(background, name), session.ErrExists)
			wants(t, sink.Publish(background, "s", name, false, nil), session.ErrExists)
			for _, id := range []session.ID{"s", "other"} {
				if published, err := sink.Published(background, id, name); published || err != nil {
					t.Errorf("session %s is published: %t, %v", id, published, err)
				}
			}
			// The link itself is replaced.
			must(t, sink.Publish(background, "s", name, true, nil))
			info, err := os.Lstat(filepath.Join(dir, name))
			must(t, err)
			if !info.Mode().IsRegular() {
				t.Errorf("under the name is %s", info.Mode())
			}
			for path, want := range map[string]string{filepath.Join(outside, "secret"): "secret", filepath.Join(dir, "real", "object"): "other"} {
				if got, err := os.ReadFile(path); err != nil || string(got[:len(want)]) != want {
					t.Errorf("%s holds %q, %v", path, got, err)
				}
			}
			if got := below(t, outside); !slices.Equal(got, []string{"secret"}) {
				t.Errorf("outside: %v", got)
			}
		})
	}
}

func TestModesAndAttributes(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("s", 100)))
	staged := filepath.Join(area(dir), "s", "data")
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		must(t, err)
		return info.Mode().Perm()
	}
	if got := mode(staged); got != 0o644 {
		t.Errorf("staged data has mode %s, and would be published so after a loss of power", got)
	}
	if got := mode(filepath.Dir(filepath.Dir(staged))); got != 0o700 {
		t.Errorf("the staging directory has mode %s", got)
	}
	old := unix.Umask(0o077)
	err := sink.Publish(background, "s", "name", false, map[string]string{"origin": "a test"})
	unix.Umask(old)
	must(t, err)
	published := filepath.Join(dir, "name")
	if got := mode(published); got != 0o644 {
		t.Errorf("the object has mode %s", got)
	}
	value := make([]byte, 100)
	n, err := unix.Getxattr(published, "user.slipway.origin", value)
	if errors.Is(err, unix.ENOTSUP) {
		t.Skip("the filesystem keeps no attributes")
	}
	if err != nil || string(value[:n]) != "a test" {
		t.Errorf("attribute is %q, %v", value[:max(n, 0)], err)
	}
}

func TestAPublicationLeavesNoLink(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("s", 100)))
	must(t, os.Mkdir(filepath.Join(dir, "directory"), 0o755))
	for _, name := range []string{"a", "a", "directory", "b", "a/c", "a"} {
		err := sink.Publish(background, "s", name, true, nil)
		t.Log(name, err)
		if _, err := os.Lstat(filepath.Join(area(dir), "s", "object")); err == nil {
			t.Errorf("a link is left after publishing as %s", name)
		}
	}
}

func TestFreeTakesALinkThatIsLeft(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("s", 100)))
	must(t, os.Link(filepath.Join(area(dir), "s", "data"), filepath.Join(area(dir), "s", "object")))
	must(t, sink.Free(background, "s"))
	if got := below(t, filepath.Join(area(dir), "s")); slices.Contains(got, "object") {
		t.Errorf("after Free there is %v", got)
	}
}

func TestParentsThatVanish(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	must(t, sink.Create(background, record("s", 100)))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(rand.IntN(100)) * time.Microsecond):
				_ = os.Remove(filepath.Join(dir, "a", "b"))
				_ = os.Remove(filepath.Join(dir, "a"))
			}
		}
	}()
	won := 0
	for range 100 {
		err := sink.Publish(background, "s", "a/b/name", false, nil)
		if err == nil {
			won++
			must(t, os.Remove(filepath.Join(dir, "a", "b", "name")))
			continue
		}
		// The name is fine: whoever publishes tries again, and nothing has ended.
		if errors.Is(err, session.ErrUnusableName) || !strings.Contains(err.Error(), "vanish") {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	if won == 0 {
		t.Error("none of 100 published")
	}
	must(t, sink.Publish(background, "s", "a/b/name", false, nil))
}

func TestObjectReadsAt(t *testing.T) {
	sink, _, _ := planted(t)
	o, err := sink.OpenObject(background, "real/object")
	must(t, err)
	defer o.Close()
	at, ok := o.(io.ReaderAt)
	if !ok {
		t.Fatal("an object is no io.ReaderAt")
	}
	b := make([]byte, 5)
	if _, err := at.ReadAt(b, 5); err != nil || string(b) != "other" {
		t.Errorf("read %q, %v", b, err)
	}
}

// Each state that the README draws of a withdrawal that was cut short, and what others may put in its way.
func TestWithdrawAgain(t *testing.T) {
	const name = "a/b/object"
	for what, cut := range map[string]func(t *testing.T, path string){
		"nothing was done":             func(*testing.T, string) {},
		"it is unlinked":               func(t *testing.T, path string) { must(t, os.Remove(path)) },
		"its directory went too":       func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Dir(path))) },
		"all its directories went too": func(t *testing.T, path string) { must(t, os.RemoveAll(filepath.Dir(filepath.Dir(path)))) },
		"a file is where a parent was": func(t *testing.T, path string) {
			replaceParent(t, path, func(p string) error { return os.WriteFile(p, nil, 0o600) })
		},
		"a link is where a parent was": func(t *testing.T, path string) {
			replaceParent(t, path, func(p string) error { return os.Symlink(".", p) })
		},
		"a link is where the object was": func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".moved"))
			must(t, os.Symlink(filepath.Base(path)+".moved", path))
		},
		"a directory is where it was": func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o755))
		},
		"it was written to": func(t *testing.T, path string) {
			must(t, os.WriteFile(path, slices.Repeat([]byte("x"), 100), 0o600))
			must(t, os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			sink := mustOpen(t, dir)
			must(t, sink.Create(background, record("s", 100)))
			write(t, sink, "s", slices.Repeat([]byte("s"), 100))
			identity, err := sink.Identify(background, "s")
			must(t, err)
			must(t, sink.Publish(background, "s", name, false, nil))
			must(t, sink.Free(background, "s"))
			must(t, sink.Abandon())
			cut(t, filepath.Join(dir, filepath.FromSlash(name)))
			before := below(t, dir)

			sink = mustOpen(t, dir)
			if _, failed := recovered(t, sink); len(failed) > 0 {
				t.Fatalf("recovery failed: %v", failed)
			}
			untouched := what != "nothing was done"
			for range 2 {
				removed, err := sink.Withdraw(background, name, identity)
				if err != nil || removed == untouched {
					t.Errorf("removed: %t, %v", removed, err)
				}
				if after := below(t, dir); slices.Equal(before, after) != untouched {
					t.Errorf("before %v, after %v", before, after)
				}
				if !untouched {
					before, untouched = below(t, dir), true
				}
			}
		})
	}
}

func replaceParent(t *testing.T, path string, by func(parent string) error) {
	t.Helper()
	must(t, os.RemoveAll(filepath.Dir(path)))
	must(t, by(filepath.Dir(path)))
}
