package session_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/slipway-dev/slipway/dataplane/session"
)

const modelChecks = "25" // in a normal run; -rapid.checks says otherwise

// modelSession is all that matters of a session.
type modelSession struct {
	spec     session.Spec
	state    session.State
	paused   bool
	held     map[int]int // which content each chunk has
	idleFrom time.Time
	outcome  string
}

func (m *modelSession) clone() *modelSession {
	c := *m
	c.held = maps.Clone(m.held)
	return &c
}

// restarted is what is left of a session after a restart.
func (m *modelSession) restarted(now time.Time) *modelSession {
	c := m.clone()
	c.idleFrom = now
	if c.state == session.Sealed {
		c.state = session.Open
	}
	return c
}

func (m *modelSession) bytes(index int) []byte {
	_, length, _ := m.spec.Extent(index) // the model holds no other
	return content(10*index+m.held[index], length)
}

func (m *modelSession) end(state session.State, outcome string) {
	m.state, m.outcome, m.paused = state, outcome, false
}

// late reports whether the deadline has passed.
func (m *modelSession) late(now time.Time) bool {
	return !m.spec.Deadline.IsZero() && !now.Before(m.spec.Deadline)
}

func (m *modelSession) cause(now time.Time) session.Cause {
	switch {
	case m.state != session.Open:
		return ""
	case m.late(now):
		return session.Deadline
	case m.spec.IdleTimeout > 0 && !m.paused && now.Sub(m.idleFrom) >= m.spec.IdleTimeout:
		return session.Idle
	}
	return ""
}

type model map[session.ID]*modelSession

func (m model) clone() model {
	c := model{}
	for id, s := range m {
		c[id] = s.clone()
	}
	return c
}

func (m model) pending(owner, key string) session.ID {
	for id, s := range m {
		if key != "" && s.spec.Owner == owner && s.spec.Key == key && !s.state.Ended() {
			return id
		}
	}
	return ""
}

// machine runs the service and the model side by side.
type machine struct {
	*rig
	t     *rapid.T
	model model
}

var (
	someIDs    = rapid.SampledFrom([]session.ID{"a", "b", "c", "d"})
	someSpecs  = rapid.Custom(drawSpec)
	sometimes  = rapid.Map(rapid.IntRange(0, 9), func(n int) bool { return n == 9 })
	cutAfter   = rapid.IntRange(0, 6)
	someIdle   = rapid.SampledFrom([]time.Duration{0, time.Hour, 2 * time.Hour})
	someWaits  = rapid.SampledFrom([]time.Duration{time.Nanosecond, 30 * time.Minute, time.Hour, 3 * time.Hour})
	someStates = rapid.SampledFrom([]session.State{session.Finished, session.Failed})
)

func drawSpec(t *rapid.T) session.Spec {
	return session.Spec{
		Owner: rapid.SampledFrom([]string{"o", "p"}).Draw(t, "owner"),
		Key:   rapid.SampledFrom([]string{"", "k", "l"}).Draw(t, "key"),
		Size:  rapid.SampledFrom([]int64{0, 1, 40, 100}).Draw(t, "size"), ChunkSize: 40,
		IdleTimeout: someIdle.Draw(t, "idle"),
	}
}

// step does one operation on the service. f changes the model as the operation
// should and returns the error that it should return. Now and then the power is
// cut meanwhile: then what was acknowledged has happened, and the rest of it may have.
func (m *machine) step(operation func() error, f func(model) error) {
	before, after := m.model, m.model.clone()
	want := f(after)
	cut := sometimes.Draw(m.t, "power cut")
	if cut {
		m.volume.cutAfter(cutAfter.Draw(m.t, "after calls"))
	}
	err := operation()
	if !cut {
		m.model = after
		if !errors.Is(err, want) {
			m.t.Fatalf("want %v, got %v", want, err)
		}
		return
	}
	m.crash()
	possible := []model{before, after}
	if err == nil {
		possible = possible[1:]
	}
	m.adopt(possible)
}

// adopt takes as the model of each session after a restart the one of the possible that it is.
func (m *machine) adopt(possible []model) {
	now := m.clock.Now()
	m.model = model{}
	for _, id := range []session.ID{"a", "b", "c", "d"} {
		var mismatch string
		for _, p := range possible {
			var s *modelSession
			if p[id] != nil {
				s = p[id].restarted(now)
			}
			if mismatch = m.differs(id, s); mismatch == "" {
				if s != nil {
					m.model[id] = s
				}
				break
			}
		}
		if mismatch != "" {
			m.t.Fatalf("after a restart: %s", mismatch)
		}
		if s := m.model[id]; s != nil && s.state.Ended() {
			if err := m.Settle(m.ctx, id); err != nil {
				m.t.Fatalf("settle %s after a restart: %v", id, err)
			}
		}
	}
}

// differs says how a session differs from its model.
func (m *machine) differs(id session.ID, want *modelSession) string {
	got, err := m.Get(id)
	if want == nil {
		if !errors.Is(err, session.ErrNotFound) {
			return "session " + string(id) + " is there"
		}
		return ""
	}
	switch {
	case err != nil:
		return "session " + string(id) + " is not there"
	case got.State != want.state, got.Paused != want.paused, string(got.Outcome) != want.outcome:
		return string(id) + " is " + string(got.State) + ", not " + string(want.state)
	case got.HeldChunks != len(want.held):
		return string(id) + " holds another number of chunks"
	case got.Spec.IdleTimeout != want.spec.IdleTimeout, !got.Spec.Deadline.Equal(want.spec.Deadline):
		return string(id) + " has other timeouts"
	}
	chunks, err := m.Chunks(id)
	if err != nil {
		return err.Error()
	}
	for c := range chunks {
		if _, held := want.held[c.Index]; !held {
			return string(id) + " holds another chunk"
		}
	}
	return ""
}

// check compares all that can be seen with the model.
func (m *machine) check(t *rapid.T) {
	m.t = t
	active := 0
	for id, s := range m.model {
		if !s.state.Ended() {
			active++
		}
		if why := m.differs(id, s); why != "" {
			t.Fatal(why)
		}
		meta, _, err := m.Missing(id, 10)
		if err != nil || meta.HeldChunks != len(s.held) {
			t.Fatalf("%s holds %d, %v", id, meta.HeldChunks, err)
		}
		opened, err := m.OpenStaged(m.ctx, id)
		if s.state.Ended() {
			if !errors.Is(err, session.ErrNotFound) {
				t.Fatalf("%s is %s and its bytes are not freed: %v", id, s.state, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("open %s: %v", id, err)
		}
		for index := range s.held {
			offset, length, _ := s.spec.Extent(index)
			b := make([]byte, length)
			if _, err := opened.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(b, s.bytes(index)) {
				t.Fatalf("chunk %d of %s is not what was acknowledged: %v", index, id, err)
			}
		}
		if err := opened.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.CountActive(session.Everyone); n != active {
		t.Fatalf("%d sessions are active, want %d", n, active)
	}
	for _, owner := range []string{"o", "p"} {
		for _, key := range []string{"k", "l"} {
			got, err := m.FindPending(owner, key)
			if want := m.model.pending(owner, key); got.ID != want || (err == nil) != (want != "") {
				t.Fatalf("pending of %s with %s: %q, %v, want %q", owner, key, got.ID, err, want)
			}
		}
	}
}

func (m *machine) begin(*rapid.T) {
	id, spec := someIDs.Draw(m.t, "id"), someSpecs.Draw(m.t, "spec")
	same := func(s *modelSession) error {
		if s.spec.Owner != spec.Owner || s.spec.Key != spec.Key || s.spec.Size != spec.Size {
			return session.ErrConflict
		}
		return nil
	}
	m.step(func() error {
		_, _, err := m.Begin(m.ctx, id, spec)
		return err
	}, func(to model) error {
		if s := to[id]; s != nil {
			return same(s)
		}
		if twin := to.pending(spec.Owner, spec.Key); twin != "" {
			return same(to[twin])
		}
		to[id] = &modelSession{spec: spec, state: session.Open, held: map[int]int{}, idleFrom: m.clock.Now()}
		return nil
	})
}

func (m *machine) put(*rapid.T) {
	id := someIDs.Draw(m.t, "id")
	index := rapid.IntRange(-1, 3).Draw(m.t, "index")
	variant := rapid.IntRange(0, 1).Draw(m.t, "content")
	flaw := rapid.SampledFrom([]string{"", "", "", "short", "check", "commit"}).Draw(m.t, "flaw")
	length := int64(40)
	if s := m.model[id]; s != nil {
		if _, l, err := s.spec.Extent(index); err == nil {
			length = l
		}
	}
	in := incoming(index, content(10*max(index, 0)+variant, length))
	switch flaw {
	case "short":
		in.Body = io.LimitReader(in.Body, length-1)
	case "check":
		in.Checks = []session.Check{sha256Check(sha256Of(nil))}
	case "commit":
		m.volume.failNext("Commit", 1)
	}
	defer m.volume.failNext("Commit", 0)
	m.step(func() error {
		_, err := m.PutChunk(m.ctx, id, in)
		return err
	}, func(to model) error {
		s := to[id]
		if s == nil {
			return session.ErrNotFound
		}
		if index < 0 || index >= s.spec.Chunks() {
			return session.ErrInvalid
		}
		if s.state.Ended() {
			return session.ErrEnded
		}
		if s.paused {
			return session.ErrPaused
		}
		if s.state == session.Open && s.late(m.clock.Now()) {
			return session.ErrDeadline
		}
		s.idleFrom = m.clock.Now()
		held, isHeld := s.held[index]
		switch {
		case flaw == "short":
			return session.ErrBody
		case flaw == "check":
			return session.ErrMismatch
		case isHeld && held != variant:
			return session.ErrConflict
		case isHeld:
			return nil
		case flaw == "commit":
			return errBroken
		}
		s.held[index] = variant
		return nil
	})
}

func (m *machine) seal(*rapid.T) {
	id := someIDs.Draw(m.t, "id")
	m.step(func() error { return m.Seal(id) }, func(to model) error {
		s := to[id]
		switch {
		case s == nil:
			return session.ErrNotFound
		case s.state.Ended():
			return session.ErrEnded
		case s.state == session.Sealed:
			return session.ErrSealed
		case s.paused:
			return session.ErrPaused
		case len(s.held) < s.spec.Chunks():
			return session.ErrIncomplete
		}
		s.state = session.Sealed
		return nil
	})
}

func (m *machine) unseal(*rapid.T) {
	id := someIDs.Draw(m.t, "id")
	m.step(func() error { return m.Unseal(id) }, func(to model) error {
		s := to[id]
		switch {
		case s == nil:
			return session.ErrNotFound
		case s.state != session.Sealed:
			return session.ErrInvalid
		}
		s.state, s.idleFrom = session.Open, m.clock.Now()
		return nil
	})
}

func (m *machine) finish(*rapid.T) {
	id, state := someIDs.Draw(m.t, "id"), someStates.Draw(m.t, "state")
	m.step(func() error { return m.Finish(m.ctx, id, state, []byte("finish")) }, func(to model) error {
		s := to[id]
		switch {
		case s == nil:
			return session.ErrNotFound
		case s.state.Ended():
			return session.ErrEnded
		case s.state != session.Sealed:
			return session.ErrInvalid
		}
		s.end(state, "finish")
		return nil
	})
}

func (m *machine) abort(*rapid.T) {
	id := someIDs.Draw(m.t, "id")
	m.step(func() error { return m.Abort(m.ctx, id, session.Aborted, []byte("abort")) }, func(to model) error {
		s := to[id]
		switch {
		case s == nil:
			return session.ErrNotFound
		case s.state.Ended():
			return session.ErrEnded
		case s.state == session.Sealed:
			return session.ErrSealed
		}
		s.end(session.Aborted, "abort")
		return nil
	})
}

func (m *machine) pause(*rapid.T) {
	id, paused := someIDs.Draw(m.t, "id"), rapid.Bool().Draw(m.t, "paused")
	m.step(func() error { return m.SetPaused(m.ctx, id, paused) }, func(to model) error {
		s := to[id]
		switch {
		case s == nil:
			return session.ErrNotFound
		case s.state.Ended():
			return session.ErrEnded
		}
		if s.paused && !paused {
			s.idleFrom = m.clock.Now()
		}
		s.paused = paused
		return nil
	})
}

func (m *machine) setTimeouts(*rapid.T) {
	id, idle := someIDs.Draw(m.t, "id"), someIdle.Draw(m.t, "idle")
	var deadline time.Time
	if rapid.Bool().Draw(m.t, "with a deadline") {
		deadline = m.clock.Now().Add(time.Hour)
	}
	m.step(func() error { return m.SetTimeouts(m.ctx, id, idle, deadline) }, func(to model) error {
		s := to[id]
		switch {
		case s == nil:
			return session.ErrNotFound
		case s.state.Ended():
			return session.ErrEnded
		}
		s.spec.IdleTimeout, s.spec.Deadline = idle, deadline
		return nil
	})
}

func (m *machine) expire(*rapid.T) {
	m.step(func() error {
		_, err := m.Expire(m.ctx, session.Everyone, causeOf)
		return err
	}, func(to model) error {
		for _, s := range to {
			if cause := s.cause(m.clock.Now()); cause != "" {
				s.end(session.Expired, string(cause))
			}
		}
		return nil
	})
}

func (m *machine) remove(*rapid.T) {
	id := someIDs.Draw(m.t, "id")
	m.step(func() error { return m.Remove(m.ctx, id) }, func(to model) error {
		if s := to[id]; s != nil && !s.state.Ended() {
			return session.ErrInvalid
		}
		delete(to, id)
		return nil
	})
}

func (m *machine) wait(*rapid.T) { m.clock.Advance(someWaits.Draw(m.t, "for")) }

func (m *machine) restart(*rapid.T) {
	m.crash()
	m.adopt([]model{m.model})
}

// Whatever is done in whatever order, and wherever the power is cut, the
// service is what a trivial model says.
func TestTheServiceIsItsModel(t *testing.T) {
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if !set["rapid.checks"] {
		if err := flag.Set("rapid.checks", modelChecks); err != nil {
			t.Fatal(err)
		}
	}
	roots := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		root, err := os.MkdirTemp(roots, "")
		if err != nil {
			rt.Fatal(err)
		}
		m := &machine{
			rig: &rig{tb: t, ctx: t.Context(), root: root, clock: newFakeClock()},
			t:   rt, model: model{},
		}
		m.config = session.Config{Clock: m.clock, Checksum: newHash, TakeOverAfter: takeOverAfter, BlockSize: tiny}
		m.start()
		defer func() { m.volume.cut() }()
		actions := map[string]func(*rapid.T){
			"begin": m.begin, "put": m.put, "seal": m.seal, "unseal": m.unseal, "finish": m.finish, "abort": m.abort,
			"pause": m.pause, "set timeouts": m.setTimeouts, "expire": m.expire, "remove": m.remove, "wait": m.wait,
			"restart": m.restart, "": m.check,
		}
		for _, again := range []string{"2", "3", "4"} { // drawn more often, as in life
			actions["begin "+again], actions["put "+again], actions["seal "+again] = m.begin, m.put, m.seal
		}
		rt.Repeat(actions)
	})
}
