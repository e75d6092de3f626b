package door

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// patience bounds what must happen soon.
const patience = 20 * time.Second

// house is a server behind a door.
type house struct {
	*testing.T
	*Door
	url     string
	trusted *x509.CertPool
	ended   <-chan error
}

func newHouse(t *testing.T, b Bounds, secure bool, handler http.HandlerFunc) house {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := house{T: t, Door: New(listener, b), url: "http://" + listener.Addr().String(), trusted: x509.NewCertPool()}
	server := &http.Server{
		Handler: handler, ConnState: h.ConnState, ConnContext: h.ConnContext,
		ReadHeaderTimeout: patience, IdleTimeout: patience,
	}
	serve := func() error { return server.Serve(h.Door) }
	if secure {
		one := httptest.NewTLSServer(nil)
		h.trusted.AddCert(one.Certificate())
		server.TLSConfig = h.TLS(&tls.Config{Certificates: one.TLS.Certificates, MinVersion: tls.VersionTLS12})
		one.Close()
		h.url = "https://" + listener.Addr().String()
		serve = func() error { return server.ServeTLS(h.Door, "", "") }
	}
	ended := make(chan error, 1)
	h.ended = ended
	go func() { ended <- serve() }()
	t.Cleanup(func() { _ = server.Close() })
	return h
}

// client is one with connections of its own.
func (h house) client() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.trusted, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	h.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// ask returns the protocol of the reply.
func (h house) ask(c *http.Client, path string) (string, error) {
	r, err := c.Get(h.url + path)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return r.Proto, errors.Join(err, r.Body.Close())
}

func (h house) mustAsk(c *http.Client) string {
	h.Helper()
	protocol, err := h.ask(c, "/")
	if err != nil {
		h.Fatal(err)
	}
	return protocol
}

func (h house) dial() net.Conn {
	h.Helper()
	c, err := net.Dial("tcp", h.Addr().String())
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		h.Fatal(err)
	}
	return c
}

func (h house) wantClosed(c net.Conn) {
	h.Helper()
	_, err := c.Read(make([]byte, 1))
	if ne := net.Error(nil); err == nil || errors.As(err, &ne) && ne.Timeout() {
		h.Errorf("it is open still: %v", err)
	}
}

// counts waits until so many connections are open, and so many of them give way.
func (h house) counts(open, givesWay int) {
	h.Helper()
	for deadline := time.Now().Add(patience); ; {
		h.mu.Lock()
		o, s := h.open, h.strangers.Len()+h.turnedAway.Len()
		h.mu.Unlock()
		if o == open && s == givesWay {
			return
		}
		if time.Now().After(deadline) {
			h.Fatalf("%d are open and %d give way, want %d and %d", o, s, open, givesWay)
		}
		time.Sleep(time.Millisecond)
	}
}

func ok(http.ResponseWriter, *http.Request) {}

// rooms is a handler that serves for as long as a test likes: on /slow those whom it lets in, on /asked those of
// whom it does not know yet who they are, and on /refused those whom it turns away.
type rooms struct {
	inside, goOn chan struct{}
	door         *Door // set before anybody is served
}

func newRooms() *rooms { return &rooms{inside: make(chan struct{}), goOn: make(chan struct{})} }

func (r *rooms) serve(_ http.ResponseWriter, q *http.Request) {
	switch q.URL.Path {
	case "/":
		return
	case "/slow":
		defer r.door.LetIn(q.Context())()
	case "/refused":
		r.door.LetIn(q.Context())()
		r.door.TurnAway(q.Context())
	}
	r.inside <- struct{}{}
	<-r.goOn
}

// house is a house with these rooms.
func (r *rooms) house(t *testing.T, b Bounds, secure bool) house {
	t.Helper()
	h := newHouse(t, b, secure, r.serve)
	r.door = h.Door
	return h
}

// The longest silent gives way, however it came to be silent.
func TestTheLongestSilentGivesWay(t *testing.T) {
	t.Parallel()
	h := newHouse(t, Bounds{Connections: 3, HTTP2: 1}, false, ok)
	says := h.client()
	h.mustAsk(says)
	h.counts(1, 1)
	first := h.dial()
	h.counts(2, 2)
	second := h.dial()
	h.counts(3, 3)
	h.mustAsk(says) // so that it is no more the longest
	h.counts(3, 3)
	h.dial()
	h.wantClosed(first)
	h.dial()
	h.wantClosed(second)
	h.counts(3, 3)
}

// TestStrangersLockNobodyOut: however many connect and say nothing.
func TestStrangersLockNobodyOut(t *testing.T) {
	t.Parallel()
	const most = 8
	h := newHouse(t, Bounds{Connections: most, HTTP2: 1}, true, ok)
	for range 5 {
		for range 2 * most {
			h.dial()
		}
		h.mustAsk(h.client())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open > most {
		t.Errorf("%d are open", h.open)
	}
}

// TestWhoIsServedStays: where all are served a newcomer waits, until one of them is silent.
func TestWhoIsServedStays(t *testing.T) {
	t.Parallel()
	r := newRooms()
	h := r.house(t, Bounds{Connections: 2, HTTP2: 1}, false)
	served, late := make(chan error, 2), make(chan error, 1)
	for range 2 {
		go func() {
			_, err := h.ask(h.client(), "/slow")
			served <- err
		}()
		<-r.inside
	}
	h.counts(2, 0)
	go func() {
		_, err := h.ask(h.client(), "/")
		late <- err
	}()
	select {
	case err := <-late:
		t.Fatalf("the third one was let in: %v", err)
	case r.goOn <- struct{}{}:
	}
	for _, c := range []<-chan error{served, late} {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
	r.goOn <- struct{}{}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestWhoIsNotLetInGivesWay: whoever asks for something holds a connection for no longer than one who is
// silent, and one who was refused goes before both. The one who is served stays.
func TestWhoIsNotLetInGivesWay(t *testing.T) {
	t.Parallel()
	for what, secure := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRooms()
			defer close(r.goOn)
			h := r.house(t, Bounds{Connections: 4, HTTP2: 4}, secure)
			answers := map[string]chan error{}
			for _, path := range []string{"/slow", "/asked", "/refused"} {
				answer := make(chan error, 1)
				answers[path] = answer
				go func() {
					_, err := h.ask(h.client(), path)
					answer <- err
				}()
				<-r.inside
			}
			h.counts(3, 2)
			silent := h.dial()
			h.counts(4, 3)
			for _, path := range []string{"/refused", "/asked"} {
				h.dial()
				if err := <-answers[path]; err == nil {
					t.Errorf("%s was served", path)
				}
			}
			h.dial()
			h.wantClosed(silent)
			h.counts(4, 3)
			r.goOn <- struct{}{} // to one of those that are gone, or the one that stays
			r.goOn <- struct{}{}
			r.goOn <- struct{}{}
			if err := <-answers["/slow"]; err != nil {
				t.Errorf("who was let in: %v", err)
			}
		})
	}
}

// TestARefusalBesideOneWhoIsServed on a connection of HTTP/2 costs neither.
func TestARefusalBesideOneWhoIsServed(t *testing.T) {
	t.Parallel()
	r := newRooms()
	h := r.house(t, Bounds{Connections: 1, HTTP2: 1}, true)
	c := h.client()
	h.mustAsk(c) // so that both share its connection
	answers := make(chan error, 2)
	for _, path := range []string{"/slow", "/refused"} {
		go func() {
			_, err := h.ask(c, path)
			answers <- err
		}()
		<-r.inside
	}
	h.counts(1, 0) // a newcomer would have to wait
	close(r.goOn)
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	h.counts(1, 1)
}

// TestTheDoorClosesOnWhoWaits for somebody to leave.
func TestTheDoorClosesOnWhoWaits(t *testing.T) {
	t.Parallel()
	r := newRooms()
	h := r.house(t, Bounds{Connections: 1, HTTP2: 1}, false)
	served := make(chan error, 1)
	go func() {
		_, err := h.ask(h.client(), "/slow")
		served <- err
	}()
	<-r.inside
	waits := h.dial()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h.wantClosed(waits)
	if err := <-h.ended; err == nil {
		t.Error("the server goes on")
	}
	close(r.goOn)
	if err := <-served; err != nil {
		t.Errorf("who was in: %v", err)
	}
}

// TestHTTP2IsBounded: whoever comes beyond the bound speaks HTTP/1.1, until somebody leaves.
func TestHTTP2IsBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, Bounds{Connections: 10, HTTP2: 2}, true, ok)
	first := h.client()
	for i, want := range []string{"HTTP/2.0", "HTTP/2.0", "HTTP/1.1", "HTTP/1.1"} {
		c := first
		if i > 0 {
			c = h.client()
		}
		if got := h.mustAsk(c); got != want {
			t.Errorf("connection %d speaks %s", i, got)
		}
	}
	first.CloseIdleConnections()
	h.counts(3, 3)
	if got := h.mustAsk(h.client()); got != "HTTP/2.0" {
		t.Errorf("after one has left: %s", got)
	}
}

// TestWhoAsksForHTTP1TakesNoPlace of those who speak HTTP/2.
func TestWhoAsksForHTTP1TakesNoPlace(t *testing.T) {
	t.Parallel()
	h := newHouse(t, Bounds{Connections: 10, HTTP2: 1}, true, ok)
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.trusted, MinVersion: tls.VersionTLS12}}}
	defer plain.CloseIdleConnections()
	if got := h.mustAsk(plain); got != "HTTP/1.1" {
		t.Errorf("asked for HTTP/1.1: %s", got)
	}
	if got := h.mustAsk(h.client()); got != "HTTP/2.0" {
		t.Errorf("the only place is taken: %s", got)
	}
}
