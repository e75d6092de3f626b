package chunkapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"sync"
	"testing"
)

// eachProtocol runs a test over HTTP/1.1 and over HTTP/2.
func eachProtocol(t *testing.T, test func(t *testing.T, http2 bool)) {
	t.Helper()
	for _, http2 := range []bool{false, true} {
		t.Run("http2="+strconv.FormatBool(http2), func(t *testing.T) {
			t.Parallel()
			test(t, http2)
		})
	}
}

// secured makes a certificate for a server, which the transport trusts from then on, speaking nothing but HTTP/2.
func secured(transport *http.Transport) *tls.Config {
	one := httptest.NewTLSServer(nil)
	defer one.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(one.Certificate())
	transport.TLSClientConfig = &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP2(true)
	return &tls.Config{
		Certificates: one.TLS.Certificates, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}
}

// wire is one client that sends requests one after another, piece by piece: a conn, or
// streams of a connection that all of them share.
type wire interface {
	io.WriteCloser
	send(method, path string, length int, data []byte, headers ...string)
	write(b []byte)
	receive(method string) answer
	wantClosed()
}

// transport is the client's own, by which it speaks the protocol of the world.
func (w *world) transport() *http.Transport {
	w.t.Helper()
	transport, ok := w.client.Transport.(*http.Transport)
	if !ok {
		w.t.Fatalf("the client has a %T", w.client.Transport)
	}
	return transport
}

// open is a wire of the protocol that the world speaks.
func (w *world) open() wire {
	w.t.Helper()
	if w.transport().Protocols == nil {
		return w.dial()
	}
	return &stream{w: w}
}

// stream is a wire over HTTP/2.
type stream struct {
	w         *world
	body      *feed
	cancel    context.CancelFunc
	continued chan struct{}
	answers   chan func(testing.TB) answer
}

func (s *stream) send(method, path string, length int, data []byte, headers ...string) {
	s.w.t.Helper()
	s.body, s.continued, s.answers = newFeed(data, length), make(chan struct{}, 1), make(chan func(testing.TB) answer, 1)
	continued, answers := s.continued, s.answers
	ctx, cancel := context.WithCancel(httptrace.WithClientTrace(s.w.t.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { continued <- struct{}{} },
	}))
	s.cancel = cancel
	s.w.t.Cleanup(cancel)
	var body io.Reader
	if length > 0 {
		body = s.body
	}
	r, err := http.NewRequestWithContext(ctx, method, s.w.base+path, body)
	if err != nil {
		s.w.t.Fatal(err)
	}
	r.ContentLength = int64(max(length, 0))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	go func() {
		resp, err := s.w.client.Do(r) //nolint:bodyclose // it is closed below, where there is one
		var got []byte
		if err == nil {
			got, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close() // it was read
		}
		answers <- func(t testing.TB) answer {
			t.Helper()
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			return answer{resp, got}
		}
	}()
}

func (s *stream) Write(b []byte) (int, error) { return s.body.Write(b) }

func (s *stream) write(b []byte) {
	s.w.t.Helper()
	if _, err := s.Write(b); err != nil {
		s.w.t.Fatal(err)
	}
}

func (s *stream) receive(string) answer {
	s.w.t.Helper()
	select {
	case <-s.continued:
		return answer{Response: &http.Response{StatusCode: http.StatusContinue}}
	case got := <-s.answers:
		return got(s.w.t)
	case <-s.w.t.Context().Done():
		s.w.t.Fatal("no answer")
		panic("unreachable")
	}
}

// wantClosed waits until the client was told to send no more of the request.
func (s *stream) wantClosed() {
	s.w.t.Helper()
	await(s.w.t, "the end of the stream", s.body.closed)
}

// Close resets the stream.
func (s *stream) Close() error {
	s.cancel()
	return nil
}

// feed is a body that a test writes as it likes, without waiting for who reads it.
type feed struct {
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	more sync.Cond
	buf  bytes.Buffer
	left int // to the end of the body
	over bool
}

func newFeed(data []byte, length int) *feed {
	f := &feed{closed: make(chan struct{}), left: length}
	f.more.L = &f.mu
	f.buf.Write(data)
	return f
}

func (f *feed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return 0, io.ErrClosedPipe
	}
	f.more.Broadcast()
	return f.buf.Write(b)
}

func (f *feed) Read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.buf.Len() == 0 && !f.over && f.left > 0 {
		f.more.Wait()
	}
	switch {
	case f.over:
		return 0, io.ErrClosedPipe
	case f.left == 0:
		return 0, io.EOF
	}
	n, err := f.buf.Read(b[:min(len(b), f.left)])
	f.left -= n
	return n, err
}

func (f *feed) Close() error {
	f.once.Do(func() { close(f.closed) })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.more.Broadcast()
	return nil
}
