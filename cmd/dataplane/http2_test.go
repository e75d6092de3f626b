package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/telemetry"
)

// serving is a dataplane that serves the volume of volumeWith over TLS, and a
// client that speaks what is agreed on.
type serving struct {
	*dataplane
	trusted *x509.CertPool
	stop    context.CancelFunc
	stopped chan error
}

func serveOverTLS(t *testing.T, traces telemetry.Traces, flags ...string) serving {
	t.Helper()
	return serveOverTLSTo(t, traces, auth.Open{}, flags...)
}

// serveOverTLSTo is the same for those whom a gate lets in.
func serveOverTLSTo(t *testing.T, traces telemetry.Traces, gate auth.Gate, flags ...string) serving {
	t.Helper()
	dir := t.TempDir()
	pool := x509.NewCertPool()
	pool.AddCert(writePair(t, dir, 1))
	d, err := newTraced(t, traces, volumeWith(t), append(flags, "--tls-dir="+dir)...)
	if err != nil {
		t.Fatal(err)
	}
	d.gate = gate
	t.Cleanup(d.close)
	ctx, stop := context.WithCancel(t.Context())
	s := serving{d, pool, stop, make(chan error, 1)}
	go func() { s.stopped <- d.serve(ctx) }()
	return s
}

// client is one with connections of its own.
func (s serving) client(t *testing.T) *http.Client {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.trusted, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

type reply struct {
	protocol   string
	status     int
	retryAfter string
	body       string
	err        error
}

func (s serving) do(c *http.Client, method, path string, body io.Reader, length int64) reply {
	r, err := http.NewRequest(method, s.endpoint()+"/v1/namespaces/ml/uploadsessions/a"+path, body)
	if err != nil {
		return reply{err: err}
	}
	r.ContentLength = length
	answer, err := c.Do(r)
	if err != nil {
		return reply{err: err}
	}
	b, err := io.ReadAll(answer.Body)
	return reply{answer.Proto, answer.StatusCode, answer.Header.Get("Retry-After"), string(b), errors.Join(err, answer.Body.Close())}
}

// TestItStopsOverHTTP2: of the requests on one connection, the one that is received is
// waited for, and the one that waits for its turn is answered at once.
func TestItStopsOverHTTP2(t *testing.T) {
	s := serveOverTLS(t, telemetry.Traces{}, "--max-concurrent-chunks=1")
	c := s.client(t)
	if r := s.do(c, http.MethodGet, "", nil, 0); r.protocol != "HTTP/2.0" || r.status != http.StatusOK {
		t.Fatalf("got %+v", r)
	}
	body, more := io.Pipe()
	holder, waits := make(chan reply, 1), make(chan reply, 1)
	go func() { holder <- s.do(c, http.MethodPut, "/chunks/0", body, 4) }()
	if _, err := io.WriteString(more, "01"); err != nil { // the connection has read it
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		st, err := s.uploads.Status(t.Context(), upload.Name{Namespace: "ml", Name: "a"})
		if err == nil && st.Meta.InFlight == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not received: %+v, %v", st, err)
		}
	}
	go func() { waits <- s.do(c, http.MethodPut, "/chunks/1", strings.NewReader("0123"), 4) }()
	s.stop()
	if r := receive(t, "answer of who waits", waits); r.err == nil && (r.status != http.StatusServiceUnavailable || r.retryAfter == "") {
		t.Errorf("who waits got %+v", r)
	}
	if _, err := io.WriteString(more, "23"); err != nil {
		t.Fatal(err)
	}
	if err := more.Close(); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, "answer of who was being received", holder); r.status != http.StatusCreated || r.protocol != "HTTP/2.0" {
		t.Errorf("who was being received got %+v", r)
	}
	if err := receive(t, "end", s.stopped); err != nil {
		t.Errorf("it stopped with %v", err)
	}
}

// TestWhatIsNoHTTPGetsAProblem, with TLS and without.
func TestWhatIsNoHTTPGetsAProblem(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := serveTo(t, auth.Open{}, secure)
		c, err := net.Dial("tcp", s.chunks.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if secure {
			c = tls.Client(c, &tls.Config{RootCAs: s.trusted, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
		}
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if !strings.Contains(string(got), `"code":"malformed-request"`) {
			t.Errorf("TLS %t: got %q, %v", secure, got, err)
		}
		_ = c.Close() // all of it was read
		s.stop()
		if err := receive(t, "end", s.stopped); err != nil {
			t.Errorf("it stopped with %v", err)
		}
	}
}

// TestAsManySpeakHTTP2AsChunksAreReceived; others are served over HTTP/1.1.
func TestAsManySpeakHTTP2AsChunksAreReceived(t *testing.T) {
	s := serveOverTLS(t, telemetry.Traces{}, "--max-concurrent-chunks=1")
	for _, want := range []string{"HTTP/2.0", "HTTP/1.1"} {
		if r := s.do(s.client(t), http.MethodPut, "/chunks/0", strings.NewReader("0123"), 4); r.protocol != want || r.err != nil {
			t.Errorf("got %+v, want %s", r, want)
		}
	}
	s.stop()
	if err := receive(t, "end", s.stopped); err != nil {
		t.Errorf("it stopped with %v", err)
	}
}
