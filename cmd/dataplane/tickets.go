package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/auth/ticket"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

// ticketOptions are about those who have no account in the cluster.
type ticketOptions struct {
	ticketKeys     string
	allowedOrigins []string
}

func (o *ticketOptions) register(flags *flag.FlagSet) {
	flags.StringVar(&o.ticketKeys, "ticket-keys", "", "the file with the keys that sign tickets, which is read again when it changes; no tickets when empty")
	flags.Func("allowed-origins", "the origins, such as https://console.example.com, of the web pages whose scripts may call --listen, separated by commas; "+
		"there are no wildcards; no such page when empty", func(value string) error {
		o.allowedOrigins = slices.DeleteFunc(strings.Split(value, ","), func(s string) bool { return s == "" })
		return nil
	})
}

func (o *ticketOptions) check() error {
	var errs []error
	for _, origin := range o.allowedOrigins {
		// Browsers send an origin in one spelling, which is compared as it is.
		if u, err := url.Parse(origin); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
			strings.Contains(u.Host, "*") || origin != u.Scheme+"://"+strings.ToLower(u.Host) {
			errs = append(errs, fmt.Errorf("--allowed-origins has %q, which is no origin: a scheme and a host in lower case, without wildcards and without a path", origin))
		}
	}
	return errors.Join(errs...)
}

// tickets lets in who holds a ticket; its zero value lets in nobody.
type tickets struct {
	keys *ticket.Keys
	gate *ticket.Gate
}

func openTickets(o options, log *slog.Logger) (tickets, error) {
	if o.ticketKeys == "" {
		return tickets{}, nil
	}
	keys, err := ticket.OpenKeys(o.ticketKeys, log)
	if err != nil {
		return tickets{}, fmt.Errorf("--ticket-keys: %w", err)
	}
	return tickets{keys: keys, gate: ticket.NewGate(keys, o.namespace, o.store)}, nil
}

// join puts tickets into what the chunk protocol is made of, beside the gate that is there.
func (t tickets) join(c *chunkapi.Config) {
	if t.gate == nil {
		return
	}
	if c.Gate == nil {
		c.Gate = auth.Open{}
	}
	c.Gate, c.Tickets = auth.WithTickets{Tickets: t.gate, Others: c.Gate}, t.gate
}

// run follows the keys until the context is done.
func (t tickets) run(ctx context.Context) {
	if t.keys != nil {
		t.keys.Run(ctx)
	}
}

// allow lets web pages of the allowed origins in, if there are any.
func (o *ticketOptions) allow(handler http.Handler) http.Handler {
	if len(o.allowedOrigins) == 0 {
		return handler
	}
	return chunkapi.AllowOrigins(handler, o.allowedOrigins)
}
