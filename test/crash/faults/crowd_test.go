package faults

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// crowd is how many sessions are sent to at once, so that the dataplane has many
// files to sync at one moment and may sync the whole volume instead.
const crowd = 24

// A sync of the whole volume that fails, or of any file of a crowd, may have lost
// bytes and names of every session: nobody is told that they are durable, and those that
// lost nothing go on.
func TestASyncThatFailsInACrowdIsToldToAllWhoLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range b.rounds() {
		for _, op := range []powerfs.Op{powerfs.Syncfs, powerfs.Fdatasync, powerfs.Fsync, powerfs.FsyncDir} {
			delay := time.Duration(b.random.IntN(2)) * 20 * time.Millisecond
			fault := powerfs.Fault{Op: op, After: b.random.IntN(4), Times: 1, Errno: unix.EIO, Delay: delay}
			if op == powerfs.Syncfs && !rig.Nightly() {
				fault.After = 0 // there may be few: where they are slow the crowd soon leaves them
			}
			var sessions []*rig.Session
			for range crowd {
				sessions = append(sessions, b.begin(true))
			}
			t.Logf("%s: %d hits", fault, b.under(fault, func() { b.sendAll(sessions) }))
			b.must(b.oracle.Err())
			b.cut()
			b.must(b.load.Retire(t.Context()))
		}
	}
	b.finish()
}

// rounds is how often a program repeats itself.
func (b *bench) rounds() int {
	if rig.Nightly() {
		return 20
	}
	return 1
}

// sendAll sends the chunks of many sessions, all at once, and completes half of them.
func (b *bench) sendAll(sessions []*rig.Session) {
	ctx := b.t.Context()
	var sending sync.WaitGroup
	for n, s := range sessions {
		for index := range s.Chunks() {
			sending.Go(func() {
				for range 2 { // the first may fail
					b.load.Send(ctx, s, index, 0, true)
				}
				if n%2 == 0 {
					b.load.Complete(ctx, s, nil, false)
				}
			})
		}
	}
	sending.Wait()
}
