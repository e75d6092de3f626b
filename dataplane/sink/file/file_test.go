package file_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/sink/sinktest"
)

var background = context.Background()

// own is the part of a volume that most tests are about.
var own = file.Options{Replica: "models-0"}

// area is where that replica stages.
func area(dir string) string { return filepath.Join(dir, ".slipway", own.Replica+".replica") }

func TestMain(m *testing.M) { os.Exit(sinktest.Main(m, openVolume)) }

func TestConformance(t *testing.T) { sinktest.Run(t, openVolume) }

func TestKilled(t *testing.T) { sinktest.RunKilled(t, openVolume) }

func openVolume(dir string) (sinktest.Volume, error) {
	sink, err := file.Open(dir, own)
	if err != nil {
		return sinktest.Volume{}, err
	}
	return sinktest.Volume{
		KeepsNotes: true,
		Sink:       sink,
		Close:      sink.Close,
		Crash:      sink.Abandon,
		EditSlot: func(id session.ID, index int, edit func(slot []byte)) error {
			path := filepath.Join(area(dir), string(id), "ledger")
			stored, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			edit(stored[index*session.SlotSize : (index+1)*session.SlotSize])
			return os.WriteFile(path, stored, 0o600)
		},
		DamageRecord: func(id session.ID) error {
			return os.Truncate(filepath.Join(area(dir), string(id), "record"), 40)
		},
	}, nil
}

func mustOpen(t *testing.T, dir string) *file.Sink {
	t.Helper()
	sink, err := file.Open(dir, own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	return sink
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func record(id session.ID, size int64) session.Record {
	return session.Record{
		ID: id, Spec: session.Spec{Size: size, ChunkSize: max(1, (size+1)/2)}, State: session.Open,
		Created: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
	}
}

// write writes bytes into a session without committing them.
func write(t *testing.T, sink *file.Sink, id session.ID, b []byte) {
	t.Helper()
	staged, err := sink.Open(background, id)
	must(t, err)
	_, err = staged.WriteAt(b, 0)
	must(t, err)
	must(t, staged.Close())
}

// below lists all that is under a directory, by path.
func below(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if path != dir {
			paths = append(paths, path[len(dir)+1:])
		}
		return err
	})
	must(t, err)
	slices.Sort(paths)
	return paths
}

func recovered(t *testing.T, sink *file.Sink) (map[session.ID]session.Recovered, map[session.ID]error) {
	t.Helper()
	found, failed := map[session.ID]session.Recovered{}, map[session.ID]error{}
	for r, err := range sink.Recover(background) {
		if err != nil {
			failed[r.ID] = err
		} else {
			found[r.ID] = r
		}
	}
	return found, failed
}
