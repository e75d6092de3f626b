package file_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// TestStagedBytesThatSomebodyReplaced: what is published are the bytes that
// were received, or nothing is.
func TestStagedBytesThatSomebodyReplaced(t *testing.T) {
	for what, replace := range map[string]func(data, outside string) error{
		"by a file":      func(data, _ string) error { return os.WriteFile(data, make([]byte, 100), 0o600) },
		"by a link out":  func(data, outside string) error { return os.Symlink(filepath.Join(outside, "secret"), data) },
		"by a hard link": func(data, _ string) error { return os.Link(data+".mine", data) },
		"by a pipe":      func(data, _ string) error { return unix.Mkfifo(data, 0o600) },
		"by a directory": func(data, _ string) error { return os.Mkdir(data, 0o700) },
		"by nothing":     func(string, string) error { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			dir, outside := t.TempDir(), t.TempDir()
			must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
			sink := mustOpen(t, dir)
			must(t, sink.Create(background, record("s", 100)))
			write(t, sink, "s", make([]byte, 100)) // it stays open
			data := filepath.Join(area(dir), "s", "data")
			must(t, os.Rename(data, data+".theirs"))
			must(t, os.WriteFile(data+".mine", []byte("mine"), 0o600))
			must(t, replace(data, outside))
			for _, over := range []bool{false, true} {
				err := sink.Publish(background, "s", "object", over, nil)
				if err == nil {
					t.Error("it was published")
				}
				for _, unwanted := range []error{session.ErrUnusableName, session.ErrExists} {
					if errors.Is(err, unwanted) {
						t.Errorf("the error says that it is the name: %v", err)
					}
				}
				t.Log(err)
			}
			if _, err := os.Lstat(filepath.Join(dir, "object")); !os.IsNotExist(err) {
				t.Errorf("something is under the name: %v", err)
			}
			if got, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(got) != "secret" {
				t.Errorf("outside is %q, %v", got, err)
			}
		})
	}
}

// TestAStagedDirectoryThatSomebodyReplaced by a link: neither is what it leads
// to used, nor is the name blamed, which would end the session.
func TestAStagedDirectoryThatSomebodyReplaced(t *testing.T) {
	for _, what := range []string{"link out", "link within", "file", "pipe"} {
		t.Run(what, func(t *testing.T) {
			dir, outside := t.TempDir(), t.TempDir()
			sink := mustOpen(t, dir)
			for _, id := range []session.ID{"s", "other"} {
				must(t, sink.Create(background, record(id, 100)))
				must(t, sink.Create(background, record(id+"-2", 100)))
			}
			staging := area(dir)
			must(t, os.Rename(filepath.Join(staging, "s"), filepath.Join(outside, "s")))
			switch path := filepath.Join(staging, "s"); what {
			case "link out":
				must(t, os.Symlink(filepath.Join(outside, "s"), path))
			case "link within":
				must(t, os.Symlink("other", path))
			case "file":
				must(t, os.WriteFile(path, []byte("x"), 0o600))
			case "pipe":
				must(t, unix.Mkfifo(path, 0o600))
			}
			before, err := os.ReadDir(filepath.Join(outside, "s"))
			must(t, err)
			if _, err := sink.Open(background, "s"); err == nil {
				t.Error("it was opened")
			}
			err = sink.Publish(background, "s", "object", true, nil)
			if err == nil || errors.Is(err, session.ErrUnusableName) {
				t.Errorf("published: %v", err)
			}
			t.Log(err)
			if err := sink.SaveRecord(background, record("s", 100)); err == nil {
				t.Error("its record was saved")
			}
			if err := sink.Free(background, "s"); err == nil {
				t.Error("it was freed")
			}
			// What is in the way is removed, and what it leads to is not.
			must(t, sink.Remove(background, "s"))
			after, err := os.ReadDir(filepath.Join(outside, "s"))
			must(t, err)
			if len(before) != len(after) {
				t.Errorf("outside: before %v, after %v", before, after)
			}
			if _, err := os.Lstat(filepath.Join(dir, "object")); !os.IsNotExist(err) {
				t.Errorf("something is under the name: %v", err)
			}
			found, failed := recovered(t, sink)
			if len(found) != 3 || len(failed) > 0 || !found["other"].HasBytes {
				t.Errorf("recovered %v, failed %v", found, failed)
			}
		})
	}
}
