package upload

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// lookup is one question to the directory that several callers may share.
type lookup struct {
	done chan struct{}
	err  error
}

// onlyKey is under which a context has the ID that Only set.
type onlyKey struct{}

// Only returns a context for calls about one upload and no namesake of it: where another ID has
// the name by then they fail with ErrUnknown.
func Only(ctx context.Context, id session.ID) context.Context {
	return context.WithValue(ctx, onlyKey{}, id)
}

// Users returns the ID of an upload and the only users whom it is for; nil where it is for whomever the
// control plane lets in. Its errors are those of Status.
func (s *Service) Users(ctx context.Context, name Name) (session.ID, []string, error) {
	st, err := s.Status(ctx, name)
	if err != nil {
		return "", nil, err
	}
	return st.Meta.ID, st.Grant.Users, nil
}

// resolve returns the ID behind a name, if the caller means that one.
func (s *Service) resolve(ctx context.Context, name Name) (session.ID, error) {
	id, err := s.find(ctx, name)
	if only, ok := ctx.Value(onlyKey{}).(session.ID); err == nil && ok && id != only {
		return "", fmt.Errorf("%s: %w: it is session %s", name, ErrUnknown, id)
	}
	return id, err
}

// find returns the ID behind a name. A name that is not known here is asked
// for once in the directory, by one caller for all who ask meanwhile, and
// accepted if it is granted.
func (s *Service) find(ctx context.Context, name Name) (session.ID, error) {
	s.mu.Lock()
	if id, ok := s.names[name]; ok && s.answers(id) {
		s.mu.Unlock()
		return id, nil
	}
	l, asked := s.lookups[name]
	if !asked {
		l = &lookup{done: make(chan struct{})}
		s.lookups[name] = l
	}
	s.mu.Unlock()

	if !asked {
		s.answer(ctx, name, l)
	}
	select {
	case <-l.done:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if l.err != nil {
		return "", fmt.Errorf("%s: %w", name, l.err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.names[name]
	if !ok {
		return "", ErrUnknown
	}
	return id, nil
}

// answer asks, and wakes all who wait for it, also where asking panics.
func (s *Service) answer(ctx context.Context, name Name, l *lookup) {
	l.err = ErrUnavailable
	defer func() {
		s.mu.Lock()
		delete(s.lookups, name)
		s.mu.Unlock()
		close(l.done)
	}()
	l.err = s.ask(ctx, name)
}

// answers reports whether a session answers for its name: not once it was
// deleted, for the name may belong to another session by now.
func (s *Service) answers(id session.ID) bool {
	st, err := s.statusByID(id)
	return err == nil && (st.Result == nil || st.Result.Reason != Deleted)
}

// ask gets the grant of a name and accepts it. What one caller asks serves
// others too, so it does not end with that caller's request.
func (s *Service) ask(ctx context.Context, name Name) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	grant, err := s.directory.Lookup(ctx, name)
	if err != nil {
		return err
	}
	_, err = s.Accept(ctx, grant)
	var taken *NameTakenError
	if errors.As(err, &taken) {
		// The directory knows for sure: the session that had the name is gone.
		if err := s.Forget(ctx, taken.ID); err != nil {
			return err
		}
		_, err = s.Accept(ctx, grant)
	}
	return err
}
