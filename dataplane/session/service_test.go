package session_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

func TestBeginIsIdempotent(t *testing.T) {
	base := session.Spec{Owner: "o", Key: "k", Size: 100, ChunkSize: 10, Payload: []byte("p"), IdleTimeout: time.Hour}
	with := func(change func(*session.Spec)) session.Spec {
		spec := base
		change(&spec)
		return spec
	}
	for _, test := range []struct {
		what string
		id   session.ID
		spec session.Spec
		want error
	}{
		{"the same again", "first", base, nil},
		{"another idle timeout", "first", with(func(s *session.Spec) { s.IdleTimeout = 0 }), nil},
		{"another deadline", "first", with(func(s *session.Spec) { s.Deadline = time.Unix(1, 0) }), nil},
		{"another ID, the same owner and key", "second", base, nil},

		{"another size", "first", with(func(s *session.Spec) { s.Size++ }), session.ErrConflict},
		{"another chunk size", "first", with(func(s *session.Spec) { s.ChunkSize++ }), session.ErrConflict},
		{"another payload", "first", with(func(s *session.Spec) { s.Payload = nil }), session.ErrConflict},
		{"another owner", "first", with(func(s *session.Spec) { s.Owner = "x" }), session.ErrConflict},
		{"another key", "first", with(func(s *session.Spec) { s.Key = "x" }), session.ErrConflict},
		{"another ID and size, the same owner and key", "second", with(func(s *session.Spec) { s.Size++ }), session.ErrConflict},
		{"an ID that can't be", "../first", base, session.ErrInvalid},
		{"a spec that can't be", "first", with(func(s *session.Spec) { s.Size = -1 }), session.ErrInvalid},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", test.what, restart), func(t *testing.T) {
				r := newRig(t)
				first, began, err := r.Begin(r.ctx, "first", base)
				if err != nil || !began || first.State != session.Open || first.ID != "first" {
					t.Fatalf("the first time: %+v, began %v, %v", first, began, err)
				}
				if restart {
					r.crash()
				}
				got, began, err := r.Begin(r.ctx, test.id, test.spec)
				expect(t, "again", err, test.want)
				if began {
					t.Error("another session began")
				}
				if err == nil && (got.ID != "first" || got.Spec.IdleTimeout != time.Hour || !got.Spec.Deadline.IsZero()) {
					t.Errorf("want the first as it was, got %+v", got)
				}
				if n := r.CountActive(session.Everyone); n != 1 {
					t.Errorf("%d sessions are active", n)
				}
			})
		}
	}
}

func TestBeginWithoutAKeyHasNoTwin(t *testing.T) {
	r := newRig(t)
	spec := session.Spec{Owner: "o", Size: 10, ChunkSize: 10}
	for _, id := range []session.ID{"a", "b"} {
		if m, began, err := r.Begin(r.ctx, id, spec); err != nil || !began || m.ID != id {
			t.Errorf("%s: %+v, began %v, %v", id, m, began, err)
		}
	}
	_, err := r.FindPending("o", "")
	expect(t, "find by no key", err, session.ErrNotFound)
}

func TestTheSameKeyOfAnotherOwnerIsAnotherSession(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Owner: "o", Key: "k", ChunkSize: 1})
	if m := r.begin("b", session.Spec{Owner: "p", Key: "k", ChunkSize: 1}); m.ID != "b" {
		t.Errorf("found %s", m.ID)
	}
}

func TestAnEndedSessionIsFoundByItsIDAndNotByItsKey(t *testing.T) {
	r := newRig(t)
	spec := session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10}
	r.begin("a", spec)
	if err := r.Abort(r.ctx, "a", session.Aborted, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if m, began, err := r.Begin(r.ctx, "a", spec); err != nil || began || m.State != session.Aborted {
			t.Errorf("by its ID: %+v, began %v, %v", m, began, err)
		}
		_, err := r.FindPending("o", "k")
		expect(t, "by its key", err, session.ErrNotFound)
		r.crash()
	}
	if m, began, err := r.Begin(r.ctx, "b", spec); err != nil || !began || m.ID != "b" {
		t.Errorf("another with its key: %+v, began %v, %v", m, began, err)
	}
	if m, err := r.FindPending("o", "k"); err != nil || m.ID != "b" {
		t.Errorf("by the key is found %s, %v", m.ID, err)
	}
}

func TestManyBeginOneSession(t *testing.T) {
	for _, test := range []struct {
		what string
		id   func(caller int) session.ID
	}{
		{"with one ID", func(int) session.ID { return "one" }},
		{"with one key", func(caller int) session.ID { return session.ID(fmt.Sprintf("id-%d", caller)) }},
		{"with a few IDs and one key", func(caller int) session.ID { return session.ID(fmt.Sprintf("id-%d", caller%3)) }},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			var (
				began   atomic.Int64
				ids     sync.Map
				calling sync.WaitGroup
			)
			for caller := range 50 {
				calling.Go(func() {
					m, isNew, err := r.Begin(r.ctx, test.id(caller), session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10})
					if err != nil {
						t.Errorf("caller %d: %v", caller, err)
					}
					ids.Store(m.ID, true)
					if isNew {
						began.Add(1)
					}
				})
			}
			calling.Wait()
			found := 0
			ids.Range(func(_, _ any) bool { found++; return true })
			if began.Load() != 1 || found != 1 || r.volume.count("Create") != 1 {
				t.Errorf("%d began, %d IDs were returned, %d were created", began.Load(), found, r.volume.count("Create"))
			}
		})
	}
}

func TestWhoWaitsForABeginThatFailsBeginsItself(t *testing.T) {
	for what, second := range map[string]session.ID{"with the same ID": "a", "with the same key": "b"} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			spec := session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10}
			r.volume.failNext("Create", 1)
			creating := r.volume.hold("Create")
			first, next := make(chan error, 1), make(chan error, 1)
			go func() {
				_, _, err := r.Begin(r.ctx, "a", spec)
				first <- err
			}()
			receive(t, "the first creation", creating.arrived)

			impatient, cancel := context.WithCancel(t.Context())
			cancel()
			_, _, err := r.Begin(impatient, second, spec)
			expect(t, "who does not wait", err, context.Canceled)

			go func() {
				_, began, err := r.Begin(r.ctx, second, spec)
				if !began {
					t.Error("the second did not begin")
				}
				next <- err
			}()
			creating.open()
			expect(t, "the first", receive(t, "its end", first), errBroken)
			expect(t, "the second", receive(t, "its end", next), nil)
			if m, err := r.FindPending("o", "k"); err != nil || m.ID != second {
				t.Errorf("by the key is found %q, %v", m.ID, err)
			}
		})
	}
}

func TestAVolumeWithoutRoomBeginsNothing(t *testing.T) {
	r := newRig(t)
	_, _, err := r.Begin(r.ctx, "a", session.Spec{Size: session.MaxSize, ChunkSize: session.MaxSize})
	expect(t, "a session larger than the volume", err, session.ErrNoSpace)
	_, err = r.Get("a")
	expect(t, "the session", err, session.ErrNotFound)
	r.crash()
	_, err = r.Get("a")
	expect(t, "the session after a restart", err, session.ErrNotFound)
	r.begin("a", session.Spec{Size: 10, ChunkSize: 10})
}

func TestSessionsAreCountedAndListedByOwner(t *testing.T) {
	r := newRig(t)
	for n := range 6 {
		owner := []string{"ann", "bob", "ann"}[n%3]
		r.begin(session.ID(fmt.Sprintf("s%d", n)), session.Spec{Owner: owner, Key: fmt.Sprint(n), ChunkSize: 1})
	}
	if err := r.Abort(r.ctx, "s0", session.Aborted, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, test := range []struct {
			what    string
			choose  session.Filter
			active  int
			ids     []session.ID
			pending string
		}{
			{"everyone", session.Everyone, 5, []session.ID{"s0", "s1", "s2", "s3", "s4", "s5"}, ""},
			{"ann", session.OwnedBy("ann"), 3, []session.ID{"s0", "s2", "s3", "s5"}, ""},
			{"bob", session.OwnedBy("bob"), 2, []session.ID{"s1", "s4"}, ""},
			{"nobody", session.OwnedBy(""), 0, nil, ""},
		} {
			var ids []session.ID
			for m := range r.All(test.choose) {
				ids = append(ids, m.ID)
			}
			slices.Sort(ids)
			if n := r.CountActive(test.choose); n != test.active || !slices.Equal(ids, test.ids) {
				t.Errorf("%s: %d active of %v, want %d of %v", test.what, n, ids, test.active, test.ids)
			}
		}
		if m, err := r.FindPending("bob", "4"); err != nil || m.ID != "s4" {
			t.Errorf("bob's session with key 4: %s, %v", m.ID, err)
		}
		_, err := r.FindPending("ann", "4")
		expect(t, "ann's session with key 4", err, session.ErrNotFound)
		for range r.All(session.Everyone) {
			break // who stops early is not called again
		}
		r.crash()
	}
}

func TestWhatIsHeldIsTold(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 95, ChunkSize: 10})
	for _, index := range []int{9, 0, 1, 5} {
		_, length, err := r.get("a").Spec.Extent(index)
		if err != nil {
			t.Fatal(err)
		}
		r.mustPut("a", index, content(index, length))
	}
	want := []session.Chunk{{0, 0, 10}, {1, 10, 10}, {5, 50, 10}, {9, 90, 5}}
	for range 2 {
		chunks, err := r.Chunks("a")
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(chunks); !slices.Equal(got, want) {
			t.Errorf("held are %v, want %v", got, want)
		}
		for range chunks {
			break
		}
		m, ranges, err := r.Missing("a", 1)
		if missing := m.Spec.Chunks() - m.HeldChunks; err != nil || missing != 6 || !slices.Equal(ranges, []session.Range{{First: 2, Last: 4}}) {
			t.Errorf("missing are %v, %d are held, %v", ranges, m.HeldChunks, err)
		}
		err = r.VerifyComplete("a")
		expect(t, "complete", err, session.ErrIncomplete)
		if !strings.Contains(err.Error(), "6 chunks are missing, the first is chunk 2") {
			t.Errorf("the error says %q", err)
		}
		if m := r.get("a"); m.HeldChunks != 4 || m.HeldBytes != 35 || m.Complete() {
			t.Errorf("%d chunks with %d bytes are held", m.HeldChunks, m.HeldBytes)
		}
		r.crash()
	}
}

func TestNothingIsKnownOfAnUnknownSession(t *testing.T) {
	r := newRig(t)
	_, err := r.Get("a")
	expect(t, "Get", err, session.ErrNotFound)
	_, err = r.Chunks("a")
	expect(t, "Chunks", err, session.ErrNotFound)
	_, _, err = r.Missing("a", 1)
	expect(t, "Missing", err, session.ErrNotFound)
	_, err = r.OpenStaged(r.ctx, "a")
	expect(t, "OpenStaged", err, session.ErrNotFound)
	_, err = r.FindPending("o", "k")
	expect(t, "FindPending", err, session.ErrNotFound)
	for what, err := range map[string]error{
		"VerifyComplete": r.VerifyComplete("a"),
		"SetTimeouts":    r.SetTimeouts(r.ctx, "a", 0, time.Time{}),
		"SetPaused":      r.SetPaused(r.ctx, "a", true),
		"Seal":           r.Seal("a"),
		"Unseal":         r.Unseal("a"),
		"Finish":         r.Finish(r.ctx, "a", session.Finished, nil),
		"Abort":          r.Abort(r.ctx, "a", session.Aborted, nil),
		"Settle":         r.Settle(r.ctx, "a"),
	} {
		expect(t, what, err, session.ErrNotFound)
	}
}

func TestTimeoutsAreDurable(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 10, ChunkSize: 10, IdleTimeout: time.Minute})
	deadline := r.clock.Now().Add(time.Hour)
	if err := r.SetTimeouts(r.ctx, "a", 2*time.Minute, deadline); err != nil {
		t.Fatal(err)
	}
	expect(t, "a negative idle timeout", r.SetTimeouts(r.ctx, "a", -1, time.Time{}), session.ErrInvalid)
	for range 2 {
		if spec := r.get("a").Spec; spec.IdleTimeout != 2*time.Minute || !spec.Deadline.Equal(deadline) {
			t.Errorf("timeouts are %s and %s", spec.IdleTimeout, spec.Deadline)
		}
		r.crash()
	}
	saved := r.volume.count("SaveRecord")
	elsewhere := deadline.In(time.FixedZone("elsewhere", 3600))
	for _, same := range []time.Time{deadline, elsewhere, deadline} {
		if err := r.SetTimeouts(r.ctx, "a", 2*time.Minute, same); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.volume.count("SaveRecord") - saved; n != 0 {
		t.Errorf("setting what is set stored %d records", n)
	}
	if err := r.Abort(r.ctx, "a", session.Aborted, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "of an ended session", r.SetTimeouts(r.ctx, "a", 0, time.Time{}), session.ErrEnded)
	expect(t, "pausing an ended session", r.SetPaused(r.ctx, "a", true), session.ErrEnded)
}

func TestTimeoutsThatCouldNotBeStoredAreStoredNextTime(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 10, ChunkSize: 10})
	r.volume.failNext("SaveRecord", 1)
	expect(t, "while the volume fails", r.SetTimeouts(r.ctx, "a", time.Hour, time.Time{}), errBroken)
	if err := r.SetTimeouts(r.ctx, "a", time.Hour, time.Time{}); err != nil {
		t.Fatal(err)
	}
	r.crash()
	if got := r.get("a").Spec.IdleTimeout; got != time.Hour {
		t.Errorf("after a restart the idle timeout is %s", got)
	}
}

// A failure says nothing of what is stored: here it is the new record.
func TestTimeoutsAreSetBackAfterAFailure(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 10, ChunkSize: 10, IdleTimeout: time.Minute})
	r.volume.failAfterNext("SaveRecord", 1)
	expect(t, "the new one", r.SetTimeouts(r.ctx, "a", time.Hour, time.Time{}), errBroken)
	if err := r.SetTimeouts(r.ctx, "a", time.Minute, time.Time{}); err != nil {
		t.Fatal(err)
	}
	r.crash()
	if got := r.get("a").Spec.IdleTimeout; got != time.Minute {
		t.Errorf("after a restart the idle timeout is %s", got)
	}
}

func TestSpaceDoesNotChangeWhileSessionsComeAndGo(t *testing.T) {
	r := newRig(t)
	const size = 64 << 20
	free := func() int64 {
		space, err := r.Space(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if space.Total < space.Free {
			t.Errorf("of %d bytes %d are free", space.Total, space.Free)
		}
		return space.Free
	}
	near := func(what string, got, want int64) {
		t.Helper()
		// Others use the volume too.
		if diff := got - want; diff < -size/2 || diff > size/2 {
			t.Errorf("%s: %d bytes are free, %d before", what, got, want)
		}
	}
	before := free()
	r.begin("a", session.Spec{Size: size, ChunkSize: size})
	near("with a session", free(), before)
	r.crash()
	near("with a recovered session", free(), before)
	if err := r.Abort(r.ctx, "a", session.Aborted, nil); err != nil {
		t.Fatal(err)
	}
	near("with an ended session", free(), before)
	r.volume.failNext("Space", 1)
	_, err := r.Space(r.ctx)
	expect(t, "while the volume fails", err, errBroken)
}

func TestEverythingIsRecovered(t *testing.T) {
	r := newRig(t)
	spec := session.Spec{
		Owner: "o", Key: "open", Size: 25, ChunkSize: 10, Payload: []byte{0, 1, 0xff},
		IdleTimeout: time.Hour, Deadline: r.clock.Now().Add(24 * time.Hour),
	}
	r.begin("open", spec)
	r.mustPut("open", 2, content(2, 5))
	r.mustPut("open", 0, content(0, 10))
	if _, err := r.put("open", 1, content(1, 9)); err == nil {
		t.Fatal("a short chunk was taken")
	}
	if err := r.SetPaused(r.ctx, "open", true); err != nil {
		t.Fatal(err)
	}
	r.begin("empty", session.Spec{Owner: "o", Key: "empty", ChunkSize: 1})
	for _, id := range []session.ID{"sealed", "finished", "failed"} {
		r.begin(id, session.Spec{Owner: "o", Key: string(id), Size: 10, ChunkSize: 10})
		r.fill(id)
		if err := r.Seal(id); err != nil {
			t.Fatal(err)
		}
	}
	r.begin("aborted", session.Spec{Owner: "o", Key: "aborted", Size: 10, ChunkSize: 10})
	r.begin("expired", session.Spec{Owner: "x", Key: "expired", Size: 10, ChunkSize: 10, IdleTimeout: 1})
	r.clock.Advance(time.Minute)
	for what, err := range map[string]error{
		"finish": r.Finish(r.ctx, "finished", session.Finished, []byte("good")),
		"fail":   r.Finish(r.ctx, "failed", session.Failed, []byte("bad")),
		"abort":  r.Abort(r.ctx, "aborted", session.Aborted, []byte("enough")),
	} {
		expect(t, what, err, nil)
	}
	if expired := r.expire(); len(expired) != 1 {
		t.Fatalf("expired: %v", expired)
	}
	before := map[session.ID]session.Meta{}
	for m := range r.All(session.Everyone) {
		before[m.ID] = m
	}

	r.crash()
	after := map[session.ID]session.Meta{}
	for m := range r.All(session.Everyone) {
		after[m.ID] = m
	}
	if len(after) != len(before) {
		t.Errorf("%d of %d sessions were recovered", len(after), len(before))
	}
	for id, was := range before {
		is := after[id]
		state := was.State
		if state == session.Sealed {
			state = session.Open
		}
		if is.State != state || is.Paused != was.Paused || is.HeldChunks != was.HeldChunks || is.HeldBytes != was.HeldBytes ||
			is.Settled != was.Settled || !bytes.Equal(is.Outcome, was.Outcome) ||
			!is.Created.Equal(was.Created) || !is.Ended.Equal(was.Ended) || is.LastActivity.IsZero() != was.LastActivity.IsZero() {
			t.Errorf("before %+v\nafter %+v", was, is)
		}
		if is.Spec.Owner != was.Spec.Owner || is.Spec.Key != was.Spec.Key || is.Spec.Size != was.Spec.Size ||
			is.Spec.ChunkSize != was.Spec.ChunkSize || is.Spec.IdleTimeout != was.Spec.IdleTimeout ||
			!is.Spec.Deadline.Equal(was.Spec.Deadline) || !bytes.Equal(is.Spec.Payload, was.Spec.Payload) {
			t.Errorf("spec before %+v\nafter %+v", was.Spec, is.Spec)
		}
		found, err := r.FindPending(was.Spec.Owner, was.Spec.Key)
		if pending := err == nil && found.ID == id; pending == was.State.Ended() {
			t.Errorf("%s, which is %s: found pending %v", id, is.State, pending)
		}
		if is.State.Ended() {
			r.expectFreed(id)
		}
	}
	if got := r.bytesOf("open"); !bytes.Equal(got[:10], content(0, 10)) || !bytes.Equal(got[20:], content(2, 5)) {
		t.Error("the bytes that were acknowledged are not there")
	}
	if err := r.SetPaused(r.ctx, "open", false); err != nil {
		t.Fatal(err)
	}
	r.mustPut("open", 1, content(1, 10))
	if err := r.Seal("sealed"); err != nil {
		t.Errorf("who finishes sessions looks at it anew: %v", err)
	}
}

func TestADamagedSessionDoesNotHideTheOthers(t *testing.T) {
	for _, text := range []string{"", "{", "null", `{"id":"other"}`, "\x00\x00\x00"} {
		r := newRig(t)
		for _, id := range []session.ID{"a", "damaged", "z"} {
			r.begin(id, session.Spec{Key: string(id), Size: 10, ChunkSize: 10})
			r.fill(id)
		}
		r.volume.cut()
		r.overwrite(r.recordFile("damaged"), text)
		err := r.tryStart()
		if err == nil || !strings.Contains(err.Error(), `"damaged"`) {
			t.Errorf("record %q: want an error that names the session, got %v", text, err)
		}
		for _, id := range []session.ID{"a", "z"} {
			if m, err := r.Get(id); err != nil || !m.Complete() {
				t.Errorf("record %q: session %s is %+v, %v", text, id, m, err)
			}
		}
		_, err = r.Get("damaged")
		expect(t, "the damaged session", err, session.ErrNotFound)
		_, err = r.FindPending("", "damaged")
		expect(t, "the damaged session by its key", err, session.ErrNotFound)
		_, _, err = r.Begin(r.ctx, "damaged", session.Spec{Size: 10, ChunkSize: 10})
		expect(t, "to begin it anew", err, session.ErrExists)
	}
}

// A session that ended while the volume failed is open again after a restart,
// and its key may belong to a newer one by then.
func TestOfTwoPendingSessionsWithOneKeyTheNewerIsFound(t *testing.T) {
	for _, ids := range [][]session.ID{{"a", "b"}, {"b", "a"}} {
		r := newRig(t)
		spec := session.Spec{Owner: "o", Key: "k", Size: 10, ChunkSize: 10}
		r.begin(ids[0], spec)
		r.volume.failNext("SaveRecord", 1)
		expect(t, "the first one's end", r.Abort(r.ctx, ids[0], session.Aborted, nil), errBroken)
		r.clock.Advance(time.Second)
		r.begin(ids[1], spec)
		for range 2 {
			if m, err := r.FindPending("o", "k"); err != nil || m.ID != ids[1] {
				t.Errorf("want %s, got %s, %v", ids[1], m.ID, err)
			}
			r.crash()
		}
	}
}
