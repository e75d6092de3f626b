package file_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

// TestWhoComesDuringASyncWaitsForTheNext holds one sync and has others come meanwhile.
func TestWhoComesDuringASyncWaitsForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds file.Rounds
		var syncs atomic.Int64
		let := make(chan struct{})
		slow := func() error { syncs.Add(1); <-let; return nil }
		var all sync.WaitGroup
		all.Go(func() { _ = rounds.Join(slow) })
		synctest.Wait()
		for range 10 {
			all.Go(func() { _ = rounds.Join(slow) })
		}
		synctest.Wait()
		if n := syncs.Load(); n != 1 {
			t.Fatalf("%d syncs run at once", n)
		}
		let <- struct{}{}
		synctest.Wait()
		if n := syncs.Load(); n != 2 {
			t.Fatalf("%d syncs serve the first and the ten who came meanwhile", n)
		}
		all.Go(func() { _ = rounds.Join(slow) })
		synctest.Wait()
		close(let)
		all.Wait()
		if n := syncs.Load(); n != 3 {
			t.Errorf("%d syncs, want 3", n)
		}
	})
}

// TestARoundCoversItsWrites checks what all rests on: who joined returns only
// after a sync that began later than the call.
func TestARoundCoversItsWrites(t *testing.T) {
	var rounds file.Rounds
	var written, synced atomic.Int64 // one call of join's function runs at a time
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				mine := written.Add(1)
				err := rounds.Join(func() error {
					synced.Store(written.Load())
					return nil
				})
				if err != nil || synced.Load() < mine {
					t.Errorf("write %d is not covered, %v", mine, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestAllOfARoundGetItsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds file.Rounds
		lost := errors.New("lost")
		let := make(chan struct{})
		go func() { _ = rounds.Join(func() error { <-let; return nil }) }()
		synctest.Wait()
		got := make(chan error, 5)
		for range cap(got) {
			go func() { got <- rounds.Join(func() error { return lost }) }()
		}
		synctest.Wait()
		close(let)
		for range cap(got) {
			wants(t, <-got, lost)
		}
		must(t, rounds.Join(func() error { return nil }))
	})
}

// TestARoundThatIsGivenUp is over for all of it; the next one still waits for the sync that runs.
func TestARoundThatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds file.Rounds
		enough, let := errors.New("enough"), make(chan struct{})
		giveUp := make(chan struct{})
		rounds.AwaitBy(func(running <-chan struct{}) error {
			select {
			case <-running:
				return nil
			case giveUp <- struct{}{}:
				return enough
			}
		})
		var syncs atomic.Int64
		slow := func() error { syncs.Add(1); <-let; return nil }
		var all sync.WaitGroup
		all.Go(func() { must(t, rounds.Join(slow)) })
		synctest.Wait()
		for range 5 {
			all.Go(func() { wants(t, rounds.Join(slow), enough) })
		}
		synctest.Wait()
		<-giveUp
		synctest.Wait()
		all.Go(func() { must(t, rounds.Join(slow)) })
		synctest.Wait()
		if n := syncs.Load(); n != 1 {
			t.Errorf("%d syncs run at once", n)
		}
		close(let)
		all.Wait()
		if n := syncs.Load(); n != 2 {
			t.Errorf("%d syncs, want 2", n)
		}
	})
}
