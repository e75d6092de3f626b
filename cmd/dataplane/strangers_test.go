package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/telemetry"
)

// known lets in those who have a token.
type known struct{ auth.Open }

// Authenticate looks for any token.
func (known) Authenticate(r *http.Request) (auth.Caller, error) {
	if r.Header.Get("Authorization") == "" {
		return auth.Caller{}, auth.ErrUnauthenticated
	}
	return auth.Caller{User: "ann"}, nil
}

// withToken sends every request with one.
type withToken struct{ http.RoundTripper }

// RoundTrip sends it.
func (t withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer token")
	return t.RoundTripper.RoundTrip(r)
}

// TestStrangersWhoSayALittleLockNobodyOut: as many connections as may be open are those of strangers, each with
// fifty bytes of a body that does not go on. A request of somebody who is known is served long before any of
// them is idle.
func TestStrangersWhoSayALittleLockNobodyOut(t *testing.T) {
	const door, soon = 64, chunkapi.DefaultIdleTimeout / 12
	for _, secure := range []bool{false, true} {
		for what, path := range map[string]string{"no token": "/chunks/0", "no such path": "/nothing"} {
			t.Run(fmt.Sprintf("%s, TLS %t", what, secure), func(t *testing.T) {
				s := serveTo(t, known{}, secure, fmt.Sprintf("--max-connections=%d", door))
				good := s.client(t)
				good.Transport = withToken{good.Transport}
				ask := func() {
					began := time.Now()
					if r := s.do(good, http.MethodGet, "", nil, 0); r.status != http.StatusOK {
						t.Fatalf("who has a token got %+v", r)
					}
					if took := time.Since(began); took > soon {
						t.Errorf("who has a token waited %s", took)
					}
				}
				ask()
				for range 3 {
					good.CloseIdleConnections()
					for range door {
						s.stranger(t, path, secure)
					}
					ask()
				}
				s.stop()
				if err := receive(t, "end", s.stopped); err != nil {
					t.Errorf("it stopped with %v", err)
				}
			})
		}
	}
}

// serveTo serves those whom a gate lets in.
func serveTo(t *testing.T, gate auth.Gate, secure bool, flags ...string) serving {
	t.Helper()
	if secure {
		return serveOverTLSTo(t, telemetry.Traces{}, gate, flags...)
	}
	d, err := newDataplane(t, volumeWith(t), flags...)
	if err != nil {
		t.Fatal(err)
	}
	d.gate = gate
	t.Cleanup(d.close)
	ctx, stop := context.WithCancel(t.Context())
	s := serving{dataplane: d, stop: stop, stopped: make(chan error, 1)}
	go func() { s.stopped <- d.serve(ctx) }()
	return s
}

// stranger sends the beginning of a chunk without a token, on a connection of its own, and no more.
func (s serving) stranger(t *testing.T, path string, http2 bool) {
	t.Helper()
	const announced = 100_000 // which net/http would read on to the end
	begun := make([]byte, 50)
	if http2 {
		body, more := io.Pipe()
		t.Cleanup(func() { _ = more.Close() })
		c := s.client(t)
		go func() { _ = s.do(c, http.MethodPut, path, body, announced) }() // its reply is nothing to anybody
		_, _ = more.Write(begun)                                           // it may have given way by now
		return
	}
	c, err := net.Dial("tcp", s.chunks.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	request := fmt.Appendf(nil, "PUT /v1/namespaces/ml/uploadsessions/a%s HTTP/1.1\r\n", path)
	request = fmt.Appendf(request, "Host: a\r\nContent-Length: %d\r\n\r\n", announced)
	_, _ = c.Write(append(request, begun...)) // it may have given way by now
}
