package chunkapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/strictjson"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Minter makes the text of tickets. It may be called concurrently.
type Minter interface {
	// Mint returns a ticket that user asks for, good from now until it expires.
	Mint(t auth.Ticket, user string, now time.Time) (string, error)
}

// How long a ticket may be good, in seconds.
const (
	minTicketSeconds     = 60
	defaultTicketSeconds = 60 * 60
	maxTicketSeconds     = 24 * 60 * 60
)

const (
	// maxTicketRequest bounds the body of a request for a ticket in bytes.
	maxTicketRequest = 4 << 10
	// ticketUser is the user name that comes with a ticket in a link.
	ticketUser = "ticket"
)

// TicketRequest is what a client may ask of a ticket.
type TicketRequest struct {
	// Verbs are what may be done with the session: update, get and delete. By default update and get
	// while the session has not ended, and get once it is published.
	Verbs []auth.Verb `json:"verbs,omitempty"`
	// ExpirationSeconds is for how long the ticket is good, from 60 to 86400; by default 3600.
	ExpirationSeconds *int64 `json:"expirationSeconds,omitempty"`
}

// NewTicket is a ticket that was made. It is told once and kept nowhere.
type NewTicket struct {
	Ticket string `json:"ticket"`
	// ExpirationTime is when it ends: what was asked for, or the session's deadline where that is sooner.
	ExpirationTime time.Time   `json:"expirationTime"`
	Verbs          []auth.Verb `json:"verbs"`
	// Link reads the object with the ticket in it; only where it was published.
	Link string `json:"link,omitempty"`
}

// ticketRequestKey is under which a request's context has the TicketRequest that was read from it.
type ticketRequestKey struct{}

// checkTicketRequest reads what is asked for, and checks that the caller may do that themselves. Whoever may
// not does not learn whether there is such a session.
func (a *api) checkTicketRequest(w http.ResponseWriter, r *http.Request, name upload.Name) (*http.Request, error) {
	want, err := readTicketRequest(w, r)
	if err != nil {
		return r, err
	}
	asked := want.Verbs
	if asked == nil {
		asked = []auth.Verb{auth.Get} // every default has it
	}
	return r.WithContext(context.WithValue(r.Context(), ticketRequestKey{}, want)), a.mayDelegate(r, name, asked)
}

// makeTicket makes a ticket for somebody who may do themselves what it lets
// others do.
func (a *api) makeTicket(w http.ResponseWriter, r *http.Request, name upload.Name) error {
	want, _ := r.Context().Value(ticketRequestKey{}).(TicketRequest)
	asked := want.Verbs
	if asked == nil {
		asked = []auth.Verb{auth.Get}
	}
	st, err := a.uploads.Status(r.Context(), name)
	if err != nil {
		return err
	}
	published := st.Meta.State == session.Finished
	switch {
	case st.Meta.State.Ended() && !published:
		return &session.EndedError{Meta: st.Meta}
	case published && want.Verbs != nil && !slices.Equal(want.Verbs, []auth.Verb{auth.Get}):
		return refuseEnded(kindWith(CodeAlreadyEnded), st)
	case !published && want.Verbs == nil:
		asked = []auth.Verb{auth.Update, auth.Get}
		if err := a.mayDelegate(r, name, asked[:1]); err != nil {
			return err
		}
	}
	now := time.Now()
	expires := ticketExpiration(want, st.Meta, now)
	if !expires.After(now) {
		return refuse(CodeCompleting, "the session's deadline is now")
	}
	text, err := a.tickets.Mint(auth.Ticket{
		Namespace: name.Namespace, Name: name.Name, Session: st.Meta.ID, Verbs: asked, Published: published, Expires: expires,
	}, callerOf(r).User, now)
	if err != nil {
		return fmt.Errorf("make a ticket: %w", err)
	}
	a.metrics.TicketMinted()
	a.log.InfoContext(r.Context(), "ticket made", "user", callerOf(r).User, "namespace", name.Namespace, "name", name.Name,
		"uid", st.Meta.ID, "verbs", asked, "expires", expires, "requestID", w.Header().Get(requestIDHeader))
	made := NewTicket{Ticket: text, ExpirationTime: expires, Verbs: asked}
	if published {
		made.Link = a.link(text, name)
	}
	writeJSON(w, http.StatusCreated, made)
	return nil
}

// mayDelegate returns why the caller may not let others do what the verbs say.
func (a *api) mayDelegate(r *http.Request, name upload.Name, verbs []auth.Verb) error {
	caller := callerOf(r)
	for _, v := range verbs {
		what := auth.Action{Verb: v, Subresource: auth.Content, Namespace: name.Namespace, Name: name.Name}
		if caller.Ticket != nil { // whatever the gate says: tickets don't breed
			return auth.Forbid(caller, what)
		}
		if err := a.gate.Authorize(r.Context(), caller, what); err != nil {
			return err
		}
	}
	return nil
}

// readTicketRequest reads the body, if there is one.
func readTicketRequest(w http.ResponseWriter, r *http.Request) (TicketRequest, error) {
	var want TicketRequest
	if r.ContentLength == 0 {
		said, err := readStated(r, ofJSON)
		if err == nil {
			err = said.checkBody(nil)
		}
		return want, err
	}
	said, err := checkJSON(r, "request for a ticket", maxTicketRequest)
	if err != nil {
		return want, err
	}
	body, err := readJSON(w, r, "request for a ticket", maxTicketRequest, said, nil)
	if err != nil || len(body) == 0 {
		return want, err
	}
	if _, err := strictjson.Unmarshal(body, &want); err != nil {
		return want, refuse(CodeInvalidTicketRequest, "%s", err)
	}
	for i, v := range want.Verbs {
		if v != auth.Update && v != auth.Get && v != auth.Delete || slices.Contains(want.Verbs[:i], v) {
			return want, refuse(CodeInvalidTicketRequest, "verbs are some of update, get and delete, each once")
		}
	}
	if want.Verbs != nil && len(want.Verbs) == 0 {
		return want, refuse(CodeInvalidTicketRequest, "verbs are empty")
	}
	if s := want.ExpirationSeconds; s != nil && (*s < minTicketSeconds || *s > maxTicketSeconds) {
		return want, refuse(CodeInvalidTicketRequest, "expirationSeconds is %d, not from %d to %d", *s, minTicketSeconds, maxTicketSeconds)
	}
	return want, nil
}

// ticketExpiration is when a ticket ends: no later than the session does, in whole seconds.
func ticketExpiration(want TicketRequest, m session.Meta, now time.Time) time.Time {
	seconds := int64(defaultTicketSeconds)
	if want.ExpirationSeconds != nil {
		seconds = *want.ExpirationSeconds
	}
	expires := now.Add(time.Duration(seconds) * time.Second)
	if deadline := m.Spec.Deadline; !m.State.Ended() && !deadline.IsZero() && deadline.Before(expires) {
		expires = deadline
	}
	return expires.UTC().Truncate(time.Second)
}

// link is a URL that reads the object. The ticket is where no request line and
// no Referer has it: browsers and curl send it as a password.
func (a *api) link(text string, name upload.Name) string {
	u, err := url.Parse(a.endpoint)
	if err != nil || u.Host == "" {
		return ""
	}
	u.User = url.UserPassword(ticketUser, text)
	return u.JoinPath("v1", "namespaces", name.Namespace, "uploadsessions", name.Name, "content").String()
}

// admit serves a call that the caller may make. One who came with a ticket has to do
// with the session that it was made for, and with no namesake of that.
func (a *api) admit(w http.ResponseWriter, r *http.Request, name upload.Name, c call) error {
	t := callerOf(r).Ticket
	if t == nil {
		r, err := c.check.of(w, r, name)
		if err == nil {
			r, err = a.letIn(r, name)
		}
		if err != nil {
			return err
		}
		return c.serve(w, r, name)
	}
	r = r.WithContext(upload.Only(r.Context(), t.Session))
	err := a.checkTicket(r, name, t)
	if err == nil {
		r, err = c.check.of(w, r, name)
	}
	if err == nil {
		err = c.serve(w, r, name)
	}
	for _, gone := range []error{upload.ErrUnknown, session.ErrNotFound, upload.ErrNotReady} { // what has a ticket was admitted
		if errors.Is(err, gone) {
			return errTicketGone
		}
	}
	return err
}

// errTicketGone is the same answer as to a forged ticket: whether there is a namesake
// is none of the holder's business.
var errTicketGone = fmt.Errorf("%w: ticket: its session is gone", auth.ErrUnauthenticated)

// checkTicket returns why a ticket does not let its holder do anything with the
// session any more, or nil.
func (a *api) checkTicket(r *http.Request, name upload.Name, t *auth.Ticket) error {
	st, err := a.uploads.Status(r.Context(), name)
	ended, over := errors.AsType[*session.EndedError](err) // before this replica ever held it
	switch {
	case over && ended.Meta.ID != t.Session:
		return errTicketGone
	case over && !t.Published:
		return refuse(CodeTicketEnded, "")
	case err != nil:
		return err
	case t.Published && st.Meta.State != session.Finished:
		return errTicketGone
	case !t.Published && st.Meta.State.Ended():
		return refuseEnded(kindWith(CodeTicketEnded), st)
	}
	return nil
}
