package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// VerifyComplete returns nil where every chunk is held, or else an
// *IncompleteError that says which are missing. ErrNotFound.
func (s *Service) VerifyComplete(id ID) error {
	l, err := s.find(id)
	if err != nil {
		return err
	}
	return l.verifyComplete()
}

func (l *live) verifyComplete() error {
	m, ranges := l.missing(MaxReportedRanges)
	if missing := m.Spec.Chunks() - m.HeldChunks; missing > 0 {
		return &IncompleteError{Missing: ranges, Chunks: missing}
	}
	return nil
}

// Seal claims an open session that is complete for finishing, so that of
// several callers one gets nil and nobody aborts or expires it meanwhile.
// Nothing is stored: after a restart the session is open. ErrNotFound,
// ErrIncomplete, ErrPaused, ErrSealed where another call has it, ErrEnded.
func (s *Service) Seal(id ID) error {
	l, err := s.find(id)
	if err != nil {
		return err
	}
	return l.change(func(h *head) error {
		switch {
		case h.state.Ended():
			return &EndedError{Meta: l.metaOf(h)}
		case h.state == Sealed:
			return ErrSealed
		case h.paused:
			return ErrPaused
		}
		h.state, h.sealed = Sealed, s.passed()
		return l.verifyComplete()
	})
}

// Unseal gives up a session that the caller sealed: it is open again, and as idle as it
// was: while it was sealed its idle timeout stood still. So what can't be finished expires,
// however often that is tried.
func (s *Service) Unseal(id ID) error {
	l, err := s.find(id)
	if err != nil {
		return err
	}
	return l.change(func(h *head) error {
		if h.state != Sealed {
			return fmt.Errorf("%w: session %s is not sealed", ErrInvalid, id)
		}
		now := s.passed()
		idleFrom := max(h.idleFrom, time.Duration(l.heard.Load()))
		h.state, h.idleFrom = Open, min(idleFrom+now-h.sealed, now) // a repeat may have come meanwhile
		return nil
	})
}

// Finish ends a session that the caller sealed as Finished, Failed or Aborted
// and frees its bytes and its ledger. On nil the end is durable. On an error of the sink the
// session has ended all the same but is not settled: see Settle. The Meta is
// how the session ended, with such an error too; it is zero where this call did
// not end it. ErrInvalid where the session is not sealed.
func (s *Service) Finish(ctx context.Context, id ID, state State, outcome []byte) (Meta, error) {
	l, err := s.find(id)
	if err != nil {
		return Meta{}, err
	}
	if state != Finished && state != Failed && state != Aborted {
		return Meta{}, fmt.Errorf("%w: a session is finished as %s, %s or %s, not as %s", ErrInvalid, Finished, Failed, Aborted, state)
	}
	return s.end(ctx, l, state, outcome, Sealed)
}

// Skip ends an open session as Finished that holds no chunk, because what it was to make is there
// already. On nil the end is durable; with an error of the sink it is as with Finish. ErrNotFound,
// ErrBegun where a chunk is held or arriving, ErrPaused, ErrSealed, ErrEnded.
func (s *Service) Skip(ctx context.Context, id ID, outcome []byte) (Meta, error) {
	l, err := s.find(id)
	if err != nil {
		return Meta{}, err
	}
	if len(outcome) > MaxPayload {
		return Meta{}, fmt.Errorf("%w: outcome is longer than %d bytes", ErrInvalid, MaxPayload)
	}
	err = l.change(func(h *head) error {
		switch {
		case h.state.Ended():
			return &EndedError{Meta: l.metaOf(h)}
		case h.state == Sealed:
			return ErrSealed
		case h.paused:
			return ErrPaused
		case len(l.writers) > 0 || l.ledger.Held() > 0:
			return ErrBegun // whoever is writing must not find the session finished
		}
		h.state, h.ended, h.outcome = Finished, s.clock.Now(), outcome
		return nil
	})
	if err != nil {
		return Meta{}, err
	}
	err = s.settle(ctx, l)
	return l.meta(), err
}

// Abort ends an open session as state (Aborted, or Failed), interrupts the chunks that are arriving, waits
// for them to be gone, and frees its bytes. On nil the end is durable. On an
// error of the sink the session has ended all the same but is not settled: see
// Settle. The Meta is how the session ended, with such an error too; it is zero
// where this call did not end it. ErrNotFound, ErrSealed, ErrEnded.
func (s *Service) Abort(ctx context.Context, id ID, state State, outcome []byte) (Meta, error) {
	l, err := s.find(id)
	if err != nil {
		return Meta{}, err
	}
	if state != Aborted && state != Failed {
		return Meta{}, fmt.Errorf("%w: a session is aborted as %s or %s, not as %s", ErrInvalid, Aborted, Failed, state)
	}
	return s.end(ctx, l, state, outcome, Open)
}

// end ends a session and settles it. The Meta is zero where it was not this call that ended it.
func (s *Service) end(ctx context.Context, l *live, state State, outcome []byte, from State) (Meta, error) {
	if err := l.end(state, s.clock.Now(), outcome, from); err != nil {
		return Meta{}, err
	}
	err := s.settle(ctx, l)
	return l.meta(), err
}

// Cause is which timeout a session ran into.
type Cause string

const (
	// Idle means that no byte arrived for Spec.IdleTimeout.
	Idle Cause = "Idle"
	// Deadline means that Spec.Deadline has passed.
	Deadline Cause = "Deadline"
)

// Expire ends the open sessions which the filter chooses and whose time is up,
// and frees their bytes. outcome says what to record of each. A session that is
// sealed is never taken, nor is one with a new chunk in flight, but Config.DeadlineGrace after its
// deadline: then it is interrupted. Repeats of held chunks are interrupted at once. All this is decided
// in the same step in which a chunk would enter. It returns the sessions that
// it ended, those that are not settled too; their errors come joined.
func (s *Service) Expire(ctx context.Context, choose Filter, outcome func(Meta, Cause) []byte) ([]Meta, error) {
	var (
		expired []Meta
		errs    []error
		now     = s.now()
	)
	for _, l := range s.snapshot() {
		if !choose(l.head.Load().spec) || !l.expire(now, s.deadlineGrace, outcome) {
			continue
		}
		if err := s.settle(ctx, l); err != nil {
			errs = append(errs, err)
		}
		expired = append(expired, l.meta())
	}
	return expired, errors.Join(errs...)
}

// expire ends the session if its time is up, and reports whether it did.
func (l *live) expire(now moment, grace time.Duration, outcome func(Meta, Cause) []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.head.Load()
	cause := l.due(h, now.passed)
	if h.state != Open || cause == "" {
		return false
	}
	if l.receives() && (cause != Deadline || !h.pastDeadline(now.passed-grace)) {
		return false
	}
	ended := *h
	ended.state, ended.ended, ended.outcome = Expired, now.time, outcome(l.metaOf(h), cause)
	l.head.Store(&ended)
	return true
}

// receives reports whether a chunk is arriving that is not held. The caller holds l.mu.
func (l *live) receives() bool {
	for _, w := range l.writers {
		if !w.repeats {
			return true
		}
	}
	return false
}

// pastDeadline reports whether the deadline has passed.
func (h *head) pastDeadline(passed time.Duration) bool { return passed >= h.deadline }

// due returns which timeout is up, or "". The caller holds l.mu.
func (l *live) due(h *head, passed time.Duration) Cause {
	heard := l.heard.Load()
	for _, w := range l.writers {
		heard = max(heard, w.lastByte.Load())
	}
	switch {
	case h.pastDeadline(passed):
		return Deadline
	case h.spec.IdleTimeout > 0 && !h.paused && !h.idleHeld && passed-max(h.idleFrom, time.Duration(heard)) >= h.spec.IdleTimeout:
		return Idle
	}
	return ""
}

// Settle makes the end of an ended session durable and frees its bytes, where
// an earlier attempt failed. Settling what is settled does nothing.
// ErrNotFound, ErrInvalid where the session has not ended, or the sink's error.
func (s *Service) Settle(ctx context.Context, id ID) error {
	l, err := s.find(id)
	if err != nil {
		return err
	}
	if !l.head.Load().state.Ended() {
		return fmt.Errorf("%w: session %s has not ended", ErrInvalid, id)
	}
	return s.settle(ctx, l)
}

func (s *Service) settle(ctx context.Context, l *live) error {
	l.settling.Lock()
	defer l.settling.Unlock()
	h := l.head.Load()
	if h.settled {
		return nil
	}
	s.mu.Lock()
	s.dropKey(l)
	s.mu.Unlock()
	// Nobody writes to a finished session, which holds every chunk or was skipped: who is there only
	// compares, with bytes that it has open, and must not hold up the end.
	if h.state != Finished {
		l.drain()
	}
	// The record first: bytes that are gone while the record says Open would be a broken session.
	if err := s.save(ctx, l); err != nil {
		return fmt.Errorf("settle session %s: %w", l.id, err)
	}
	if err := l.change(func(h *head) error { h.recorded = true; return nil }); err != nil {
		return err
	}
	if err := s.sink.Free(ctx, l.id); err != nil {
		return fmt.Errorf("settle session %s: %w", l.id, err)
	}
	return l.change(func(h *head) error { h.settled = true; return nil })
}

// Remove forgets a session that has ended, and all that the volume holds of
// it; what was published stays. Durable on return. Removing what is not there is no
// error. ErrInvalid where the session has not ended.
func (s *Service) Remove(ctx context.Context, id ID) error {
	l, err := s.find(id)
	if errors.Is(err, ErrNotFound) {
		return s.sink.Remove(ctx, id)
	}
	if !l.head.Load().state.Ended() {
		return fmt.Errorf("%w: session %s has not ended", ErrInvalid, id)
	}
	l.settling.Lock()
	defer l.settling.Unlock()
	l.drain()
	if err := s.sink.Remove(ctx, id); err != nil {
		return fmt.Errorf("remove session %s: %w", id, err)
	}
	s.mu.Lock()
	delete(s.sessions, id)
	s.dropKey(l)
	s.mu.Unlock()
	// Who ended it a moment ago may not have come to settle it; nothing of it is left to do.
	return l.change(func(h *head) error { h.recorded, h.settled = true, true; return nil })
}

// dropKey makes a session that has ended one that its key does not find. The
// caller holds s.mu.
func (s *Service) dropKey(l *live) {
	spec := l.head.Load().spec
	if key := (ownerKey{spec.Owner, spec.Key}); s.pending[key] == l.id {
		delete(s.pending, key)
	}
}

// end takes the session from one state to an ended one.
func (l *live) end(state State, now time.Time, outcome []byte, from State) error {
	if len(outcome) > MaxPayload {
		return fmt.Errorf("%w: outcome is longer than %d bytes", ErrInvalid, MaxPayload)
	}
	return l.change(func(h *head) error {
		switch {
		case h.state.Ended():
			return &EndedError{Meta: l.metaOf(h)}
		case h.state == Sealed && from == Open:
			return ErrSealed
		case h.state != from:
			return fmt.Errorf("%w: session %s is %s, not %s", ErrInvalid, l.id, h.state, from)
		}
		h.state, h.ended, h.outcome = state, now, outcome
		return nil
	})
}

// drain interrupts whoever writes a chunk and waits until all are gone. The
// session has ended, so that none enters who would write.
func (l *live) drain() {
	l.mu.Lock()
	writers := slices.Collect(maps.Values(l.writers))
	l.mu.Unlock()
	for _, w := range writers {
		w.stop()
	}
	for _, w := range writers {
		<-w.done
	}
}
