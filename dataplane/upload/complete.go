package upload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// completion is one attempt to verify and publish an upload, which any number
// of callers wait for.
type completion struct {
	want Digest
	// interrupt ends the upload by a *cancellation, unless its object may be under its key already.
	interrupt context.CancelCauseFunc
	done      chan struct{}
	err       error // set before done is closed
}

// cancellation is how an upload ends whose completion is interrupted.
type cancellation struct{ result Result }

// Error is why the completion did not go on.
func (c *cancellation) Error() string { return "cancelled: " + c.result.Message }

// publishAtOnce bounds how many uploads are published at once. Each holds a thread
// while it waits for the volume; the others wait for their turn, in order.
const publishAtOnce = 64

// completionRetry is how long after a failure completion is tried again
// without a client's asking.
const completionRetry = 10 * time.Second

// Complete verifies an upload and publishes its object, or waits for whoever
// does already, and returns how it ended; completing again returns the same.
// want is the digest that the caller expects; empty for none.
//
// On nil the object is published durably. session.ErrIncomplete where chunks
// are missing; session.ErrMismatch where the object's digest is not want, which
// changes nothing; session.ErrEnded where it ended without an object;
// session.ErrPaused; the context's error where it takes longer than that: the
// attempt goes on. Besides these, what Directory.Lookup returns.
func (s *Service) Complete(ctx context.Context, name Name, want Digest) (Status, error) {
	id, err := s.resolve(ctx, name)
	if err != nil {
		return Status{}, err
	}
	st, err := s.statusByID(id)
	if err != nil {
		return Status{}, err
	}
	if st.Result == nil {
		if err := s.core.VerifyComplete(id); err != nil {
			return st, err
		}
		if want != "" && st.Grant.Digest != "" && want != st.Grant.Digest {
			return st, mismatch("the session's spec", st.Grant.Digest, want)
		}
		if err := s.attempt(ctx, id, want); err != nil {
			return st, err
		}
		if st, err = s.statusByID(id); err != nil {
			return Status{}, err
		}
	}
	// Another caller's attempt may just have ended it; what is told has to last.
	if err := s.core.Settle(ctx, id); err != nil {
		return st, err
	}
	switch {
	case st.Result == nil || !st.Result.HasObject():
		return st, &session.EndedError{Meta: st.Meta}
	case want != "" && want != st.Result.Digest:
		return st, mismatch("the object", st.Result.Digest, want)
	}
	return st, nil
}

// attempt starts an attempt to complete, or joins the one that is going on,
// and waits for its end.
func (s *Service) attempt(ctx context.Context, id session.ID, want Digest) error {
	for {
		c := s.startCompletion(id, want)
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if errors.Is(c.err, session.ErrMismatch) && c.want != want {
			continue // it failed because of what another caller wanted
		}
		return c.err
	}
}

func mismatch(whose string, is, want Digest) error {
	return fmt.Errorf("%w: the digest of %s is %s, not %s", session.ErrMismatch, whose, is, want)
}

// completeIfDue starts completion where nothing but that is left to do.
func (s *Service) completeIfDue(id session.ID) {
	m, err := s.core.Get(id)
	if err != nil || m.State.Ended() || m.Paused || !m.Complete() {
		return
	}
	if m.State == session.Sealed {
		s.currentCompletion(id)
		return
	}
	if g, err := s.grantOf(m); err != nil || g.Explicit {
		return
	}
	s.startCompletion(id, "")
}

// startCompletion starts an attempt, or returns the one that is going on. The
// session is sealed on return and not some time later, so that nothing ends an
// upload any more whose object Recover found published.
func (s *Service) startCompletion(id session.ID, want Digest) *completion {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.startCompletionLocked(id, want)
}

func (s *Service) startCompletionLocked(id session.ID, want Digest) *completion {
	if c := s.completions[id]; c != nil {
		return c
	}
	verifying, interrupt := context.WithCancelCause(s.ctx)
	c := &completion{want: want, interrupt: interrupt, done: make(chan struct{})}
	s.completions[id] = c
	sealed := s.core.Seal(id)
	if errors.Is(sealed, session.ErrSealed) {
		sealed = nil // an earlier attempt left it so
	}
	s.running.Go(func() {
		defer interrupt(nil)
		c.err = s.complete(s.ctx, verifying, id, want, sealed)
		if c.err != nil {
			s.log.Warn("upload not completed", "uid", id, "error", c.err)
		}
		s.mu.Lock()
		delete(s.completions, id)
		delete(s.retries, id)
		if c.err != nil {
			s.retries[id] = s.clock.Now().Add(completionRetry)
		}
		s.mu.Unlock()
		close(c.done)
	})
	return c
}

// cancelPatience is how long a cancellation waits for a completion that can't be
// interrupted any more. Who cancels has others to attend to.
const cancelPatience = time.Second

// interruptCompletion has the attempt that is going on end the upload as result,
// if it still can, and waits for its end. An upload that an earlier attempt left
// sealed is attempted again, and the error is that of the attempt.
// session.ErrSealed where that takes longer than cancelPatience.
func (s *Service) interruptCompletion(ctx context.Context, id session.ID, result Result) error {
	c, left := s.currentCompletion(id)
	if c == nil {
		return nil
	}
	c.interrupt(&cancellation{result})
	select {
	case <-c.done:
	case <-s.clock.After(cancelPatience):
		return fmt.Errorf("session %s: %w", id, session.ErrSealed)
	case <-ctx.Done():
		return ctx.Err()
	}
	if left {
		return c.err
	}
	return nil
}

// currentCompletion returns the attempt that is going on, if there is one. An
// upload that an earlier attempt left sealed is attempted again, whatever its
// grant says: its object may be under its key already.
func (s *Service) currentCompletion(id session.ID) (c *completion, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.completions[id]; c != nil {
		return c, false
	}
	// Whoever seals or unseals has an attempt going on meanwhile, so that this one was left.
	if m, err := s.core.Get(id); err != nil || m.State != session.Sealed {
		return nil, false
	}
	return s.startCompletionLocked(id, ""), true
}

// complete verifies and publishes, unless the session could not be sealed. It
// ends here unless what went wrong may go right later. Once verifying is done,
// by a *cancellation, the upload ends as that says, unless its object may be
// under its key.
func (s *Service) complete(ctx, verifying context.Context, id session.ID, want Digest, sealed error) error {
	switch {
	case errors.Is(sealed, session.ErrEnded):
		return nil // the caller looks at how
	case sealed != nil:
		return sealed
	}
	digest, err := s.inTurn(ctx, verifying, id)
	if err == nil {
		defer func() { <-s.publishing }()
	}
	var result Result
	if err == nil {
		result, err = s.publishOrAdopt(ctx, verifying, id, digest, want)
	}
	state := session.Failed
	switch c, cancelled := errors.AsType[*cancellation](context.Cause(verifying)); {
	case err == nil && result.HasObject():
		state = session.Finished
	case err == nil:
	case s.mayBePublished(ctx, id):
		return err // sealed it stays, so that nothing but completion can end it
	case cancelled:
		state, result = session.Aborted, c.result
	default:
		return errors.Join(err, s.core.Unseal(id))
	}
	// An error here leaves a session that has ended but is not settled. Its object is published
	// durably, which is what completion promises; Tend settles the rest.
	m, err := s.core.Finish(ctx, id, state, result.encode())
	if err != nil {
		s.log.Warn("upload not settled, will try again", "uid", id, "error", err)
	}
	s.ended(m)
	return nil
}

// inTurn returns the digest of an upload once it is its turn to be published,
// which the caller ends by a receive from s.publishing. It gives up once
// verifying is done, but not where the object may be under its key: nothing but
// completion ends such an upload.
func (s *Service) inTurn(ctx, verifying context.Context, id session.ID) (Digest, error) {
	digest, err := s.digestOf(verifying, id)
	if err != nil && verifying.Err() != nil && ctx.Err() == nil && s.mayBePublished(ctx, id) {
		return s.digestOf(ctx, id)
	}
	return digest, err
}

func (s *Service) digestOf(ctx context.Context, id session.ID) (Digest, error) {
	f, err := s.frontier(id)
	if err != nil {
		return "", err
	}
	digest, err := f.digest(ctx, s.hashing)
	if err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err // also where it is its turn
	}
	select {
	case s.publishing <- struct{}{}:
		return digest, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// mayBePublished reports whether the object is under its key, or nobody can tell.
func (s *Service) mayBePublished(ctx context.Context, id session.ID) bool {
	st, err := s.statusByID(id)
	if err != nil {
		return true
	}
	published, err := s.publisher.Published(context.WithoutCancel(ctx), id, st.Grant.Key)
	return published || err != nil
}

// publish returns how the upload with the digest ends, or an error where it does not end.
func (s *Service) publish(ctx context.Context, id session.ID, digest, want Digest) (Result, error) {
	st, err := s.statusByID(id)
	if err != nil {
		return Result{}, err
	}
	if st.Grant.Digest != "" && digest != st.Grant.Digest {
		return Result{Reason: DigestMismatch, Message: fmt.Sprintf(
			"the bytes received have digest %s, spec.digest is %s; create another session and send them again",
			digest, st.Grant.Digest)}, nil
	}
	if want != "" && digest != want {
		return Result{}, mismatch("the bytes received", digest, want)
	}
	if err := s.publisher.Note(ctx, id, string(digest)); err != nil {
		return Result{}, err
	}
	err = s.publisher.Publish(ctx, id, st.Grant.Key, st.Grant.Replace, st.Grant.Attributes)
	if result, terminal := publishFailure(st.Grant, err); terminal {
		return result, nil
	}
	if err != nil {
		return Result{}, err
	}
	return s.published(ctx, st, digest)
}

// published describes what was just published.
func (s *Service) published(ctx context.Context, st Status, digest Digest) (Result, error) {
	result := Result{Reason: Published, Digest: digest, Published: s.clock.Now()}
	var err error
	if result.Identity, err = s.publisher.Identify(ctx, st.Meta.ID); err != nil {
		return Result{}, err
	}
	object, err := s.publisher.OpenObject(ctx, st.Grant.Key)
	if errors.Is(err, session.ErrNotFound) {
		// Somebody removed it already; it was published all the same, and Open will say so.
		return result, nil
	}
	if err != nil {
		return Result{}, err
	}
	if object.Like(result.Identity) == session.Same { // or it was replaced already
		result.ModTime = object.ModTime()
	}
	_ = object.Close() // it was only looked at
	return result, nil
}

// publishFailure says how an upload ends that failed to publish with err, and
// whether it ends: other errors may pass.
func publishFailure(g Grant, err error) (Result, bool) {
	switch {
	case errors.Is(err, session.ErrExists):
		return Result{Reason: KeyExists, Message: fmt.Sprintf(
			"an object exists under key %q; choose another key, remove the object, or set conflictPolicy to Replace or Adopt, in another session", g.Key)}, true
	case errors.Is(err, session.ErrUnusableName):
		return Result{Reason: KeyUnusable, Message: fmt.Sprintf(
			"no object can be published under key %q: %v; choose another key in another session", g.Key, err)}, true
	}
	return Result{}, false
}
