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
)

// gone lets a sweep take the sessions with these IDs, and remembers which it was asked about.
type gone struct {
	ids   []session.ID
	asked []string
}

func (g *gone) orphan(_ context.Context, d session.Derelict) (bool, error) {
	g.asked = append(g.asked, d.Replica+"/"+string(d.ID))
	return slices.Contains(g.ids, d.ID), nil
}

func TestSweepOfDerelicts(t *testing.T) {
	dir := t.TempDir()
	two := mustOpenAs(t, dir, other)
	for _, id := range []session.ID{"a", "b", "unreadable"} {
		staged(t, two, id, 'x')
	}
	must(t, two.Publish(background, "a", "object", false, nil))
	must(t, os.Truncate(filepath.Join(dir, ".slipway", "models-1.replica", "unreadable", "record"), 0))
	must(t, os.MkdirAll(filepath.Join(dir, ".slipway", "models-1.replica", "c.new"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, ".slipway", "no replica.replica"), 0o700))
	sink := mustOpenAs(t, dir, own)
	staged(t, sink, "mine", 'x')

	g := &gone{ids: []session.ID{"a", "mine", "unreadable"}}
	must(t, sink.SweepDerelicts(background, g.orphan))
	if len(g.asked) > 0 {
		t.Errorf("asked about %v of a replica that runs", g.asked)
	}
	must(t, two.Abandon())
	if err := sink.SweepDerelicts(background, g.orphan); err == nil {
		t.Error("nothing is said of a record that can't be read")
	} else {
		t.Log(err)
	}
	if want := []string{"models-1/a", "models-1/a", "models-1/b"}; !slices.Equal(g.asked, want) {
		t.Errorf("asked about %v, want %v", g.asked, want)
	}
	if got := below(t, filepath.Join(dir, ".slipway", "models-1.replica")); !slices.Equal(got, []string{
		".lock", ".sweep", "b", "b/data", "b/ledger", "b/record", "unreadable", "unreadable/data", "unreadable/ledger", "unreadable/record",
	}) {
		t.Errorf("left: %v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "object")); err != nil {
		t.Errorf("the published object: %v", err)
	}
	if found, _ := recovered(t, mustOpenAs(t, dir, other)); len(found) != 1 || !found["b"].HasBytes {
		t.Errorf("the replica that is back recovered %v", found)
	}
}

// TestASweepEndsWhereTheReplicaStarts: nothing is taken from it.
func TestASweepEndsWhereTheReplicaStarts(t *testing.T) {
	dir := t.TempDir()
	two := mustOpenAs(t, dir, other)
	staged(t, two, "a", 'x')
	must(t, two.Close())
	sink := mustOpenAs(t, dir, own)
	var back *file.Sink
	must(t, sink.SweepDerelicts(background, func(context.Context, session.Derelict) (bool, error) {
		if back == nil {
			back = mustOpenAs(t, dir, other)
		}
		return true, nil
	}))
	if found, _ := recovered(t, back); len(found) != 1 {
		t.Errorf("left: %v", found)
	}
}

// TestAReplicaWaitsForASweep, and takes up what that leaves.
func TestAReplicaWaitsForASweep(t *testing.T) {
	dir := t.TempDir()
	two := mustOpenAs(t, dir, other)
	staged(t, two, "a", 'x')
	staged(t, two, "b", 'x')
	must(t, two.Close())
	sink := mustOpenAs(t, dir, own)
	opened := make(chan *file.Sink, 1)
	asked := 0
	must(t, sink.SweepDerelicts(background, func(_ context.Context, d session.Derelict) (bool, error) {
		if d.ID != "a" {
			return false, nil
		}
		asked++
		if asked == 2 { // the sweep has the lock now
			go func() {
				sink, err := file.Open(dir, other)
				if err != nil {
					t.Error(err)
				}
				opened <- sink
			}()
			select {
			case <-opened:
				t.Error("it has started in the midst of the sweep")
			case <-time.After(100 * time.Millisecond):
			}
		}
		return true, nil
	}))
	back := <-opened
	if back == nil {
		return
	}
	defer back.Close()
	if found, _ := recovered(t, back); len(found) != 1 || !found["b"].HasBytes {
		t.Errorf("left: %v", found)
	}
	// A lock that is held for good is not waited for.
	_, err := file.Open(dir, other)
	wants(t, err, file.ErrLocked)
}

func TestASweepThatIsNotSure(t *testing.T) {
	dir := t.TempDir()
	two := mustOpenAs(t, dir, other)
	staged(t, two, "a", 'x')
	must(t, two.Close())
	away := errors.New("the API server is away")
	wants(t, mustOpenAs(t, dir, own).SweepDerelicts(background, func(context.Context, session.Derelict) (bool, error) {
		return true, away
	}), away)
	if found, _ := recovered(t, mustOpenAs(t, dir, other)); len(found) != 1 {
		t.Errorf("left: %v", found)
	}
}

// TestAReplicaStartsBesideSweeps, however often they take and leave the lock of its area, and whatever note is there.
func TestAReplicaStartsBesideSweeps(t *testing.T) {
	dir := t.TempDir()
	two := mustOpenAs(t, dir, other)
	staged(t, two, "a", 'x')
	must(t, two.Close())
	sink := mustOpenAs(t, dir, own)
	stop, swept := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				swept <- nil
				return
			default:
			}
			if err := sink.SweepDerelicts(background, (&gone{}).orphan); err != nil {
				swept <- err
				return
			}
		}
	}()
	for range 50 {
		back, err := file.Open(dir, other)
		if err != nil {
			t.Error(err)
			break
		}
		_, err = file.Open(dir, other)
		wants(t, err, file.ErrLocked) // a process has it, and no sweep
		must(t, back.Close())
	}
	close(stop)
	must(t, <-swept)
}

// TestALockWithTheNoteOfASweep is held for good all the same, where nobody sweeps.
func TestALockWithTheNoteOfASweep(t *testing.T) {
	dir := t.TempDir()
	mustOpenAs(t, dir, other)
	lock := filepath.Join(dir, ".slipway", other.Replica+".replica", ".lock")
	must(t, os.WriteFile(lock, []byte("a sweep by process 1"), 0o600))
	began := time.Now()
	_, err := file.Open(dir, other)
	wants(t, err, file.ErrLocked)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it was waited for: %s", took)
	}
}
