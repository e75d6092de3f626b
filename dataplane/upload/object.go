package upload

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// openPublished opens the object of an upload that was published, and no other:
// ErrReplaced where it is not under its key any more, ErrKeptApart where it may be somebody else's.
func (s *Service) openPublished(ctx context.Context, st Status) (session.Object, error) {
	// A digest is no secret: whoever knows it has not shown that they have the bytes.
	if st.Grant.Users != nil && st.Result.Reason == Adopted && !st.Meta.Complete() {
		return nil, ErrKeptApart
	}
	object, err := s.publisher.OpenObject(ctx, st.Grant.Key)
	if errors.Is(err, session.ErrNotFound) {
		return nil, ErrReplaced
	}
	if err != nil {
		return nil, err
	}
	mine, err := s.isOf(ctx, object, st)
	if err == nil && !mine {
		err = ErrReplaced
	}
	if err != nil {
		_ = object.Close() // it was only opened
		return nil, err
	}
	return object, nil
}

// identify returns the identity by which the object of an upload can be
// withdrawn. For what an earlier version recorded that is not the recorded one, and of what the
// first of them published there is none.
func (s *Service) identify(ctx context.Context, st Status) (string, error) {
	recorded := st.Result.Identity
	if recorded == "" {
		return "", nil
	}
	object, err := s.publisher.OpenObject(ctx, st.Grant.Key)
	if errors.Is(err, session.ErrNotFound) {
		return recorded, nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = object.Close() }() // it was only looked at
	if object.Like(recorded) != session.Alike {
		return recorded, nil
	}
	mine, err := s.isOf(ctx, object, st)
	if !mine {
		return recorded, err
	}
	return object.Identity(), nil
}

// isOf reports whether an object is the one that an upload published. Where
// an earlier version recorded too little to know, its bytes are verified first.
func (s *Service) isOf(ctx context.Context, object session.Object, st Status) (bool, error) {
	switch likenessOf(object, st) {
	case session.Same:
		return true, nil
	case session.Alike:
		return s.verified(ctx, object.Identity(), st)
	}
	return false, nil
}

// likenessOf compares an object with what was recorded of an upload's.
func likenessOf(object session.Object, st Status) session.Likeness {
	recorded := st.Result
	if recorded.Identity == "" && object.Size() == st.Grant.Size && object.ModTime().Equal(recorded.ModTime) {
		return session.Alike // the first versions recorded no identity
	}
	return object.Like(recorded.Identity)
}

// verdict says whether the bytes under an upload's key are those that it published.
type verdict struct {
	identity string // of the object
	done     chan struct{}
	is       bool  // set before done is closed
	err      error // set before done is closed
}

// verified reports whether the object with the identity has the bytes that the
// upload published. They are read once, by one goroutine for all who ask and one
// object at a time, and on when nobody waits any more: the next one who asks has the verdict.
func (s *Service) verified(ctx context.Context, identity string, st Status) (bool, error) {
	id := st.Meta.ID
	s.mu.Lock()
	v := s.verdicts[id]
	if v == nil || v.identity != identity {
		v = &verdict{identity: identity, done: make(chan struct{})}
		s.verdicts[id] = v
		s.running.Go(func() {
			v.is, v.err = s.verify(s.ctx, identity, st)
			if v.err != nil {
				s.mu.Lock()
				if s.verdicts[id] == v {
					delete(s.verdicts, id) // to be asked again
				}
				s.mu.Unlock()
			}
			close(v.done)
		})
	}
	s.mu.Unlock()
	select {
	case <-v.done:
		return v.is, v.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (s *Service) verify(ctx context.Context, identity string, st Status) (bool, error) {
	select {
	case s.verifying <- struct{}{}:
		defer func() { <-s.verifying }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	object, err := s.publisher.OpenObject(ctx, st.Grant.Key)
	if errors.Is(err, session.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = object.Close() }() // it is only read
	if object.Identity() != identity {
		return false, nil // it was replaced meanwhile
	}
	digest, err := sumOf(ctx, object, st.Result.Digest.Algorithm())
	if err != nil {
		return false, fmt.Errorf("verify the object under %q: %w", st.Grant.Key, err)
	}
	return digest == st.Result.Digest, nil
}

// untilDone reads until its context is done.
type untilDone struct {
	ctx  context.Context
	from io.Reader
}

func (r *untilDone) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(b)
}

// dropVerdict drops what is kept of an upload that is forgotten.
func (s *Service) dropVerdict(id session.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.verdicts, id)
}
