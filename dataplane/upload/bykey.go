package upload

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-dev/slipway/dataplane/session"
)

var (
	// ErrNoObject means that there is no object under a key, or that none could be.
	ErrNoObject = errors.New("no object is under the key")
	// ErrNotOurs means that what is under a key was not published by a session, or was
	// written to, copied or restored since.
	ErrNotOurs = errors.New("the object was not published by a session")
	// ErrObjectChanges means that what is under a key is replaced again and again.
	ErrObjectChanges = errors.New("the object is being replaced")
)

// Object opens what is under a key, whoever put it there and whether or not its session is there still; the caller
// closes it. Its digest is empty where it is not recorded. ErrNoObject.
func (s *Service) Object(ctx context.Context, key string) (session.Object, Digest, error) {
	object, err := s.publisher.OpenObject(ctx, key)
	if errors.Is(err, session.ErrNotFound) {
		return nil, "", fmt.Errorf("%w: %q", ErrNoObject, key)
	}
	if err != nil {
		return nil, "", err
	}
	return object, digestIn(object.Note()), nil
}

// Listing is a part of what is under the keys of a store, see session.Listing.
type Listing struct {
	Objects  []Listed
	Prefixes []string
	Next     string
}

// Listed is what is known of an object without opening it.
type Listed struct {
	session.Listed
	// Digest is empty where it is not recorded.
	Digest Digest
}

// List tells what is under keys: all that Object opens. session.ErrInvalid where the query is not one.
func (s *Service) List(ctx context.Context, q session.ListQuery) (Listing, error) {
	found, err := s.publisher.List(ctx, q)
	if err != nil {
		return Listing{}, err
	}
	listing := Listing{Prefixes: found.Prefixes, Next: found.Next, Objects: make([]Listed, len(found.Objects))}
	for i, one := range found.Objects {
		listing.Objects[i] = Listed{one, digestIn(one.Note)}
	}
	return listing, nil
}

// digestIn is the digest that a note has; empty where it has none.
func digestIn(note string) Digest {
	digest, err := ParseDigest(note)
	if err != nil {
		return ""
	}
	return digest
}

// removeAttempts bounds how often an object is looked at again because another one took its place.
const removeAttempts = 10

// RemoveObject removes the object under a key where a session published it and may, which is shown it and
// its digest, returns nil. It is gone durably on return, and whoever is reading it goes on. The record of its session stays.
// ErrNoObject, also where an earlier call removed it, which is durable then; ErrNotOurs; ErrObjectChanges;
// the error of may.
func (s *Service) RemoveObject(ctx context.Context, key string, may func(session.Object, Digest) error) error {
	for range removeAttempts {
		identity, err := s.removable(ctx, key, may)
		if errors.Is(err, ErrNoObject) && session.CheckName(key) == nil {
			if _, lost := s.publisher.Withdraw(ctx, key, ""); lost != nil { // of nothing: what is gone is so durably
				return lost
			}
		}
		if err != nil {
			return err
		}
		removed, err := s.publisher.Withdraw(ctx, key, identity)
		if err != nil {
			return err
		}
		if removed {
			s.log.Info("object removed", "key", key)
			return nil
		}
	}
	return ErrObjectChanges
}

// removable returns the identity of an object that may be removed.
func (s *Service) removable(ctx context.Context, key string, may func(session.Object, Digest) error) (string, error) {
	object, digest, err := s.Object(ctx, key)
	if err != nil {
		return "", err
	}
	defer func() { _ = object.Close() }() // it was only looked at
	if err := may(object, digest); err != nil {
		return "", err
	}
	if !object.IsPublished() {
		return "", fmt.Errorf("%w, or was changed since: %q", ErrNotOurs, key)
	}
	return object.Identity(), nil
}
