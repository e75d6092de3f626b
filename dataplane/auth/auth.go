package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Anonymous is who calls where nobody says who does, as Kubernetes has it.
const Anonymous = "system:anonymous"

// Errors of a Gate.
var (
	// ErrUnauthenticated means that the request has no credentials, or none that hold. It
	// is the same whatever is wrong with them.
	ErrUnauthenticated = errors.New("no valid credentials came with the request")
	// ErrForbidden means that the caller is known and may not do this. It is the same whether
	// what they ask for exists or not.
	ErrForbidden = errors.New("forbidden")
	// ErrUnavailable means that nobody could tell now; the same request may be let in later.
	ErrUnavailable = errors.New("credentials can't be checked now")
)

// Gate decides who gets in. Its methods may be called concurrently.
type Gate interface {
	// Authenticate returns who sends a request, of which it reads no more than the header. The error
	// never has any of the credentials in its text. ErrUnauthenticated, ErrUnavailable.
	Authenticate(r *http.Request) (Caller, error)

	// Authorize returns nil where the caller may do it. ErrForbidden, ErrUnavailable. For a
	// caller with a ticket, whether its session is still the one of that name is not asked here.
	Authorize(ctx context.Context, c Caller, a Action) error
}

// Verb is what is done, in the words of Kubernetes' authorisation.
type Verb string

// The verbs.
const (
	Create Verb = "create"
	Get    Verb = "get"
	List   Verb = "list"
	Update Verb = "update"
	Delete Verb = "delete"
	// AccessOthers, on Whole, is to be let in to the sessions of others, where a store keeps the users of a
	// namespace apart.
	AccessOthers Verb = "access-others"
)

// Subresource is which part of an upload session, or of a store, it is done to.
type Subresource string

// The subresources. All but Whole are known to the dataplane alone.
const (
	// Whole is the UploadSession itself.
	Whole Subresource = ""
	// Content is the bytes, and how far they are: Get reads, Update sends and completes, Delete aborts.
	Content Subresource = "content"
	// Tickets are what lets others in; Create makes one.
	Tickets Subresource = "tickets"
	// Objects are what is under the keys of an UploadStore, and the only one that is not of an upload session: Get reads
	// one, Delete removes one, List tells which there are.
	Objects Subresource = "objects"
)

// Action is what a caller wants to do.
type Action struct {
	Verb        Verb
	Subresource Subresource
	// Namespace and Name are the session's, or with Objects the store's; Name is empty where there is none yet.
	Namespace, Name string
}

// String is the action as an administrator would write a rule for it.
func (a Action) String() string {
	resource := "uploadsessions"
	if a.Subresource == Objects {
		resource = "uploadstores"
	}
	if a.Subresource != Whole {
		resource += "/" + string(a.Subresource)
	}
	if a.Name == "" {
		return fmt.Sprintf("%s %s in namespace %q", a.Verb, resource, a.Namespace)
	}
	return fmt.Sprintf("%s %s %q in namespace %q", a.Verb, resource, a.Name, a.Namespace)
}

// Caller is who sends a request.
type Caller struct {
	// User is the name under which the control plane knows them; with a ticket, that of whoever
	// asked for it.
	User string
	// UID, Groups and Extra are what the control plane says of them besides. They are empty
	// with a ticket.
	UID    string
	Groups []string
	Extra  map[string][]string
	// Ticket is what they came with, nil where they came as themselves.
	Ticket *Ticket
}

// Ticket lets whoever holds it do a few things with one session. It is what
// was signed, and has been checked; the signed form is in package ticket.
type Ticket struct {
	// Namespace and Name are the session's, and Session its ID: one that is created again
	// under that name is another.
	Namespace, Name string
	Session         session.ID
	// Verbs are what may be done to the session's Content.
	Verbs []Verb
	// Published tells that the ticket was made after the session was published. Others end
	// with the session's end, whatever that is.
	Published bool
	// Expires is when it ends at the latest.
	Expires time.Time
}

// Allows reports whether a ticket is for an action.
func (t *Ticket) Allows(a Action) bool {
	return a.Subresource == Content && a.Namespace == t.Namespace && a.Name == t.Name && slices.Contains(t.Verbs, a.Verb)
}

// Forbid returns the ErrForbidden that a caller gets for an action.
func Forbid(c Caller, a Action) error {
	if c.Ticket != nil {
		return fmt.Errorf("%w: the ticket is not for %s", ErrForbidden, a)
	}
	return fmt.Errorf("%w: %q may not %s", ErrForbidden, c.User, a)
}

// Open is the gate that lets everybody do everything, as Anonymous.
type Open struct{}

// Authenticate implements Gate.
func (Open) Authenticate(*http.Request) (Caller, error) { return Caller{User: Anonymous}, nil }

// Authorize implements Gate.
func (Open) Authorize(context.Context, Caller, Action) error { return nil }
