package sinktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// background is the context of all calls but those that test contexts.
var background = context.Background()

// Run tests that the sinks which open opens keep the promises of
// session.ByteSink and, where they publish, of session.Publisher.
func Run(t *testing.T, open Opener) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Create", creation},
		{"Staged", stagedBytes},
		{"Ledger", ledgers},
		{"Record", records},
		{"End", ends},
		{"Recover", recovery},
		{"Space", spaces},
		{"Publish", publication},
		{"Withdraw", withdrawal},
		{"List", listings},
		{"Context", contexts},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, one := range group.tests {
				t.Run(one.name, func(t *testing.T) { one.run(newPlace(t, open)) })
			}
		})
	}
}

// test tests one sentence on a new place.
type test struct {
	name string
	run  func(p *place)
}

// sizes are the shapes of a session: size and chunk size.
var sizes = [][2]int64{{0, 1}, {1, 1}, {1, 100}, {100, 100}, {101, 100}, {99, 100}, {4097, 7}, {300_000, 65_536}}

// eachSize runs a test with a session of every shape.
func eachSize(run func(p *place, r session.Record)) func(p *place) {
	return func(p *place) {
		for i, size := range sizes {
			run(p, record(session.ID(fmt.Sprintf("size-%d", i)), size[0], size[1]))
		}
	}
}

// afterEach runs a test with each way to restart.
func afterEach(run func(p *place, restart func(p *place))) func(p *place) {
	return func(p *place) {
		for _, name := range slices.Sorted(maps.Keys(restarts)) {
			p.t.Run(name, func(t *testing.T) { run(newPlace(t, p.open), restarts[name]) })
		}
	}
}

var creation = []test{
	{"a new session is recovered as it was created", afterEach(func(p *place, restart func(p *place)) {
		eachSize(func(p *place, r session.Record) { p.create(r) })(p)
		restart(p)
		found, failed := p.recover()
		if len(found) != len(sizes) || len(failed) > 0 {
			p.t.Fatalf("recovered %d sessions of %d, failed %v", len(found), len(sizes), failed)
		}
		for i, size := range sizes {
			want := record(session.ID(fmt.Sprintf("size-%d", i)), size[0], size[1])
			got := found[want.ID]
			sameRecord(p, got.Record, want)
			if !got.HasBytes || !got.LastCommit.IsZero() || len(got.Held) != want.Spec.Chunks() || slices.Contains(got.Held, true) {
				p.t.Errorf("a new session is recovered as %+v", got)
			}
		}
	})},
	{"new bytes are zero and of the size", eachSize(func(p *place, r session.Record) {
		p.create(r)
		staged, err := p.Sink.Open(background, r.ID)
		p.must(err)
		defer func() { p.must(staged.Close()) }()
		got, err := io.ReadAll(io.NewSectionReader(staged, 0, r.Spec.Size+1))
		p.must(err)
		if int64(len(got)) != r.Spec.Size || slices.ContainsFunc(got, func(b byte) bool { return b != 0 }) {
			p.t.Errorf("size %d: read %d bytes, or not all are zero", r.Spec.Size, len(got))
		}
	})},
	{"an ID that exists is refused and harmed in nothing", func(p *place) {
		r := record("twice", 300, 100)
		p.create(r, 1)
		other := record("twice", 10, 5)
		p.wants(p.Sink.Create(background, other), session.ErrExists)
		p.holds(r.ID, r.Spec, 1)
		sameRecord(p, p.recovered(r.ID).Record, r)
	}},
	{"of concurrent creations of one ID one wins", func(p *place) {
		for round := range 10 {
			id := session.ID(fmt.Sprintf("race-%d", round))
			errs := make([]error, 8)
			concurrently(len(errs), func(i int) { errs[i] = p.Sink.Create(background, record(id, int64(i+1)*1000, 100)) })
			winner := -1
			for i, err := range errs {
				switch {
				case err != nil:
					p.wants(err, session.ErrExists)
				case winner >= 0:
					p.t.Fatalf("both %d and %d created session %s", winner, i, id)
				default:
					winner = i
				}
			}
			if winner < 0 {
				p.t.Fatalf("nobody created session %s: %v", id, errs)
			}
			want := record(id, int64(winner+1)*1000, 100)
			p.must(fill(p.Sink, id, want.Spec, all(want.Spec)...))
			sameRecord(p, p.recovered(id).Record, want)
		}
	}},
	{"concurrent creations do not disturb one another", func(p *place) {
		concurrently(20, func(i int) {
			r := record(session.ID(fmt.Sprintf("c%d", i)), 1000, 100)
			if err := p.Sink.Create(background, r); err != nil {
				p.t.Error(err)
			}
		})
		if found, failed := p.recover(); len(found) != 20 || len(failed) > 0 {
			p.t.Errorf("recovered %d sessions of 20, failed %v", len(found), failed)
		}
	}},
	{"what breaks a bound is refused and leaves nothing", func(p *place) {
		bad := map[string]session.Record{
			"id above":    record("..", 10, 5),
			"id path":     record("a/b", 10, 5),
			"id empty":    record("", 10, 5),
			"size":        record("a", -1, 5),
			"chunk size":  record("a", 10, 0),
			"many chunks": record("a", session.MaxChunks+1, 1),
			"large":       record("a", session.MaxSize+1, session.MaxSize),
		}
		for name, r := range bad {
			p.t.Run(name, func(t *testing.T) {
				if err := p.Sink.Create(background, r); err == nil {
					t.Error("it is created")
				}
			})
		}
		if found, failed := p.recover(); len(found)+len(failed) > 0 {
			p.t.Errorf("left: %v %v", found, failed)
		}
	}},
	{"more than the volume has is refused and leaves nothing", func(p *place) {
		space, err := p.Sink.Space(background)
		p.must(err)
		if space.Free >= session.MaxSize {
			p.t.Skip("the volume takes the largest session")
		}
		p.wants(p.Sink.Create(background, record("huge", session.MaxSize, session.MaxSize/1000)), session.ErrNoSpace)
		if found, failed := p.recover(); len(found)+len(failed) > 0 {
			p.t.Errorf("left: %v %v", found, failed)
		}
	}},
}

var stagedBytes = []test{
	{"written bytes are read again", eachSize(func(p *place, r session.Record) {
		p.createFull(r)
		p.holds(r.ID, r.Spec, all(r.Spec)...)
	})},
	{"one open session sees what another wrote", func(p *place) {
		r := record("shared", 200, 100)
		p.create(r)
		reader, err := p.Sink.Open(background, r.ID)
		p.must(err)
		defer func() { p.must(reader.Close()) }()
		p.must(fill(p.Sink, r.ID, r.Spec, 1))
		p.must(chunkIs(reader, r.ID, r.Spec, 1, slotOf(content(r.ID, r.Spec, 1))))
	}},
	{"writes and commits outside of the session are refused", func(p *place) {
		r := record("bounds", 150, 100)
		p.create(r)
		staged, err := p.Sink.Open(background, r.ID)
		p.must(err)
		defer func() { p.must(staged.Close()) }()
		for _, at := range []int64{-1, 150, 101, 1 << 62} {
			if _, err := staged.WriteAt(make([]byte, 50), at); err == nil {
				p.t.Errorf("50 bytes at %d are written", at)
			}
			if err := staged.Commit(background, 1, at, session.Slot{Length: 50}); err == nil {
				p.t.Errorf("50 bytes at %d are committed", at)
			}
		}
		for _, index := range []int{-1, 2} {
			if err := staged.Commit(background, index, 0, session.Slot{Length: 50}); err == nil {
				p.t.Errorf("chunk %d is committed", index)
			}
			if _, _, err := p.Sink.Slot(background, r.ID, index); err == nil {
				p.t.Errorf("chunk %d has a slot", index)
			}
		}
		p.holds(r.ID, r.Spec)
		if !p.recovered(r.ID).HasBytes {
			p.t.Error("the session lost its bytes")
		}
	}},
	{"what is not there can't be opened", func(p *place) {
		_, err := p.Sink.Open(background, "nobody")
		p.wants(err, session.ErrNotFound)
		_, _, err = p.Sink.Slot(background, "nobody", 0)
		p.wants(err, session.ErrNotFound)
		p.wants(p.Sink.SaveRecord(background, record("nobody", 1, 1)), session.ErrNotFound)
	}},
	{"chunks are committed concurrently", afterEach(func(p *place, restart func(p *place)) {
		r := record("parallel", 64*1000-1, 1000)
		p.create(r)
		shared, err := p.Sink.Open(background, r.ID)
		p.must(err)
		concurrently(r.Spec.Chunks(), func(index int) {
			var err error
			if index%2 == 0 {
				err = commit(shared, r.ID, r.Spec, index)
			} else {
				err = fill(p.Sink, r.ID, r.Spec, index)
			}
			if err != nil {
				p.t.Error(err)
			}
		})
		p.must(shared.Close())
		restart(p)
		if got := p.recovered(r.ID); slices.Contains(got.Held, false) {
			p.t.Errorf("held: %v", got.Held)
		}
		p.holds(r.ID, r.Spec, all(r.Spec)...)
	})},
}

var ledgers = []test{
	{"committed chunks are held, written ones are not", afterEach(func(p *place, restart func(p *place)) {
		r := record("some", 950, 100)
		before := time.Now()
		p.create(r, 3, 9, 0)
		staged, err := p.Sink.Open(background, r.ID)
		p.must(err)
		_, err = staged.WriteAt(content(r.ID, r.Spec, 5), 500)
		p.must(err)
		p.must(staged.Close())
		restart(p)
		got := p.recovered(r.ID)
		want := make([]bool, 10)
		want[0], want[3], want[9] = true, true, true
		if !slices.Equal(got.Held, want) {
			p.t.Errorf("held: %v, want %v", got.Held, want)
		}
		if got.LastCommit.Before(before.Add(-2*time.Second)) || got.LastCommit.After(time.Now().Add(2*time.Second)) {
			p.t.Errorf("last commit at %s, the test began at %s", got.LastCommit, before)
		}
		p.holds(r.ID, r.Spec, 0, 3, 9)
	})},
	{"a chunk committed again is held with its new bytes", func(p *place) {
		r := record("again", 200, 100)
		p.create(r, 0)
		p.must(fill(p.Sink, r.ID, r.Spec, 0))
		p.holds(r.ID, r.Spec, 0)
	}},
	{"a torn slot is an absent chunk", func(p *place) {
		r := record("torn", 300, 100)
		p.create(r, 0, 1, 2)
		for i := range session.SlotSize * 8 {
			flip := func(slot []byte) { slot[i/8] ^= 1 << (i % 8) }
			p.must(p.EditSlot(r.ID, 1, flip))
			if _, held, err := p.Sink.Slot(background, r.ID, 1); err != nil || held {
				p.t.Errorf("bit %d: held is %t, error %v", i, held, err)
			}
			if got := p.recovered(r.ID); !slices.Equal(got.Held, []bool{true, false, true}) {
				p.t.Errorf("bit %d: recovered as %v", i, got.Held)
			}
			p.must(p.EditSlot(r.ID, 1, flip))
		}
		p.holds(r.ID, r.Spec, 0, 1, 2)
		p.must(p.EditSlot(r.ID, 1, func(slot []byte) { clear(slot[session.SlotSize/2:]) }))
		p.holds(r.ID, r.Spec, 0, 2)
		p.must(fill(p.Sink, r.ID, r.Spec, 1))
		p.holds(r.ID, r.Spec, 0, 1, 2)
	}},
	{"a slot counts only in its own place", func(p *place) {
		r, other := record("own", 200, 100), record("other", 200, 100)
		p.create(r, 0)
		p.create(other, 1)
		var stored []byte
		p.must(p.EditSlot(r.ID, 0, func(slot []byte) { stored = slices.Clone(slot) }))
		p.must(p.EditSlot(r.ID, 1, func(slot []byte) { copy(slot, stored) }))
		p.must(p.EditSlot(other.ID, 0, func(slot []byte) { copy(slot, stored) }))
		p.holds(r.ID, r.Spec, 0)
		p.holds(other.ID, other.Spec, 1)
	}},
}

var records = []test{
	{"a record is replaced", afterEach(func(p *place, restart func(p *place)) {
		r := record("saved", 200, 100)
		p.create(r, 1)
		for i, outcome := range [][]byte{[]byte("done"), make([]byte, session.MaxPayload), nil} {
			r.State, r.Ended, r.Outcome = session.Finished, r.Created.Add(time.Duration(i)), outcome
			r.Spec.IdleTimeout += time.Second
			p.must(p.Sink.SaveRecord(background, r))
			restart(p)
			sameRecord(p, p.recovered(r.ID).Record, r)
		}
		p.holds(r.ID, r.Spec, 1)
	})},
	{"concurrent replacements leave one of them", func(p *place) {
		r := record("saved", 200, 100)
		p.create(r)
		concurrently(16, func(i int) {
			one := r
			one.Outcome = make([]byte, i*1000)
			for range 20 {
				if err := p.Sink.SaveRecord(background, one); err != nil {
					p.t.Error(err)
				}
			}
		})
		if got := p.recovered(r.ID); len(got.Outcome)%1000 != 0 {
			p.t.Errorf("recovered with an outcome of %d bytes", len(got.Outcome))
		}
	}},
	{"an ended session keeps its record without its bytes", func(p *place) {
		r := record("ended", 200, 100)
		p.create(r, 0)
		p.must(p.Sink.Free(background, r.ID))
		r.State, r.HeldChunks, r.HeldBytes, r.LastActivity = session.Aborted, 1, 100, r.Created
		p.must(p.Sink.SaveRecord(background, r))
		sameRecord(p, p.recovered(r.ID).Record, r)
	}},
}

var ends = []test{
	{"freed bytes and slots are gone, the record stays", afterEach(func(p *place, restart func(p *place)) {
		eachSize(func(p *place, r session.Record) {
			p.createFull(r)
			r.State = session.Aborted
			p.must(p.Sink.SaveRecord(background, r))
			for range 2 {
				p.must(p.Sink.Free(background, r.ID))
			}
		})(p)
		restart(p)
		eachSize(func(p *place, r session.Record) {
			got := p.recovered(r.ID)
			r.State = session.Aborted
			sameRecord(p, got.Record, r)
			if got.HasBytes || len(got.Held) != r.Spec.Chunks() || slices.Contains(got.Held, true) {
				p.t.Errorf("a freed session is recovered as %+v", got)
			}
			_, err := p.Sink.Open(background, r.ID)
			p.wants(err, session.ErrNotFound)
			for _, index := range all(r.Spec) {
				if _, held, err := p.Sink.Slot(background, r.ID, index); err != nil || held {
					p.t.Errorf("slot %d of a freed session: held %t, %v", index, held, err)
				}
			}
			p.must(p.Sink.Free(background, r.ID))
		})(p)
	})},
	{"a removed session is gone", afterEach(func(p *place, restart func(p *place)) {
		r, stays := record("removed", 200, 100), record("stays", 200, 100)
		p.createFull(r)
		p.create(stays, 0)
		for range 2 {
			p.must(p.Sink.Remove(background, r.ID))
			_, err := p.Sink.Open(background, r.ID)
			p.wants(err, session.ErrNotFound)
			_, _, err = p.Sink.Slot(background, r.ID, 0)
			p.wants(err, session.ErrNotFound)
			p.wants(p.Sink.SaveRecord(background, r), session.ErrNotFound)
		}
		restart(p)
		if found, failed := p.recover(); len(found) != 1 || len(failed) > 0 {
			p.t.Errorf("recovered %v, failed %v", found, failed)
		}
		p.holds(stays.ID, stays.Spec, 0)
	})},
	{"a freed session is removed too", func(p *place) {
		r := record("freed", 200, 100)
		p.createFull(r)
		p.must(p.Sink.Free(background, r.ID))
		p.must(p.Sink.Remove(background, r.ID))
		if found, failed := p.recover(); len(found)+len(failed) > 0 {
			p.t.Errorf("left: %v %v", found, failed)
		}
	}},
	{"what was never there is removed without error", func(p *place) {
		p.must(p.Sink.Remove(background, "nobody"))
	}},
	{"sessions come and go concurrently", func(p *place) {
		concurrently(8, func(i int) {
			for round := range 5 {
				r := record(session.ID(fmt.Sprintf("s%d-%d", i, round)), 1000, 300)
				steps := []func() error{
					func() error { return p.Sink.Create(background, r) },
					func() error { return fill(p.Sink, r.ID, r.Spec, all(r.Spec)...) },
					func() error { return p.Sink.Free(background, r.ID) },
					func() error { return p.Sink.Remove(background, r.ID) },
				}
				for step, run := range steps[:len(steps)-round%2] {
					if err := run(); err != nil {
						p.t.Errorf("session %s, step %d: %v", r.ID, step, err)
					}
				}
			}
		})
		if found, failed := p.recover(); len(found) != 16 || len(failed) > 0 {
			p.t.Errorf("recovered %d sessions of 16, failed %v", len(found), failed)
		}
	}},
}

var recovery = []test{
	{"an empty volume has no sessions", afterEach(func(p *place, restart func(p *place)) {
		restart(p)
		if found, failed := p.recover(); len(found)+len(failed) > 0 {
			p.t.Errorf("found %v, failed %v", found, failed)
		}
	})},
	{"a damaged session is an error with its ID and stays, the others are recovered", afterEach(func(p *place, restart func(p *place)) {
		for _, id := range []session.ID{"a", "b", "c"} {
			p.create(record(id, 200, 100), 1)
		}
		p.must(p.DamageRecord("b"))
		for range 2 {
			restart(p)
			found, failed := p.recover()
			if len(found) != 2 || len(failed) != 1 || failed["b"] == nil {
				p.t.Fatalf("found %v, failed %v", found, failed)
			}
		}
		p.wants(p.Sink.Create(background, record("b", 10, 5)), session.ErrExists)
		p.holds("a", record("a", 200, 100).Spec, 1)
		p.must(p.Sink.Remove(background, "b"))
		if _, failed := p.recover(); len(failed) > 0 {
			p.t.Errorf("after its removal: %v", failed)
		}
	})},
	{"it can be broken off", func(p *place) {
		p.create(record("a", 1, 1))
		p.create(record("b", 1, 1))
		for _, err := range p.Sink.Recover(background) {
			p.must(err)
			break
		}
		p.recovered("a")
	}},
}

var spaces = []test{
	{"it is told and not more than there is", func(p *place) {
		before, err := p.Sink.Space(background)
		p.must(err)
		if before.Free < 0 || before.Total <= 0 || before.Free > before.Total {
			p.t.Fatalf("space is %+v", before)
		}
	}},
}

var contexts = []test{
	{"nothing is done once the context is", func(p *place) {
		r := record("done", 200, 100)
		p.create(r, 0)
		staged, err := p.Sink.Open(background, r.ID)
		p.must(err)
		defer func() { p.must(staged.Close()) }()
		ctx, cancel := context.WithCancel(background)
		cancel()
		ended := r
		ended.State = session.Aborted
		_, openErr := p.Sink.Open(ctx, r.ID)
		_, _, slotErr := p.Sink.Slot(ctx, r.ID, 0)
		_, spaceErr := p.Sink.Space(ctx)
		errs := map[string]error{
			"Create":     p.Sink.Create(ctx, record("never", 1, 1)),
			"Open":       openErr,
			"Slot":       slotErr,
			"SaveRecord": p.Sink.SaveRecord(ctx, ended),
			"Free":       p.Sink.Free(ctx, r.ID),
			"Remove":     p.Sink.Remove(ctx, r.ID),
			"Space":      spaceErr,
			"Commit":     staged.Commit(ctx, 1, 100, session.Slot{Length: 100}),
		}
		errs["Recover"] = nil
		for _, err := range p.Sink.Recover(ctx) {
			errs["Recover"] = err
		}
		if publisher, ok := p.Sink.(session.Publisher); ok {
			_, publishedErr := publisher.Published(ctx, r.ID, "name")
			_, objectErr := publisher.OpenObject(ctx, "name")
			errs["Publish"] = publisher.Publish(ctx, r.ID, "name", true, nil)
			errs["Published"] = publishedErr
			_, errs["Identify"] = publisher.Identify(ctx, r.ID)
			_, errs["Withdraw"] = publisher.Withdraw(ctx, "name", "identity")
			errs["Lookup"] = publisher.Lookup(ctx, "name")
			errs["OpenObject"] = objectErr
			_, errs["List"] = publisher.List(ctx, session.ListQuery{Limit: 1})
			p.must(publisher.Lookup(background, "name"))
		}
		for method, err := range errs {
			if !errors.Is(err, context.Canceled) {
				p.t.Errorf("%s: got error %v, want %v", method, err, context.Canceled)
			}
		}
		if found, _ := p.recover(); len(found) != 1 {
			p.t.Errorf("sessions: %v", found)
		}
		sameRecord(p, p.recovered(r.ID).Record, r)
		p.holds(r.ID, r.Spec, 0)
	}},
}

func sameRecord(p *place, got, want session.Record) {
	p.t.Helper()
	for _, times := range [][2]*time.Time{{&got.Created, &want.Created}, {&got.Ended, &want.Ended}, {&got.Spec.Deadline, &want.Spec.Deadline}} {
		if times[0].Equal(*times[1]) {
			*times[0] = *times[1]
		}
	}
	if !reflect.DeepEqual(got, want) {
		p.t.Errorf("record is\n%+v, want\n%+v", got, want)
	}
}

// concurrently runs n functions at once and waits for all.
func concurrently(n int, run func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { run(i) })
	}
	wg.Wait()
}
