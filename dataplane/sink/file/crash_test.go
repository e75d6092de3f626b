package file_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// TestCrashCases makes each state that the README draws and looks at what recovery makes of it.
func TestCrashCases(t *testing.T) {
	const name = "models/object"
	staging := func(dir string, elements ...string) string {
		return filepath.Join(append([]string{area(dir)}, elements...)...)
	}
	move := func(t *testing.T, dir, from, to string) { must(t, os.Rename(staging(dir, from), staging(dir, to))) }
	remove := func(t *testing.T, dir string, elements ...string) { must(t, os.Remove(staging(dir, elements...))) }

	for _, one := range []struct {
		name string
		// cut brings the volume, on which session s is whole, to where a step was cut short.
		cut func(t *testing.T, dir string)
		// left is what is in the staging directory after recovery.
		left []string
		// check looks at the session, where one is recovered.
		check func(t *testing.T, r session.Recovered)
	}{
		{
			name: "create: nothing but the directory",
			cut: func(t *testing.T, dir string) {
				must(t, os.RemoveAll(staging(dir, "s")))
				must(t, os.Mkdir(staging(dir, "s.new"), 0o700))
			},
		},
		{
			name: "create: data, no ledger",
			cut: func(t *testing.T, dir string) {
				move(t, dir, "s", "s.new")
				remove(t, dir, "s.new", "ledger")
				remove(t, dir, "s.new", "record")
			},
		},
		{name: "create: whole, not renamed", cut: func(t *testing.T, dir string) { move(t, dir, "s", "s.new") }},
		{
			name: "create: a new one beside a removed one",
			cut: func(t *testing.T, dir string) {
				must(t, os.CopyFS(staging(dir, "s.gone"), os.DirFS(staging(dir, "s"))))
				must(t, os.CopyFS(staging(dir, "s.new"), os.DirFS(staging(dir, "s"))))
			},
			left: []string{"s", "s/data", "s/ledger", "s/record"},
		},
		{
			name: "save: the next version is half written",
			cut: func(t *testing.T, dir string) {
				f, err := os.OpenFile(staging(dir, "s", "record"), os.O_RDWR, 0)
				must(t, err)
				defer f.Close()
				info, err := f.Stat()
				must(t, err)
				b := make([]byte, 60) // the header and some of the record, of a later generation
				_, err = f.ReadAt(b, 0)
				must(t, err)
				b[8]++
				_, err = f.WriteAt(b, info.Size()/2)
				must(t, err)
			},
			left: []string{"s", "s/data", "s/ledger", "s/record"},
		},
		{
			name: "save: the next record's file is not renamed",
			cut: func(t *testing.T, dir string) {
				must(t, os.WriteFile(staging(dir, "s", "record.new"), []byte("half"), 0o600))
			},
			left: []string{"s", "s/data", "s/ledger", "s/record"},
		},
		{
			name: "publish: linked, not renamed over the name",
			cut: func(t *testing.T, dir string) {
				must(t, os.Link(staging(dir, "s", "data"), staging(dir, "s", "object")))
			},
			left: []string{"s", "s/data", "s/ledger", "s/record"},
		},
		{
			name: "free: the data is gone",
			cut:  func(t *testing.T, dir string) { remove(t, dir, "s", "data") },
			left: []string{"s", "s/ledger", "s/record"},
			check: func(t *testing.T, r session.Recovered) {
				if r.HasBytes {
					t.Error("it has bytes")
				}
			},
		},
		{name: "remove: renamed", cut: func(t *testing.T, dir string) { move(t, dir, "s", "s.gone") }},
		{
			name: "remove: half removed",
			cut: func(t *testing.T, dir string) {
				move(t, dir, "s", "s.gone")
				remove(t, dir, "s.gone", "record")
			},
		},
	} {
		t.Run(one.name, func(t *testing.T) {
			dir := t.TempDir()
			sink := mustOpen(t, dir)
			must(t, sink.Create(background, record("s", 100)))
			must(t, sink.Abandon())
			one.cut(t, dir)

			sink = mustOpen(t, dir)
			found, failed := recovered(t, sink)
			if len(failed) > 0 {
				t.Fatalf("recovery failed: %v", failed)
			}
			if got := below(t, staging(dir)); !slices.Equal(got[1:], one.left) {
				t.Errorf("left: %v, want %v", got[1:], one.left)
			}
			r, there := found["s"]
			if there != (len(one.left) > 0) {
				t.Fatalf("recovered: %v", slices.Collect(maps.Keys(found)))
			}
			if one.check != nil {
				one.check(t, r)
			}
			// Whatever was cut short can be done now.
			if !there {
				must(t, sink.Create(background, record("s", 100)))
			}
			must(t, sink.SaveRecord(background, record("s", 100)))
			if r.HasBytes || !there {
				must(t, sink.Publish(background, "s", name, true, nil))
			}
			must(t, sink.Free(background, "s"))
			must(t, sink.Remove(background, "s"))
			if got := below(t, staging(dir)); len(got) != 1 {
				t.Errorf("in the end there is %v", got)
			}
		})
	}
}

// TestDamage has what no crash leaves: it is reported, and left as it is.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"short data":       func(dir string) error { return os.Truncate(dir+"/data", 99) },
		"long data":        func(dir string) error { return os.Truncate(dir+"/data", 101) },
		"data is a link":   func(dir string) error { return replaceByLink(dir, "data") },
		"short ledger":     func(dir string) error { return os.Truncate(dir+"/ledger", session.SlotSize) },
		"odd ledger":       func(dir string) error { return os.Truncate(dir+"/ledger", 2*session.SlotSize-1) },
		"long ledger":      func(dir string) error { return os.Truncate(dir+"/ledger", 3*session.SlotSize) },
		"no ledger":        func(dir string) error { return os.Remove(dir + "/ledger") },
		"ledger is a link": func(dir string) error { return replaceByLink(dir, "ledger") },
		"no record":        func(dir string) error { return os.Remove(dir + "/record") },
		"empty record":     func(dir string) error { return os.Truncate(dir+"/record", 0) },
		"record is a link": func(dir string) error { return replaceByLink(dir, "record") },
		"damaged record":   func(dir string) error { return flip(dir+"/record", 30) },
		"odd record":       func(dir string) error { return os.Truncate(dir+"/record", 5000) },
		"short record":     func(dir string) error { return os.Truncate(dir+"/record", 4<<10) },
		"long record":      func(dir string) error { return os.Truncate(dir+"/record", 4<<20) },
		"another record":   func(dir string) error { return os.Rename(filepath.Dir(dir)+"/other/record", dir+"/record") },
		"no directory": func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, []byte("a file"), 0o600))
		},
		"directory is a link": func(dir string) error {
			return errors.Join(os.Rename(dir, filepath.Dir(dir)+"/moved.away"), os.Symlink("moved.away", dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sink := mustOpen(t, dir)
			must(t, sink.Create(background, record("s", 100)))
			must(t, sink.Create(background, record("other", 100)))
			must(t, damage(filepath.Join(area(dir), "s")))
			before := below(t, dir)
			for range 2 {
				if _, failed := recovered(t, sink); failed["s"] == nil {
					t.Errorf("recovered with the errors %v", failed)
				} else {
					t.Log(failed["s"])
				}
			}
			if after := below(t, dir); !slices.Equal(before, after) {
				t.Errorf("before %v, after %v", before, after)
			}
		})
	}
}

// flip changes one byte of a file.
func flip(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[at] ^= 1
	return os.WriteFile(path, b, 0o600)
}

// replaceByLink moves a file away and leaves a link to it.
func replaceByLink(dir, name string) error {
	return errors.Join(os.Rename(filepath.Join(dir, name), filepath.Join(dir, "moved")), os.Symlink("moved", filepath.Join(dir, name)))
}

func TestAfterAFailedSync(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	for _, id := range []session.ID{"broken", "well"} {
		must(t, sink.Create(background, record(id, 100)))
	}
	lost := errors.New("lost")
	sink.Break("broken", lost)
	commit := func(id session.ID) error {
		staged, err := sink.Open(background, id)
		must(t, err)
		defer staged.Close()
		return staged.Commit(background, 0, 0, session.Slot{Length: 50})
	}
	for range 2 {
		wants(t, commit("broken"), lost)
		wants(t, sink.Publish(background, "broken", "name", true, nil), lost)
	}
	if _, held, err := sink.Slot(background, "broken", 0); held || err != nil {
		t.Errorf("the chunk is held: %t, %v", held, err)
	}
	must(t, commit("well"))
	must(t, sink.Close())
	sink = mustOpen(t, dir)
	must(t, commit("broken"))
}
