package faults

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/crash/powerfs"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// Each operation that an upload is made of fails, once at each moment of it, and for ever.
func TestEveryOperationFails(t *testing.T) {
	b := newBench(t)
	calls := b.calls(func() {
		if !b.send(b.begin(true)) {
			t.Fatal("an upload that nothing fails is not published")
		}
	})
	for end := time.Now().Add(rig.Duration(t, 0)); ; {
		for _, op := range sortedOps(calls) {
			t.Run(string(op), func(t *testing.T) {
				b.t = t
				b.fail(op, calls[op])
			})
			if t.Failed() {
				return
			}
		}
		b.t = t
		b.finish()
		if time.Now().After(end) {
			break
		}
	}
}

// fail fails an operation in one upload after the other, and then cuts the power.
func (b *bench) fail(op powerfs.Op, calls int) {
	b.t.Helper()
	for _, errno := range b.someErrnos() {
		for _, after := range b.moments(calls) {
			s := b.begin(b.random.IntN(2) == 0)
			b.under(powerfs.Fault{Op: op, After: after, Times: 1, Errno: errno}, func() { b.send(s) })
		}
	}
	lasting := sortedErrnos()[b.random.IntN(len(errnos))]
	s := b.begin(true)
	b.under(powerfs.Fault{Op: op, Errno: lasting}, func() { b.send(s) })
	if rig.Nightly() || op.IsSync() || b.random.IntN(3) == 0 {
		b.cut()
		b.must(b.load.Retire(b.t.Context()))
	}
}

// Each operation that a removal is made of fails while sessions are removed: nothing else is
// lost, and in the end nothing is left of them.
func TestEveryOperationFailsWhileSessionsAreRemoved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	never := func() bool { return false }
	sessions := b.halfAndWhole()
	calls := b.calls(func() { b.remove(sessions, never) })
	// Syncs come last, and after them the power is not cut: a removal that could not be synced
	// comes back in parts then. That is told in the log, and nobody removes it.
	ops := sortedOps(calls)
	slices.SortStableFunc(ops, func(one, two powerfs.Op) int { return cmp.Compare(syncsLast(one), syncsLast(two)) })
	for _, op := range ops {
		t.Run(string(op), func(t *testing.T) {
			b.t = t
			for _, errno := range b.someErrnos() {
				sessions := b.halfAndWhole()
				failing := b.disk.Inject(powerfs.Fault{Op: op, After: b.random.IntN(calls[op]), Times: 1, Errno: errno})
				b.remove(sessions, func() bool { return failing.Hits() > 0 })
				failing.Remove()
				b.oracle.Faults.Add(int64(failing.Hits()))
				if op.IsSync() { // the volume may have failed by it
					b.kill()
					b.restart(powerfs.Fault{Op: op})
					b.must(b.load.Check(t.Context()))
				}
			}
			if !op.IsSync() {
				b.cut()
			}
		})
		if t.Failed() {
			return
		}
	}
	b.t = t
	b.finish()
}

func syncsLast(op powerfs.Op) int {
	if op.IsSync() {
		return 1
	}
	return 0
}

// halfAndWhole are a session that has a chunk and one that is published.
func (b *bench) halfAndWhole() []*rig.Session {
	b.t.Helper()
	half, whole := b.begin(false), b.begin(false)
	b.load.Send(b.t.Context(), half, 0, 0, true)
	b.send(whole)
	b.must(b.oracle.Err())
	return []*rig.Session{half, whole}
}

// remove deletes sessions, and waits until the dataplane has removed what it had of them, or
// enough has happened.
func (b *bench) remove(sessions []*rig.Session, enough func() bool) {
	b.t.Helper()
	for _, s := range sessions {
		b.must(b.load.Delete(b.t.Context(), s))
	}
	b.await("the sessions to be removed", func() bool {
		return enough() || b.isGone(sessions[0]) && b.isGone(sessions[1])
	})
}

// Each operation fails while the volume is opened and recovered: either the
// dataplane does not start, or it says nothing that is wrong.
func TestEveryOperationFailsAtStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.faultless()
	for _, op := range powerfs.Ops() {
		t.Run(string(op), func(t *testing.T) {
			b.t = t
			for _, errno := range b.someErrnos() {
				b.failStart(powerfs.Fault{Op: op, After: b.random.IntN(12), Times: 1 + b.random.IntN(20), Errno: errno})
			}
		})
		if t.Failed() {
			return
		}
	}
	b.t = t
	b.cut()
	b.finish()
}

// faultless makes a session in each state that there is.
func (b *bench) faultless() {
	b.t.Helper()
	b.send(b.begin(true))
	b.load.Send(b.t.Context(), b.begin(false), 1, 0, true)
	b.must(b.oracle.Err())
}

// failStart starts the dataplane while a fault is at work, asks it for
// everything, and does the same without the fault.
func (b *bench) failStart(f powerfs.Fault) {
	b.t.Helper()
	b.kill()
	b.under(f, func() {
		starting, stop := context.WithTimeout(b.t.Context(), 20*time.Second)
		defer stop()
		// A session that could not be read then is not served until the next start.
		// Of one that has ended the API server knows.
		b.allow(chunkapi.CodeInternal)
		b.allow(chunkapi.CodeSessionEnded)
		if err := b.dataplane.Start(starting); err == nil {
			b.must(b.load.Check(b.t.Context()))
		} else if starting.Err() != nil {
			b.t.Errorf("under %s it neither starts nor ends", f)
		}
	})
	b.kill()
	b.forgive()
	b.restart(f)
	b.look()
	b.must(b.load.Check(b.t.Context()))
}

// restart starts the dataplane after a fault. What a sync failed to make durable the kernel tells
// whoever syncs it next, once for each file: so long the dataplane may say so and end.
func (b *bench) restart(after powerfs.Fault) {
	b.t.Helper()
	err := b.dataplane.Start(b.t.Context())
	for again := 0; err != nil && after.Op.IsSync() && again < 3; again++ {
		err = b.dataplane.Start(b.t.Context())
	}
	b.must(err)
}
