package file_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

// disk is one on which syncs take made-up times. Syncs of one's own are made one by one.
type disk struct {
	syncfs, own func(at time.Duration) time.Duration
	sink        *file.Sink
	began       time.Time
	head        chan struct{}
}

const (
	fastSync, fastOwn = 20 * time.Millisecond, 4 * time.Millisecond
	members           = 16 // of the crowd
)

func always(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// newDisk must be called in a bubble, whose clock all goes by.
func newDisk(t *testing.T, syncfs, own func(at time.Duration) time.Duration) *disk {
	t.Helper()
	d := &disk{syncfs: syncfs, own: own, began: time.Now(), head: make(chan struct{}, 1)}
	d.sink = mustOpenAs(t, t.TempDir(), file.Options{Replica: "r", TrustSyncfs: true})
	d.sink.SyncWholeBy(func() error { time.Sleep(d.syncfs(time.Since(d.began))); return nil })
	return d
}

// done is how many steps of a crowd were done: by a syncfs that they shared, and each by itself.
type done struct{ shared, own atomic.Int64 }

func (n *done) all() int64 { return n.shared.Load() + n.own.Load() }

// ownShare is how much of all was done by syncs of one's own.
func (n *done) ownShare() float64 { return float64(n.own.Load()) / float64(n.all()) }

// crowd has many make a step after the other until a time.
func (d *disk) crowd(until time.Duration) *done {
	var n done
	var all sync.WaitGroup
	for range members {
		all.Go(func() {
			for time.Since(d.began) < until {
				way := &n.shared
				_ = d.sink.Do(func() error {
					way = &n.own
					d.head <- struct{}{}
					time.Sleep(d.own(time.Since(d.began)))
					<-d.head
					return nil
				})
				way.Add(1)
				time.Sleep(time.Millisecond) // what it does between two steps
			}
		})
	}
	all.Wait()
	return &n
}

// TestWhichWayACrowdGoes has a crowd on disks that stay as they are.
func TestWhichWayACrowdGoes(t *testing.T) {
	type bounds struct{ leastOwn, mostOwn, leastDone float64 } // shares: of all steps, and of what can be done
	most := bounds{leastOwn: 0.9, mostOwn: 1, leastDone: 0.9}
	for name, c := range map[string]struct {
		syncfs, own time.Duration
		fastest     time.Duration // a step by the faster way
		bounds
	}{
		"syncfs is faster":        {fastSync, fastOwn, fastSync * 2 / members, bounds{0, 0.1, 0.9}},
		"both take long":          {time.Second, fastOwn * 50, time.Second * 2 / members, bounds{0, 0.2, 0.8}},
		"own are somewhat faster": {fastOwn * 25, fastOwn, fastOwn, most},
		"syncfs takes long":       {fastOwn * 125, fastOwn, fastOwn, most},
		"syncfs takes very long":  {16 * time.Second, fastOwn, fastOwn, bounds{0.99, 1, 0.9}},
		"syncfs takes for ever":   {time.Hour, fastOwn, fastOwn, bounds{0.99, 1, 0.9}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const forSoLong = 2 * time.Minute
				n := newDisk(t, always(c.syncfs), always(c.own)).crowd(forSoLong)
				if got := n.ownShare(); got < c.leastOwn || got > c.mostOwn {
					t.Errorf("%.3f of the steps synced for themselves", got)
				}
				if best := float64(forSoLong / c.fastest); float64(n.all()) < c.leastDone*best {
					t.Errorf("%d steps were done, and %.0f can be", n.all(), best)
				}
			})
		})
	}
}

// TestANeighborComesAndGoes has syncs take as long as they may beside a neighbor, for a while.
func TestANeighborComesAndGoes(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			const comes, goes, forgotten, end = 20 * time.Second, 60 * time.Second, 100 * time.Second, 2 * time.Minute
			random := rand.New(rand.NewPCG(seed, 0))
			var mu sync.Mutex
			between := func(least, most time.Duration) time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return least + time.Duration(random.Int64N(int64(most-least)))
			}
			d := newDisk(t, func(at time.Duration) time.Duration {
				if at >= comes && at < goes {
					return between(300*time.Millisecond, 16*time.Second)
				}
				return between(fastSync/2, fastSync*3/2)
			}, func(at time.Duration) time.Duration {
				if at >= comes && at < goes {
					return between(fastOwn, 3*fastOwn)
				}
				return between(fastOwn/2, fastOwn*3/2)
			})
			if got := d.crowd(comes).ownShare(); got > 0.15 {
				t.Errorf("seed %d: %.3f of the steps synced for themselves before the neighbor came", seed, got)
			}
			n := d.crowd(goes)
			if got := n.ownShare(); got < 0.9 {
				t.Errorf("seed %d: %.3f of the steps synced for themselves beside the neighbor", seed, got)
			}
			if can := int64((goes - comes) / (2 * fastOwn)); n.all() < can*2/3 {
				t.Errorf("seed %d: %d steps were done beside the neighbor, and %d can be", seed, n.all(), can)
			}
			d.crowd(forgotten)
			if got := d.crowd(end).ownShare(); got > 0.15 {
				t.Errorf("seed %d: %.3f of the steps synced for themselves when it had gone", seed, got)
			}
		})
	}
}

// TestASyncfsThatIsSlowOnce is no reason to leave the faster way for long.
func TestASyncfsThatIsSlowOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const comes = 30 * time.Second
		slow := false
		d := newDisk(t, func(at time.Duration) time.Duration { // one at a time
			if !slow && at >= comes {
				slow = true
				return time.Second
			}
			return fastSync
		}, always(fastOwn))
		d.crowd(comes)
		if got := d.crowd(comes + 20*time.Second).ownShare(); got > 0.2 {
			t.Errorf("%.3f of the steps synced for themselves", got)
		}
	})
}

// TestACrowdIsNoHostageOfASyncfs holds a syncfs until all who need not wait for it are through.
func TestACrowdIsNoHostageOfASyncfs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := mustOpenAs(t, t.TempDir(), file.Options{Replica: "r", TrustSyncfs: true})
		sink.Crowd()
		syncs, through := 0, make(chan struct{})
		sink.SyncWholeBy(func() error { // one at a time
			syncs++
			if syncs == 1 {
				<-through
			}
			return nil
		})
		var created atomic.Int64
		var all sync.WaitGroup
		for i := range members {
			all.Go(func() {
				if err := sink.Create(background, record(session.ID(fmt.Sprintf("s%d", i)), 4)); err != nil {
					t.Error(err)
				}
				if created.Add(1) == members-1 {
					close(through)
				}
			})
		}
		all.Wait()
		if syncs == 0 {
			t.Error("the whole was never synced")
		}
	})
}
