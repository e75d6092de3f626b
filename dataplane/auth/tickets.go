package auth

import (
	"context"
	"net/http"
)

// TicketGate is a gate for callers with a ticket.
type TicketGate interface {
	Gate
	// LooksLikeTicket reports whether a request comes with what looks like a ticket, good or not.
	LooksLikeTicket(r *http.Request) bool
}

// WithTickets is a gate that asks Tickets about whoever comes with a ticket, and Others about
// everybody else. What looks like a ticket and is not good gets in nowhere else.
type WithTickets struct {
	Tickets TicketGate
	Others  Gate
}

// Authenticate implements Gate.
func (g WithTickets) Authenticate(r *http.Request) (Caller, error) {
	if g.Tickets.LooksLikeTicket(r) {
		return g.Tickets.Authenticate(r)
	}
	return g.Others.Authenticate(r)
}

// Authorize implements Gate.
func (g WithTickets) Authorize(ctx context.Context, c Caller, a Action) error {
	if c.Ticket != nil {
		return g.Tickets.Authorize(ctx, c, a)
	}
	return g.Others.Authorize(ctx, c, a)
}
