package upload

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Creator creates upload sessions for clients: the control plane. Its methods
// may be called concurrently.
type Creator interface {
	// Create creates a session, or finds the one that the same owner created with the same
	// key and the same spec. It does not wait for the session to be admitted. What it returns
	// exists durably; after an error there may be a session all the same, which the same
	// request finds.
	//
	// ErrOtherStore where the spec, or the namespace, is not of this dataplane's store; ErrMalformedSpec;
	// *InvalidError; ErrForbidden; ErrKeyReused; ErrDeleting; *RejectedError; ErrUnavailable.
	Create(ctx context.Context, r CreateRequest) (Created, error)

	// Await waits until a session that was created or found stands otherwise than waiting,
	// without asking again and again, and returns how it stands then. When the context is done, or the control
	// plane can't be followed, that is how it stood last. ErrDeleting, *RejectedError.
	Await(ctx context.Context, c Created) (Created, error)
}

// Errors of a Creator.
var (
	// ErrOtherStore means that the session would not be one of this dataplane's store.
	ErrOtherStore = errors.New("this dataplane creates sessions for its own store only")
	// ErrMalformedSpec means that the spec is no spec: not JSON, or with fields that there are not.
	ErrMalformedSpec = errors.New("the spec is malformed")
	// ErrInvalidSpec means that the control plane finds the spec invalid; it comes as *InvalidError.
	ErrInvalidSpec = errors.New("the spec is invalid")
	// ErrForbidden means that the control plane does not let the owner create such a session.
	ErrForbidden = errors.New("the session may not be created")
	// ErrKeyReused means that the owner's key belongs to a session with another spec.
	ErrKeyReused = errors.New("the idempotency key belongs to a session with another spec")
	// ErrDeleting means that the session of that key is being deleted.
	ErrDeleting = errors.New("the session is being deleted")
	// ErrRejected means that the session was ended before a byte was taken; it comes as *RejectedError.
	ErrRejected = errors.New("the session was rejected")
)

// CreateRequest is what a client asks for.
type CreateRequest struct {
	// Namespace is where the session is created.
	Namespace string
	// Owner is whose session it is: the caller. It is not empty.
	Owner string
	// Key makes the request idempotent for this owner; without one, each request creates a session.
	Key string
	// Spec is the session's spec as JSON, in the words of the control plane.
	Spec []byte
}

// Created is a session that was created, or found, as the control plane shows it.
type Created struct {
	// ID and Name are the session's.
	ID   session.ID
	Name Name
	// Found is whether it was there already.
	Found bool
	// Key is where the object appears, Size its size in bytes, and ChunkSize that of every
	// chunk but the last; 0 where that is not settled before the admission.
	Key             string
	Size, ChunkSize int64
	// Suspended sessions keep what they hold and take no chunks.
	Suspended bool
	// Endpoint is the base URL of the replica that holds the session; empty before its admission.
	Endpoint string
	// Waits is what the session waits for before its admission; nil afterwards.
	Waits *Waits
	// State and Result are how the session ended; Result is nil while it is active.
	State  session.State
	Result *Result
	// Version is the state of the control plane that this was read from, for Await.
	Version string
}

// Waits is why a session is not admitted yet.
type Waits struct {
	// Reason is for programs, Message for people. Both are empty where the control plane has
	// not looked at the session yet.
	Reason, Message string
	// Held is whether the session asked for it, and does not wait for anything else.
	Held bool
}

// Settled reports whether there is nothing to wait for.
func (c Created) Settled() bool { return c.Waits == nil || c.Waits.Held }

// Cause is one thing that is wrong with a spec.
type Cause struct {
	// Field is the path of the field in the spec; empty for the whole.
	Field string
	// Message says what is wrong with it.
	Message string
}

// InvalidError says what is wrong with a spec. It is an ErrInvalidSpec.
type InvalidError struct {
	// Causes are all that is known to be wrong; Message says it where there are none.
	Causes  []Cause
	Message string
}

// Error says how much is wrong, and what where that is one thing.
func (e *InvalidError) Error() string {
	switch {
	case len(e.Causes) == 1 && e.Causes[0].Field != "":
		return fmt.Sprintf("%s: %s: %s", ErrInvalidSpec, e.Causes[0].Field, e.Causes[0].Message)
	case len(e.Causes) == 1:
		return fmt.Sprintf("%s: %s", ErrInvalidSpec, e.Causes[0].Message)
	case len(e.Causes) > 1:
		return fmt.Sprintf("%s: %d causes", ErrInvalidSpec, len(e.Causes))
	}
	return fmt.Sprintf("%s: %s", ErrInvalidSpec, e.Message)
}

// Is makes the error an ErrInvalidSpec.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalidSpec }

// RejectedError says why a session was ended for good before a byte was taken.
// It is an ErrRejected.
type RejectedError struct {
	// Name is the session's, which stays as it is.
	Name   Name
	Result Result
}

// Error says which session was rejected and why.
func (e *RejectedError) Error() string {
	return fmt.Sprintf("%s: %s: %s: %s", ErrRejected, e.Name, e.Result.Reason, e.Result.Message)
}

// Is makes the error an ErrRejected.
func (e *RejectedError) Is(target error) bool { return target == ErrRejected }
