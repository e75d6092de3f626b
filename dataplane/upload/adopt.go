package upload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-dev/slipway/dataplane/session"
)

var (
	// errNothingToAdopt means that nothing is under the key any more.
	errNothingToAdopt = errors.New("the object under the key was removed meanwhile")
	// errChangedMeanwhile means that what is under the key is not what was compared.
	errChangedMeanwhile = errors.New("the object under the key was replaced or written to while it was compared")
	// errUnread means that nothing but its bytes tells what an object is.
	errUnread = errors.New("the digest of the object under the key is not recorded")
)

// adoptEarly ends an upload, before a byte moves, under whose key there is an object: as Adopted where
// that is the object which it is to make, and as failed where it is another one. Where the bytes have
// to be read for that it goes on in the background, and no chunk is taken until it is known.
func (s *Service) adoptEarly(ctx context.Context, g Grant) error {
	if g.Suspended {
		return nil // it is accepted again when it goes on
	}
	result, err := s.compareExisting(ctx, g, false)
	switch {
	case errors.Is(err, errNothingToAdopt):
		return nil
	case errors.Is(err, errUnread):
		s.startAdoption(g)
		return nil
	case err != nil:
		return err
	}
	return s.endEarly(ctx, g.ID, result)
}

// endEarly ends an upload that an object under its key decides. One that has begun to
// take chunks meanwhile, or may not end now, goes on: publication decides again.
func (s *Service) endEarly(ctx context.Context, id session.ID, result Result) error {
	var m session.Meta
	var err error
	if result.Reason == Adopted {
		m, err = s.core.Skip(ctx, id, result.encode())
	} else {
		m, err = s.core.Abort(ctx, id, session.Failed, result.encode())
	}
	s.ended(m)
	for _, later := range []error{session.ErrBegun, session.ErrPaused, session.ErrSealed} {
		if errors.Is(err, later) {
			return nil
		}
	}
	return err
}

// startAdoption reads the object under an upload's key, unless that is going on. It is
// interrupted by the upload's end, and starts anew after a restart, when the upload is accepted again. The
// idle timeout stands still meanwhile; the deadline does not.
func (s *Service) startAdoption(g Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adoptions[g.ID] != nil {
		return
	}
	if err := s.core.HoldIdle(g.ID, true); err != nil {
		return // it has ended
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.adoptions[g.ID] = cancel
	s.running.Go(func() {
		defer cancel()
		err := s.adoptWhenRead(ctx, g)
		s.mu.Lock()
		delete(s.adoptions, g.ID)
		_ = s.core.HoldIdle(g.ID, false) // unless it has ended
		s.mu.Unlock()
		if err != nil && ctx.Err() == nil && !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrEnded) {
			s.log.Warn("upload not ended, will try again", "uid", g.ID, "error", err)
		}
	})
}

func (s *Service) adoptWhenRead(ctx context.Context, g Grant) error {
	for {
		result, err := s.compareExisting(ctx, g, true)
		switch {
		case err == nil:
			return s.endEarly(s.ctx, g.ID, result)
		case errors.Is(err, errNothingToAdopt):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errChangedMeanwhile):
			continue
		}
		s.log.Warn("object not compared, will try again", "session", g.Name.String(), "uid", g.ID, "key", g.Key, "error", err)
		select {
		case <-s.clock.After(completionRetry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// comparing returns ErrComparing while an upload's chunks are not taken because it may not need them.
func (s *Service) comparing(id session.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adoptions[id] != nil {
		return ErrComparing
	}
	return nil
}

// adoptAttempts bounds how often an upload that is complete is published, or what
// is under its key compared, because that goes and comes.
const adoptAttempts = 5

// publishOrAdopt is publish, where what is under the key is compared before that is a failure. It is called,
// and returns, in the turn of the upload; while an object is read others have it.
func (s *Service) publishOrAdopt(ctx, verifying context.Context, id session.ID, digest, want Digest) (Result, error) {
	for attempt := 1; ; attempt++ {
		result, err := s.publish(ctx, id, digest, want)
		if err != nil || result.Reason != KeyExists {
			return result, err
		}
		st, err := s.statusByID(id)
		if err != nil || !st.Grant.Adopt {
			return result, err
		}
		<-s.publishing
		result, err = s.compareExisting(verifying, st.Grant, true)
		s.publishing <- struct{}{}
		if !errors.Is(err, errNothingToAdopt) && !errors.Is(err, errChangedMeanwhile) || attempt == adoptAttempts {
			return result, err
		}
	}
}

// compareExisting says how an upload ends because of what is under its key: Adopted, or KeyExists.
// What is recorded of the object decides, and otherwise its bytes, where read says so. errNothingToAdopt,
// errChangedMeanwhile, errUnread.
func (s *Service) compareExisting(ctx context.Context, g Grant, read bool) (Result, error) {
	object, err := s.publisher.OpenObject(ctx, g.Key)
	if errors.Is(err, session.ErrNotFound) {
		return s.noObject(ctx, g)
	}
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = object.Close() }() // it is only looked at
	if object.Size() != g.Size {
		return isOther(g, fmt.Sprintf("has %d bytes, not %d", object.Size(), g.Size)), nil
	}
	digest, err := ParseDigest(object.Note())
	if err != nil || digest.Algorithm() != g.Digest.Algorithm() {
		if !read {
			return Result{}, errUnread
		}
		if digest, err = s.readDigest(ctx, object, g); err != nil {
			return Result{}, err
		}
	}
	if digest != g.Digest {
		return isOther(g, fmt.Sprintf("does not have digest %s", g.Digest)), nil
	}
	return Result{
		Reason: Adopted, Digest: digest, Published: s.clock.Now(), ModTime: object.ModTime(), Identity: object.Identity(),
		Message: fmt.Sprintf("the object that was under key %q already has this size and digest; it was adopted", g.Key),
	}, nil
}

// noObject says what it means that there is no object under the key of an upload.
func (s *Service) noObject(ctx context.Context, g Grant) (Result, error) {
	err := s.publisher.Lookup(ctx, g.Key)
	if errors.Is(err, session.ErrExists) {
		return isOther(g, "is no regular file"), nil
	}
	if result, terminal := publishFailure(g, err); terminal {
		return result, nil
	}
	if err == nil {
		err = errNothingToAdopt
	}
	return Result{}, err
}

// readDigest reads an object, one at a time of all that are read to verify them, and makes
// sure that it still is what is under the key.
func (s *Service) readDigest(ctx context.Context, object session.Object, g Grant) (Digest, error) {
	select {
	case s.verifying <- struct{}{}:
		defer func() { <-s.verifying }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	digest, err := sumOf(ctx, object, g.Digest.Algorithm())
	if err != nil {
		return "", fmt.Errorf("read the object under %q: %w", g.Key, err)
	}
	after, err := s.publisher.OpenObject(ctx, g.Key)
	if errors.Is(err, session.ErrNotFound) {
		return "", errChangedMeanwhile
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = after.Close() }() // it is only looked at
	if after.Identity() != object.Identity() {
		return "", errChangedMeanwhile
	}
	return digest, nil
}

// sumOf reads an object to its end, until the context is done.
func sumOf(ctx context.Context, object io.Reader, algorithm Algorithm) (Digest, error) {
	sum := sha256.New()
	if algorithm == BLAKE3 {
		sum = newBlake3(0)
	}
	if _, err := io.Copy(sum, &untilDone{ctx, object}); err != nil {
		return "", err
	}
	return algorithm.Digest(sum.Sum(nil))
}

// isOther is how an upload ends under whose key is something else than it is to make.
func isOther(g Grant, how string) Result {
	return Result{Reason: KeyExists, Message: fmt.Sprintf(
		"what is under key %q %s, so it is not adopted; choose another key, remove it, or set conflictPolicy to Replace, in another session", g.Key, how)}
}
