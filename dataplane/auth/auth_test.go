package auth

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatATicketAllows(t *testing.T) {
	ticket := &Ticket{Namespace: "ml", Name: "a", Session: "uid-1", Verbs: []Verb{Get, Update}}
	for a, want := range map[Action]bool{
		{Get, Content, "ml", "a"}:    true,
		{Update, Content, "ml", "a"}: true,
		{Delete, Content, "ml", "a"}: false,
		{Get, Content, "ml", "b"}:    false,
		{Get, Content, "other", "a"}: false,
		{Get, Whole, "ml", "a"}:      false,
		{Create, Whole, "ml", ""}:    false,
		{Create, Tickets, "ml", "a"}: false,
		{Update, Tickets, "ml", "a"}: false,
		{Get, Content, "ml", ""}:     false,
	} {
		if got := ticket.Allows(a); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
}

func TestForbidSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		caller Caller
		action Action
		want   string
	}{
		{Caller{User: "alice"}, Action{Update, Content, "ml", "a"}, `"alice" may not update uploadsessions/content "a" in namespace "ml"`},
		{Caller{User: "alice"}, Action{Create, Whole, "ml", ""}, `"alice" may not create uploadsessions in namespace "ml"`},
		{Caller{User: "alice", Ticket: &Ticket{}}, Action{Get, Content, "ml", "a"}, `the ticket is not for get uploadsessions/content "a" in namespace "ml"`},
	} {
		if err := Forbid(c.caller, c.action); !errors.Is(err, ErrForbidden) || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("got %q, want %q at its end", err, c.want)
		}
	}
}
