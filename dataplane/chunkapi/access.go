package chunkapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// call is one method of a path: what a caller must be allowed to do, and how it is served.
type call struct {
	verb        auth.Verb
	subresource auth.Subresource
	serve       endpoint
	check       check
}

// check says what is wrong with a request of its own, before anybody looks whether there is such a session,
// and returns the request with what it has read of it. A nil one finds nothing.
type check func(w http.ResponseWriter, r *http.Request, name upload.Name) (*http.Request, error)

func (c check) of(w http.ResponseWriter, r *http.Request, name upload.Name) (*http.Request, error) {
	if c == nil {
		return r, nil
	}
	return c(w, r, name)
}

// callerKey is under which a request's context has its auth.Caller.
type callerKey struct{}

// credentialsKey is under which it has what they came with, for the replica that the request may be sent
// on to. A gate may take it from the header.
type credentialsKey struct{}

// authenticate finds out who sends a request, before anything else is looked
// at, and returns the request with them.
func (a *api) authenticate(r *http.Request) (*http.Request, error) {
	credentials := r.Header.Values("Authorization")
	caller, err := a.gate.Authenticate(r)
	if err != nil {
		return r, err
	}
	ctx := context.WithValue(r.Context(), callerKey{}, caller)
	if a.forwarder != nil {
		ctx = context.WithValue(ctx, credentialsKey{}, credentials)
	}
	return r.WithContext(ctx), nil
}

// callerOf returns who sends a request that was authenticated.
func callerOf(r *http.Request) auth.Caller {
	caller, _ := r.Context().Value(callerKey{}).(auth.Caller)
	return caller
}

// authorize asks whether the caller may do this to that session, before
// anybody looks whether there is one.
func (a *api) authorize(r *http.Request, c call, name upload.Name) error {
	return a.gate.Authorize(r.Context(), callerOf(r), auth.Action{
		Verb: c.verb, Subresource: c.subresource, Namespace: name.Namespace, Name: name.Name,
	})
}

// letIn returns the request of a caller who came as themselves, once the session that it is about is known to be
// for them too: RBAC knows what they may do in the namespace, and not whose the session is. A call that is about
// no session is theirs.
func (a *api) letIn(r *http.Request, name upload.Name) (*http.Request, error) {
	if name.Name == "" {
		return r, nil
	}
	id, users, err := a.uploads.Users(r.Context(), name)
	if ended, ok := errors.AsType[*session.EndedError](err); ok { // nothing of it is here, and each call says so in its own way
		return r.WithContext(upload.Only(r.Context(), ended.Meta.ID)), nil
	}
	if err != nil {
		return r, err
	}
	caller := callerOf(r)
	// What follows is about this session, and not about another one that has its name by then.
	r = r.WithContext(upload.Only(r.Context(), id))
	if users == nil || slices.Contains(users, caller.User) {
		return r, nil
	}
	others := auth.Action{Verb: auth.AccessOthers, Subresource: auth.Whole, Namespace: name.Namespace, Name: name.Name}
	err = a.gate.Authorize(r.Context(), caller, others)
	if errors.Is(err, auth.ErrForbidden) {
		err = fmt.Errorf("%w: the session is for its owner and its uploaders, and %q is neither: "+
			"ask who creates it to name your ServiceAccount in spec.uploaders", auth.ErrForbidden, caller.User)
	}
	return r, err
}

// audit counts and logs a request that was denied, for whoever looks for an intruder. It
// tells nothing of the credentials.
func (a *api) audit(w http.ResponseWriter, r *http.Request, err error) {
	caller := callerOf(r)
	what := []any{
		"reason", err, "user", caller.User, "ticket", caller.Ticket != nil,
		"session", sessionOf(r), "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr, "requestID", w.Header().Get(requestIDHeader),
	}
	// Lines are limited in rate by where they are written: strangers must not hide what a known caller tries.
	switch {
	case errors.Is(err, auth.ErrUnauthenticated):
		a.metrics.Denied(metrics.Unauthenticated)
		a.log.WarnContext(r.Context(), "request denied", what...)
	case errors.Is(err, auth.ErrForbidden):
		a.metrics.Denied(metrics.Forbidden)
		a.log.WarnContext(r.Context(), "request denied", what...)
	}
}
