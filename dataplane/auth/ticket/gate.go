package ticket

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

// User is the user name that comes with a ticket where it is a password.
const User = "ticket"

// Gate makes tickets for the sessions of one store and lets in who holds
// one. It is an auth.TicketGate; it asks nobody and keeps nothing but the keys.
type Gate struct {
	keys      *Keys
	namespace string
	audience  string
	now       func() time.Time
	newID     func() string
}

// NewGate returns the gate of a store. Tickets of any other store are not good here.
func NewGate(keys *Keys, namespace, store string) *Gate {
	return &Gate{keys: keys, namespace: namespace, audience: namespace + "/" + store, now: time.Now, newID: rand.Text}
}

// LooksLikeTicket reports whether a request comes with what looks like a ticket,
// good or not.
func (g *Gate) LooksLikeTicket(r *http.Request) bool {
	for _, field := range r.Header.Values("Authorization") {
		if _, looks := ticketIn(field); looks {
			return true
		}
	}
	return false
}

// Authenticate implements auth.Gate. A ticket that comes beside other
// credentials is not good.
func (g *Gate) Authenticate(r *http.Request) (auth.Caller, error) {
	fields := r.Header.Values("Authorization")
	if len(fields) != 1 {
		return auth.Caller{}, refuse("there are none or several credentials")
	}
	text, _ := ticketIn(fields[0])
	c, err := g.read(text, g.now())
	if err != nil {
		return auth.Caller{}, err
	}
	return auth.Caller{User: c.Subject, Ticket: &auth.Ticket{
		Namespace: c.Namespace, Name: c.Name, Session: c.Session, Verbs: c.Verbs, Published: c.Published,
		Expires: time.Unix(c.Expires, 0).UTC(),
	}}, nil
}

// Authorize implements auth.Gate.
func (g *Gate) Authorize(_ context.Context, c auth.Caller, a auth.Action) error {
	if c.Ticket == nil || !c.Ticket.Allows(a) {
		return auth.Forbid(c, a)
	}
	return nil
}

// ticketIn returns what looks like a ticket in an Authorization field: the
// token, or the password of the user of tickets.
func ticketIn(field string) (text string, looks bool) {
	scheme, token, _ := strings.Cut(field, " ")
	if strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(token)
		return token, strings.HasPrefix(token, Prefix)
	}
	r := http.Request{Header: http.Header{"Authorization": {field}}}
	user, password, ok := r.BasicAuth()
	return password, ok && user == User
}
