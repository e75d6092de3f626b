package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// expire expires whatever is due and returns the IDs and causes, as "id cause".
func (r *rig) expire() []string {
	r.tb.Helper()
	return r.expireOf(session.Everyone)
}

func (r *rig) expireOf(choose session.Filter) []string {
	r.tb.Helper()
	expired, err := r.Expire(r.ctx, choose, causeOf)
	if err != nil {
		r.tb.Errorf("expire: %v", err)
	}
	var all []string
	for _, m := range expired {
		if m.State != session.Expired || !m.Settled {
			r.tb.Errorf("%s was expired and is %s, settled %v", m.ID, m.State, m.Settled)
		}
		all = append(all, fmt.Sprintf("%s %s", m.ID, m.Outcome))
	}
	slices.Sort(all)
	return all
}

func causeOf(_ session.Meta, c session.Cause) []byte { return []byte(c) }

func (r *rig) expectExpired(when string, want ...string) {
	r.tb.Helper()
	if got := r.expire(); !slices.Equal(got, want) {
		r.tb.Errorf("%s: expired are %v, want %v", when, got, want)
	}
}

// endings are the ways in which a session ends.
var endings = []struct {
	state session.State
	end   func(r *rig, id session.ID) error
}{
	{session.Finished, func(r *rig, id session.ID) error { return r.finish(id, session.Finished) }},
	{session.Failed, func(r *rig, id session.ID) error { return r.finish(id, session.Failed) }},
	{session.Aborted, func(r *rig, id session.ID) error { return r.Abort(r.ctx, id, session.Aborted, []byte("why")) }},
	{session.Failed, func(r *rig, id session.ID) error { return r.Abort(r.ctx, id, session.Failed, []byte("why")) }},
	{session.Expired, func(r *rig, _ session.ID) error {
		r.clock.Advance(time.Hour)
		_, err := r.Expire(r.ctx, session.Everyone, func(session.Meta, session.Cause) []byte { return []byte("why") })
		return err
	}},
}

func (r *rig) finish(id session.ID, state session.State) error {
	if err := r.Seal(id); err != nil {
		return err
	}
	return r.Finish(r.ctx, id, state, []byte("why"))
}

func TestSessionsEndOnce(t *testing.T) {
	for _, test := range endings {
		t.Run(string(test.state), func(t *testing.T) {
			r := newRig(t)
			r.begin("a", session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10, IdleTimeout: time.Hour})
			r.fill("a")
			if err := test.end(r, "a"); err != nil {
				t.Fatal(err)
			}
			at := r.clock.Now()
			for range 2 {
				m := r.get("a")
				if m.State != test.state || !m.Settled || string(m.Outcome) != "why" || !m.Ended.Equal(at) || m.HeldChunks != 1 {
					t.Errorf("it ended as %+v", m)
				}
				for what, err := range map[string]error{
					"Seal":  r.Seal("a"),
					"Abort": r.Abort(r.ctx, "a", session.Aborted, nil),
				} {
					expect(t, what, err, session.ErrEnded)
					var ended *session.EndedError
					if !errors.As(err, &ended) || ended.Meta.State != test.state || string(ended.Meta.Outcome) != "why" {
						t.Errorf("%s does not say how it ended: %v", what, err)
					}
				}
				expect(t, "Finish", r.Finish(r.ctx, "a", session.Finished, nil), session.ErrEnded)
				expect(t, "Unseal", r.Unseal("a"), session.ErrInvalid)
				expect(t, "Settle", r.Settle(r.ctx, "a"), nil)
				r.clock.Advance(24 * time.Hour)
				r.expectExpired("afterwards")

				body := bytes.NewReader(content(0, 10))
				_, err := r.PutChunk(r.ctx, "a", session.Incoming{Index: 0, Length: 10, Body: body})
				expect(t, "the same chunk", err, session.ErrEnded)
				if body.Len() != 10 {
					t.Errorf("%d bytes of it were read", 10-body.Len())
				}
				r.expectFreed("a")
				if n := r.CountActive(session.Everyone); n != 0 {
					t.Errorf("%d sessions are active", n)
				}
				r.crash()
			}
		})
	}
}

// What was held when a session ended is told after a restart too, though its ledger is gone.
func TestEndedSessionsTellWhatTheyHeld(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 45, ChunkSize: 10})
	r.clock.Advance(time.Second)
	r.mustPut("a", 1, content(1, 10))
	r.mustPut("a", 4, content(4, 5))
	active := r.clock.Now()
	r.clock.Advance(time.Minute)
	r.begin("empty", session.Spec{Size: 45, ChunkSize: 10})
	for _, id := range []session.ID{"a", "empty"} {
		if err := r.Abort(r.ctx, id, session.Aborted, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		m := r.get("a")
		if m.HeldChunks != 2 || m.HeldBytes != 15 || !m.LastActivity.Equal(active) || !m.Settled {
			t.Errorf("it held %d chunks of %d bytes, the last at %s, settled %v", m.HeldChunks, m.HeldBytes, m.LastActivity, m.Settled)
		}
		m, ranges, err := r.Missing("a", 10)
		if err != nil || len(ranges) > 0 || m.HeldChunks != 2 {
			t.Errorf("it misses %v, %d are held, %v", ranges, m.HeldChunks, err)
		}
		if m := r.get("empty"); m.HeldChunks != 0 || !m.LastActivity.IsZero() || !m.Settled {
			t.Errorf("the one without a chunk: %+v", m)
		}
		r.crash()
	}
}

// TestWhatAnOpenSessionLacksIsToBeSent asks while sessions end: what is known and what is missing belong together.
func TestWhatAnOpenSessionLacksIsToBeSent(t *testing.T) {
	r := newRig(t)
	for i := range 2000 {
		id := session.ID(fmt.Sprintf("s%d", i))
		r.begin(id, session.Spec{Size: 30, ChunkSize: 10})
		var ends sync.WaitGroup
		ends.Go(func() { _ = r.Abort(r.ctx, id, session.Aborted, nil) })
		for ended := false; !ended; {
			m, ranges, err := r.Missing(id, 10)
			if err != nil {
				t.Fatal(err)
			}
			if ended = m.State.Ended(); ended != (len(ranges) == 0) {
				t.Fatalf("it is %s and asks for %v", m.State, ranges)
			}
		}
		ends.Wait()
	}
}

func TestSealTakesWhatIsCompleteAndOpen(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 30, ChunkSize: 10, IdleTimeout: time.Hour, Deadline: r.clock.Now().Add(24 * time.Hour)})
	r.mustPut("a", 0, content(0, 10))
	r.mustPut("a", 2, content(2, 10))
	err := r.Seal("a")
	expect(t, "an incomplete session", err, session.ErrIncomplete)
	var incomplete *session.IncompleteError
	if !errors.As(err, &incomplete) || incomplete.Chunks != 1 || !slices.Equal(incomplete.Missing, []session.Range{{First: 1, Last: 1}}) {
		t.Errorf("it does not say what is missing: %+v", incomplete)
	}
	if got := r.get("a").State; got != session.Open {
		t.Errorf("what can't be sealed is %s", got)
	}
	for _, early := range []struct {
		what string
		err  error
	}{
		{"unsealing an open session", r.Unseal("a")},
		{"finishing an open session", r.Finish(r.ctx, "a", session.Finished, nil)},
		{"settling an open session", r.Settle(r.ctx, "a")},
		{"removing an open session", r.Remove(r.ctx, "a")},
	} {
		expect(t, early.what, early.err, session.ErrInvalid)
	}

	r.mustPut("a", 1, content(1, 10))
	if err := r.SetPaused(r.ctx, "a", true); err != nil {
		t.Fatal(err)
	}
	expect(t, "a paused session", r.Seal("a"), session.ErrPaused)
	if err := r.SetPaused(r.ctx, "a", false); err != nil {
		t.Fatal(err)
	}
	var won atomic.Int64
	var sealing sync.WaitGroup
	for range 20 {
		sealing.Go(func() {
			switch err := r.Seal("a"); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, session.ErrSealed):
				t.Error(err)
			}
		})
	}
	sealing.Wait()
	if won.Load() != 1 || r.get("a").State != session.Sealed {
		t.Errorf("%d of 20 sealed the session, which is %s", won.Load(), r.get("a").State)
	}

	expect(t, "aborting a sealed session", r.Abort(r.ctx, "a", session.Aborted, nil), session.ErrSealed)
	expect(t, "settling a sealed session", r.Settle(r.ctx, "a"), session.ErrInvalid)
	expect(t, "removing a sealed session", r.Remove(r.ctx, "a"), session.ErrInvalid)
	r.clock.Advance(48 * time.Hour)
	r.expectExpired("while it is sealed")
	if added, err := r.put("a", 1, content(1, 10)); err != nil || added {
		t.Errorf("the same chunk of a sealed session: added %v, %v", added, err)
	}

	if err := r.SetTimeouts(r.ctx, "a", time.Hour, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Unseal("a"); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(time.Hour - 1)
	r.expectExpired("the idle time stands still while it is sealed")
	if err := r.Seal("a"); err != nil {
		t.Errorf("sealing again: %v", err)
	}
	if err := r.Finish(r.ctx, "a", session.Finished, nil); err != nil {
		t.Error(err)
	}
}

func TestSessionsEndOnlyAsTheirKindOfEndAllows(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{ChunkSize: 1})
	for _, state := range []session.State{"", session.Open, session.Sealed, session.Finished, session.Expired, "Other"} {
		expect(t, "abort as "+string(state), r.Abort(r.ctx, "a", state, nil), session.ErrInvalid)
	}
	expect(t, "abort with an outcome too long", r.Abort(r.ctx, "a", session.Aborted, make([]byte, session.MaxPayload+1)), session.ErrInvalid)
	if err := r.Seal("a"); err != nil {
		t.Fatal(err)
	}
	for _, state := range []session.State{"", session.Open, session.Sealed, session.Expired, "Other"} {
		expect(t, "finish as "+string(state), r.Finish(r.ctx, "a", state, nil), session.ErrInvalid)
	}
	expect(t, "finish with an outcome too long", r.Finish(r.ctx, "a", session.Finished, make([]byte, session.MaxPayload+1)), session.ErrInvalid)
	if got := r.get("a").State; got != session.Sealed {
		t.Errorf("the session is %s", got)
	}
	if err := r.Finish(r.ctx, "a", session.Finished, make([]byte, session.MaxPayload)); err != nil {
		t.Errorf("finish with as long an outcome as may be: %v", err)
	}
}

func TestAbortEndsTheChunksInFlight(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 4 * chunkLength, ChunkSize: chunkLength})
	var writers []<-chan outcome
	for index := range 3 {
		body := newFeed()
		writers = append(writers, r.putting("a", body.incoming(index, chunkLength)))
		body.give(t, content(index, tiny))
		body.hang(t)
	}
	waiting := r.putting("a", incoming(0, content(9, chunkLength)))
	r.clock.awaitAfters(t, 1)
	storing := r.volume.hold("Commit")
	stored := r.putting("a", incoming(3, content(3, chunkLength)))
	receive(t, "the commit", storing.arrived)
	if got := r.get("a").InFlight; got != 4 {
		t.Errorf("%d chunks are in flight", got)
	}

	aborted := make(chan error, 1)
	go func() { aborted <- r.Abort(r.ctx, "a", session.Aborted, nil) }()
	for _, w := range append(writers, waiting) {
		got := receive(t, "a writer's end", w)
		expect(t, "a writer", got.err, session.ErrEnded)
	}
	_, err := r.put("a", 1, content(1, chunkLength))
	expect(t, "a chunk that comes meanwhile", err, session.ErrEnded)
	select {
	case err := <-aborted:
		t.Errorf("Abort did not wait for the chunk that is being stored: %v", err)
	default:
	}
	storing.open()
	if got := receive(t, "the stored chunk", stored); got.added || !errors.Is(got.err, session.ErrEnded) {
		t.Errorf("the chunk that was being stored: %+v", got)
	}
	expect(t, "Abort", receive(t, "its end", aborted), nil)
	r.expectFreed("a")
	if m := r.get("a"); m.InFlight != 0 || !m.Settled {
		t.Errorf("afterwards %d are in flight, settled %v", m.InFlight, m.Settled)
	}
}

// A client that sends a chunk again and hangs keeps nobody from finishing: its
// bytes are not needed.
func TestAHangingRepeatDoesNotHoldTheEndUp(t *testing.T) {
	for _, state := range []session.State{session.Finished, session.Failed} {
		t.Run(string(state), func(t *testing.T) {
			r := newRig(t)
			r.begin("a", session.Spec{Size: chunkLength, ChunkSize: chunkLength})
			r.fill("a")
			body := newFeed()
			repeat := r.putting("a", body.incoming(0, chunkLength))
			body.give(t, content(0, tiny))
			body.hang(t)
			finished := make(chan error, 1)
			go func() { finished <- r.finish("a", state) }()
			expect(t, "Finish", receive(t, "its end", finished), nil)
			r.expectFreed("a")
			if state == session.Failed {
				expect(t, "the repeat", receive(t, "its end", repeat).err, session.ErrEnded)
				return
			}
			body.give(t, content(0, chunkLength)[tiny:])
			body.end(t)
			if got := receive(t, "the repeat", repeat); got.err != nil || got.added {
				t.Errorf("the repeat: %+v", got)
			}
		})
	}
}

func TestRemoveDoesNotWaitForAHangingRepeat(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: chunkLength, ChunkSize: chunkLength})
	r.fill("a")
	body := newFeed()
	repeat := r.putting("a", body.incoming(0, chunkLength))
	body.hang(t)
	if err := r.finish("a", session.Finished); err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	go func() { removed <- r.Remove(r.ctx, "a") }()
	expect(t, "Remove", receive(t, "its end", removed), nil)
	if got := receive(t, "the repeat", repeat); got.err == nil {
		t.Error("a repeat that did not come whole is held")
	}
}

// A repeat that is let in just before the session finishes may find its bytes freed.
func TestARepeatThatMeetsTheEnd(t *testing.T) {
	for _, step := range []string{"Open", "Slot"} {
		t.Run(step, func(t *testing.T) {
			r := newRig(t)
			r.begin("a", session.Spec{Size: chunkLength, ChunkSize: chunkLength})
			r.fill("a")
			opening := r.volume.hold(step)
			body := bytes.NewReader(content(0, chunkLength))
			repeat := r.putting("a", session.Incoming{Index: 0, Length: chunkLength, Body: body})
			receive(t, "its look at the volume", opening.arrived)
			if err := r.finish("a", session.Finished); err != nil {
				t.Fatal(err)
			}
			opening.open()
			switch got := receive(t, "the repeat", repeat); {
			case got.added:
				t.Errorf("the repeat: %+v", got)
			case got.err != nil:
				expect(t, "the repeat", got.err, session.ErrEnded)
				if body.Len() != chunkLength {
					t.Errorf("%d bytes of it were read", chunkLength-body.Len())
				}
			}
		})
	}
}

func TestIdleSessionsExpire(t *testing.T) {
	begin := func(t *testing.T) *rig {
		t.Helper()
		r := newRig(t)
		r.begin("a", session.Spec{Owner: "o", Key: "k", Size: 40, ChunkSize: 10, IdleTimeout: time.Hour})
		return r
	}
	t.Run("from its beginning", func(t *testing.T) {
		r := begin(t)
		r.clock.Advance(time.Hour - 1)
		r.expectExpired("too early")
		r.clock.Advance(1)
		r.expectExpired("in time", "a Idle")
		r.expectExpired("again")
		r.expectFreed("a")
	})
	t.Run("from its last chunk", func(t *testing.T) {
		r := begin(t)
		for index := range 3 {
			r.clock.Advance(time.Hour - 1)
			r.mustPut("a", index, content(index, 10))
			r.expectExpired("after a chunk")
		}
		r.clock.Advance(time.Hour - 1)
		r.expectExpired("too early")
		r.clock.Advance(1)
		r.expectExpired("in time", "a Idle")
	})
	t.Run("from its last byte, also of a chunk that failed", func(t *testing.T) {
		r := begin(t)
		r.clock.Advance(time.Hour - 1)
		_, err := r.put("a", 0, content(0, 10)[:5])
		expect(t, "a wrong length", err, session.ErrLength)
		in := incoming(0, content(0, 10))
		in.Body = bytes.NewReader(content(0, 5))
		_, err = r.PutChunk(r.ctx, "a", in)
		expect(t, "a short body", err, session.ErrBody)
		r.clock.Advance(time.Hour - 1)
		r.expectExpired("too early")
		r.clock.Advance(1)
		r.expectExpired("in time", "a Idle")
	})
	t.Run("never with a chunk in flight", func(t *testing.T) {
		r := begin(t)
		r.clock.Advance(time.Hour - 1)
		body := newFeed()
		sending := r.putting("a", body.incoming(0, 10))
		body.hang(t)
		r.clock.Advance(24 * time.Hour)
		r.expectExpired("while it hangs")
		body.give(t, content(0, 10))
		body.end(t)
		if got := receive(t, "the chunk", sending); got.err != nil {
			t.Errorf("the chunk: %+v", got)
		}
		r.expectExpired("right after it")
		r.clock.Advance(time.Hour)
		r.expectExpired("in time", "a Idle")
	})
	t.Run("from when a chunk was accepted that took long to store", func(t *testing.T) {
		r := begin(t)
		storing := r.volume.hold("Commit")
		sending := r.putting("a", incoming(0, content(0, 10)))
		receive(t, "the commit", storing.arrived)
		r.clock.Advance(2 * time.Hour)
		storing.open()
		if got := receive(t, "the chunk", sending); got.err != nil {
			t.Errorf("the chunk: %+v", got)
		}
		r.expectExpired("right after it was accepted")
	})
	t.Run("from its restart", func(t *testing.T) {
		r := begin(t)
		r.clock.Advance(time.Hour - 1)
		r.crash()
		r.clock.Advance(time.Hour - 1)
		r.expectExpired("too early")
		r.clock.Advance(1)
		r.expectExpired("in time", "a Idle")
	})
	t.Run("not while it is paused", func(t *testing.T) {
		r := begin(t)
		r.clock.Advance(time.Hour - 1)
		if err := r.SetPaused(r.ctx, "a", true); err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(24 * time.Hour)
		r.expectExpired("while it is paused")
		for range 2 {
			if err := r.SetPaused(r.ctx, "a", false); err != nil {
				t.Fatal(err)
			}
			r.clock.Advance(time.Hour/2 - 1)
			r.expectExpired("too early") // and taking up what goes on changes nothing
		}
		r.clock.Advance(2)
		r.expectExpired("in time", "a Idle")
	})
	t.Run("not while it is paused, also after a restart", func(t *testing.T) {
		r := begin(t)
		if err := r.SetPaused(r.ctx, "a", true); err != nil {
			t.Fatal(err)
		}
		r.crash()
		r.clock.Advance(24 * time.Hour)
		r.expectExpired("while it is paused")
		_, err := r.put("a", 1, content(1, 10))
		expect(t, "a chunk", err, session.ErrPaused)
		if err := r.SetPaused(r.ctx, "a", false); err != nil {
			t.Fatal(err)
		}
		r.crash()
		r.mustPut("a", 1, content(1, 10))
	})
	t.Run("by a new timeout", func(t *testing.T) {
		r := begin(t)
		r.clock.Advance(time.Hour)
		if err := r.SetTimeouts(r.ctx, "a", 2*time.Hour, time.Time{}); err != nil {
			t.Fatal(err)
		}
		r.expectExpired("by the old one")
		if err := r.SetTimeouts(r.ctx, "a", 0, time.Time{}); err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(1000 * time.Hour)
		r.expectExpired("by none")
	})
}

func TestSessionsExpireAtTheirDeadline(t *testing.T) {
	r := newRig(t)
	deadline := r.clock.Now().Add(time.Hour)
	spec := session.Spec{Size: 40, ChunkSize: 10, Deadline: deadline}
	r.begin("a", spec)
	r.begin("paused", spec)
	if err := r.SetPaused(r.ctx, "paused", true); err != nil {
		t.Fatal(err)
	}
	r.begin("busy", spec)
	body := newFeed()
	sending := r.putting("busy", body.incoming(0, 10))
	body.hang(t)
	r.clock.Advance(time.Hour - 1)
	r.mustPut("a", 0, content(0, 10))
	r.expectExpired("too early")
	r.clock.Advance(1)
	r.expectExpired("in time", "a Deadline", "paused Deadline")
	body.give(t, content(0, 10))
	body.end(t)
	if got := receive(t, "the chunk in flight", sending); got.err != nil {
		t.Errorf("the chunk in flight: %+v", got)
	}
	r.expectExpired("the busy one, once it is not any more", "busy Deadline")
}

func TestNothingEntersAfterTheDeadline(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 40, ChunkSize: 10, Deadline: r.clock.Now().Add(time.Hour)})
	r.mustPut("a", 0, content(0, 10))
	body, other := newFeed(), newFeed()
	sending := r.putting("a", body.incoming(1, 10))
	body.hang(t)
	waiting := r.putting("a", other.incoming(1, 10)) // for the one before it
	r.clock.awaitAfters(t, 1)
	r.clock.Advance(time.Hour)
	for what, index := range map[string]int{"a new chunk": 2, "a repeat": 0} {
		in := bytes.NewReader(content(index, 10))
		_, err := r.PutChunk(r.ctx, "a", session.Incoming{Index: index, Length: 10, Body: in})
		expect(t, what, err, session.ErrDeadline)
		if in.Len() != 10 {
			t.Errorf("%d bytes of %s were read", 10-in.Len(), what)
		}
	}
	expect(t, "who waited", receive(t, "its end", waiting).err, session.ErrDeadline)

	// A sender that never falls silent has the grace, and no more.
	for range 9 {
		body.give(t, content(1, 1))
		body.hang(t)
		r.clock.Advance(deadlineGrace/9 - 1)
		r.expectExpired("within the grace")
	}
	r.clock.Advance(deadlineGrace)
	r.expectExpired("after the grace", "a Deadline")
	got := receive(t, "the end of what was under way", sending)
	expect(t, "what was under way", got.err, session.ErrEnded)
	r.expectFreed("a")
}

// A deadline may still be moved while the session has not expired.
func TestChunksEnterAgainWhenTheDeadlineIsMoved(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 40, ChunkSize: 10, Deadline: r.clock.Now().Add(time.Hour)})
	r.clock.Advance(time.Hour)
	_, err := r.put("a", 0, content(0, 10))
	expect(t, "after the deadline", err, session.ErrDeadline)
	if err := r.SetTimeouts(r.ctx, "a", 0, r.clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	r.mustPut("a", 0, content(0, 10))
}

func TestARepeatKeepsNoSessionAlive(t *testing.T) {
	for _, test := range []struct {
		what string
		spec session.Spec
		want string
	}{
		{"after its deadline", session.Spec{Deadline: newFakeClock().Now().Add(time.Hour)}, "a Deadline"},
		{"without a byte", session.Spec{IdleTimeout: time.Hour}, "a Idle"},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			test.spec.Size, test.spec.ChunkSize = 40, 10
			r.begin("a", test.spec)
			r.mustPut("a", 0, content(0, 10))
			body := newFeed()
			repeating := r.putting("a", body.incoming(0, 10))
			body.give(t, content(0, 10)[:5])
			body.hang(t)
			r.clock.Advance(time.Hour - 1)
			r.expectExpired("too early")
			r.clock.Advance(1)
			r.expectExpired("in time", test.want)
			expect(t, "the repeat", receive(t, "its end", repeating).err, session.ErrEnded)
		})
	}
}

// Attempts to finish are no activity: a session that can't be finished is not kept for ever.
func TestAttemptsToFinishKeepNoSessionAlive(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 10, ChunkSize: 10, IdleTimeout: time.Hour})
	r.fill("a")
	for range 6 {
		r.clock.Advance(10*time.Minute - 1)
		r.expectExpired("too early")
		if err := r.Seal("a"); err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(2 * time.Hour) // each takes its time, which is not idle
		if err := r.Unseal("a"); err != nil {
			t.Fatal(err)
		}
		r.expectExpired("right after an attempt")
	}
	r.clock.Advance(6)
	r.expectExpired("in time", "a Idle")
}

// What is complete is being published, and nobody is told that it is lost.
func TestARepeatOfASealedSessionEntersAfterTheDeadline(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 10, ChunkSize: 10, Deadline: r.clock.Now().Add(time.Hour)})
	r.fill("a")
	if err := r.Seal("a"); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(2 * time.Hour)
	if added, err := r.put("a", 0, content(0, 10)); err != nil || added {
		t.Errorf("the repeat: added %v, %v", added, err)
	}
}

func TestTheSessionsOfOneOwnerExpire(t *testing.T) {
	r := newRig(t)
	for _, id := range []session.ID{"ann-1", "ann-2", "bob-1"} {
		r.begin(id, session.Spec{Owner: string(id[:3]), Size: 10, ChunkSize: 10, IdleTimeout: time.Hour})
	}
	r.clock.Advance(time.Hour)
	if got := r.expireOf(session.OwnedBy("ann")); !slices.Equal(got, []string{"ann-1 Idle", "ann-2 Idle"}) {
		t.Errorf("of ann expired %v", got)
	}
	r.expectExpired("of all others", "bob-1 Idle")
}

// The time of a session is up when a chunk arrives: either the chunk is
// acknowledged and the session lives, or the session has expired.
func TestExpiryNeverTakesAChunkThatIsAcknowledged(t *testing.T) {
	const rounds = 100
	lived, expired := 0, 0
	r := newRig(t)
	for round := range rounds {
		id := session.ID(fmt.Sprintf("s%d", round))
		r.begin(id, session.Spec{Size: 2 * chunkLength, ChunkSize: chunkLength, IdleTimeout: time.Hour})
		r.clock.Advance(time.Hour)
		var racing sync.WaitGroup
		var acknowledged atomic.Int64
		for index := range 2 {
			racing.Go(func() {
				switch added, err := r.put(id, index, content(index, chunkLength)); {
				case err == nil && added:
					acknowledged.Add(1)
				case !errors.Is(err, session.ErrEnded):
					t.Errorf("added %v, %v", added, err)
				}
			})
		}
		racing.Go(func() {
			for range round % 7 {
				_ = r.get(id) // at another moment each time
			}
			for range 3 {
				if _, err := r.Expire(r.ctx, session.Everyone, causeOf); err != nil {
					t.Error(err)
				}
			}
		})
		racing.Wait()
		m := r.get(id)
		switch n := acknowledged.Load(); {
		case n == 2 && m.State == session.Open:
			lived++
			if !bytes.Equal(r.bytesOf(id), slices.Concat(content(0, chunkLength), content(1, chunkLength))) {
				t.Error("the bytes are not what was acknowledged")
			}
		case n == 0 && m.State == session.Expired:
			expired++
			r.expectFreed(id)
		default:
			t.Fatalf("%d chunks were acknowledged and the session is %s", n, m.State)
		}
		if m.State == session.Open {
			if err := r.Abort(r.ctx, id, session.Aborted, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d sessions lived, %d expired", lived, expired)
}

func TestExpireGoesOnWhenTheVolumeFails(t *testing.T) {
	r := newRig(t)
	for n := range 3 {
		r.begin(session.ID(fmt.Sprintf("s%d", n)), session.Spec{Size: 10, ChunkSize: 10, IdleTimeout: time.Hour})
	}
	r.clock.Advance(time.Hour)
	r.volume.failNext("SaveRecord", 1)
	expired, err := r.Expire(r.ctx, session.Everyone, causeOf)
	expect(t, "Expire", err, errBroken)
	settled := 0
	for _, m := range expired {
		if m.Settled {
			settled++
		}
		expect(t, "Settle", r.Settle(r.ctx, m.ID), nil)
		r.expectFreed(m.ID)
	}
	if len(expired) != 3 || settled != 2 {
		t.Errorf("%d expired, %d of them settled", len(expired), settled)
	}
}

// An end that the volume could not keep is an end all the same, and is settled later.
func TestWhatEndsWhileTheVolumeFailsIsSettledLater(t *testing.T) {
	for _, test := range endings {
		for _, broken := range []string{"SaveRecord", "Free"} {
			t.Run(fmt.Sprintf("%s, %s fails", test.state, broken), func(t *testing.T) {
				r := newRig(t)
				r.begin("a", session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10, IdleTimeout: time.Hour})
				r.fill("a")
				r.volume.failNext(broken, 2)
				expect(t, "the end", test.end(r, "a"), errBroken)
				expect(t, "Settle while it still fails", r.Settle(r.ctx, "a"), errBroken)
				if m := r.get("a"); m.State != test.state || m.Settled || m.Recorded != (broken == "Free") {
					t.Errorf("it is %s, recorded %v, settled %v", m.State, m.Recorded, m.Settled)
				}
				if _, err := r.FindPending("o", "k"); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("it is still found as pending: %v", err)
				}
				expect(t, "Settle", r.Settle(r.ctx, "a"), nil)
				for range 2 {
					if m := r.get("a"); m.State != test.state || !m.Settled || string(m.Outcome) != "why" {
						t.Errorf("it is %s, settled %v, outcome %q", m.State, m.Settled, m.Outcome)
					}
					r.expectFreed("a")
					r.crash()
				}
			})
		}
		t.Run(fmt.Sprintf("%s, the process dies before the bytes are freed", test.state), func(t *testing.T) {
			r := newRig(t)
			r.begin("a", session.Spec{Size: 10, ChunkSize: 10, IdleTimeout: time.Hour})
			r.fill("a")
			r.volume.failNext("Free", forEver)
			expect(t, "the end", test.end(r, "a"), errBroken)
			r.crash()
			if m := r.get("a"); m.State != test.state || !m.Recorded || m.Settled {
				t.Errorf("after a restart it is %s, recorded %v, settled %v", m.State, m.Recorded, m.Settled)
			}
			expect(t, "Settle", r.Settle(r.ctx, "a"), nil)
			r.expectFreed("a")
		})
	}
}

func TestRemoveForgets(t *testing.T) {
	for _, test := range endings {
		t.Run(string(test.state), func(t *testing.T) {
			r := newRig(t)
			spec := session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10, IdleTimeout: time.Hour}
			r.begin("a", spec)
			r.fill("a")
			if err := test.end(r, "a"); err != nil {
				t.Fatal(err)
			}
			r.volume.failNext("Remove", 1)
			expect(t, "while the volume fails", r.Remove(r.ctx, "a"), errBroken)
			if got := r.get("a").State; got != test.state {
				t.Errorf("a failure to remove it made it %s", got)
			}
			for range 2 {
				if err := r.Remove(r.ctx, "a"); err != nil {
					t.Fatal(err)
				}
				_, err := r.Get("a")
				expect(t, "the session", err, session.ErrNotFound)
				_, err = r.put("a", 0, content(0, 10))
				expect(t, "a chunk", err, session.ErrNotFound)
				r.crash()
			}
			if m, began, err := r.Begin(r.ctx, "b", spec); err != nil || !began {
				t.Errorf("another with its key: %+v, %v, %v", m, began, err)
			}
		})
	}
}

// What is finished is finished, and says so.
func TestFinishedSessionsAreNotPaused(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 10, ChunkSize: 10})
	r.fill("a")
	if err := r.Seal("a"); err != nil {
		t.Fatal(err)
	}
	if err := r.SetPaused(r.ctx, "a", true); err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(r.ctx, "a", session.Finished, nil); err != nil {
		t.Fatal(err)
	}
	_, err := r.put("a", 0, content(0, 10))
	expect(t, "the same chunk", err, session.ErrEnded)
}

func TestAnEndThatCouldNotBeStoredCanBeRemoved(t *testing.T) {
	r := newRig(t)
	spec := session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10}
	r.begin("a", spec)
	r.volume.failNext("SaveRecord", 1)
	expect(t, "the end", r.Abort(r.ctx, "a", session.Aborted, nil), errBroken)
	if err := r.Remove(r.ctx, "a"); err != nil {
		t.Fatal(err)
	}
	r.crash()
	_, err := r.Get("a")
	expect(t, "the session after a restart", err, session.ErrNotFound)
}

// Whoever ends a session does not fail because another removes it at once.
func TestRemoveMayFollowAnEndAtOnce(t *testing.T) {
	r := newRig(t)
	for round := range 100 {
		id := session.ID(fmt.Sprintf("s%d", round))
		r.begin(id, session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10})
		removed := make(chan error, 1)
		started := make(chan struct{})
		go func() {
			close(started)
			err := r.Remove(r.ctx, id)
			for errors.Is(err, session.ErrInvalid) { // it has not ended
				err = r.Remove(r.ctx, id)
			}
			removed <- err
		}()
		<-started
		if err := r.Abort(r.ctx, id, session.Aborted, nil); err != nil {
			t.Errorf("abort: %v", err)
		}
		expect(t, "remove", receive(t, "its end", removed), nil)
		_, err := r.Get(id)
		expect(t, "the session", err, session.ErrNotFound)
	}
}

// Ends of all kinds race for one session: one of them wins and the session ends so.
func TestOneEndWins(t *testing.T) {
	r := newRig(t)
	for round := range 40 {
		id := session.ID(fmt.Sprintf("s%d", round))
		r.begin(id, session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10, IdleTimeout: time.Hour})
		r.fill(id)
		r.clock.Advance(time.Hour)
		var (
			racing sync.WaitGroup
			mu     sync.Mutex
			won    []session.State
		)
		win := func(s session.State) {
			mu.Lock()
			defer mu.Unlock()
			won = append(won, s)
		}
		for range 2 {
			racing.Go(func() {
				if r.finish(id, session.Finished) == nil {
					win(session.Finished)
				}
			})
			racing.Go(func() {
				if r.Abort(r.ctx, id, session.Aborted, nil) == nil {
					win(session.Aborted)
				}
			})
			racing.Go(func() {
				expired, err := r.Expire(r.ctx, session.Everyone, causeOf)
				if err != nil {
					t.Error(err)
				}
				for range expired {
					win(session.Expired)
				}
			})
			racing.Go(func() {
				for {
					m, err := r.FindPending("o", "k")
					if err != nil {
						return
					}
					if m.State.Ended() {
						t.Errorf("%s is found as pending and is %s", m.ID, m.State)
					}
				}
			})
		}
		racing.Wait()
		if m := r.get(id); len(won) != 1 || won[0] != m.State || !m.Settled {
			t.Fatalf("%v won and the session is %s, settled %v", won, m.State, m.Settled)
		}
	}
}
