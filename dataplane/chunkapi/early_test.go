package chunkapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// earlyCase is a request that no handler sees, and what it gets.
type earlyCase struct {
	name, request string
	code          Code
	detail        string
}

func earlyCases() []earlyCase {
	const get = "GET / HTTP/1.1\r\n"
	return []earlyCase{
		{"no HTTP", "hello\r\n\r\n", CodeMalformedRequest, ""},
		{"no Host", get + "\r\n", CodeMalformedRequest, "missing required Host header"},
		{"a broken Host", get + "Host: a b\r\n\r\n", CodeMalformedRequest, "malformed Host header"},
		{"a broken field", get + "Host: a\r\nX y: z\r\n\r\n", CodeMalformedRequest, "invalid header name"},
		{"two lengths", get + "Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", CodeMalformedRequest, ""},
		{"an expectation", get + "Host: a\r\nExpect: a miracle\r\n\r\n", CodeExpectationFailed, ""},
		{"an expectation of HTTP/1.0", "GET / HTTP/1.0\r\nExpect: a miracle\r\n\r\n", CodeExpectationFailed, ""},
		{"a large header", get + "Host: a\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes), CodeHeaderTooLarge, ""},
		{"a coding", get + "Host: a\r\nTransfer-Encoding: gzip\r\n\r\n", CodeUnsupportedTransferCoding, ""},
		{"a version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", CodeUnsupportedVersion, "unsupported protocol version"},
	}
}

// eachHTTP1 runs a test for each way to speak HTTP/1.1.
func eachHTTP1(t *testing.T, test func(t *testing.T, w *world, dial func() net.Conn)) {
	t.Helper()
	for _, how := range []string{"plain", "TLS", "TLS that agrees on nothing"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{http2: how != "plain"})
			test(t, w, func() net.Conn {
				var c net.Conn = w.dial()
				if how == "plain" {
					return c
				}
				config := w.transport().TLSClientConfig.Clone()
				config.ServerName, config.NextProtos = "127.0.0.1", nil
				if how == "TLS" {
					config.NextProtos = []string{"http/1.1"}
				}
				return tls.Client(c, config)
			})
		})
	}
}

// wantEarly wants a problem, and nothing after it.
func wantEarly(t *testing.T, c net.Conn, code Code, detail string) {
	t.Helper()
	in := bufio.NewReader(c)
	reply, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(reply.Body)
	if err := errors.Join(err, reply.Body.Close()); err != nil {
		t.Fatal(err)
	}
	k := kindWith(code)
	p := decode[Problem](t, body)
	want := k.problem(detail)
	if reply.StatusCode != k.status || !reflect.DeepEqual(p, want) {
		t.Errorf("got %d %s, want %s %q", reply.StatusCode, body, code, detail)
	}
	h := reply.Header
	if h.Get("Content-Type") != problemType || h.Get("Cache-Control") != "no-store" || h.Get("Date") == "" || !reply.Close {
		t.Errorf("headers: %v, ends: %t", h, reply.Close)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("then came %q, %v", rest, err)
	}
}

func TestRepliesBeforeAHandlerAreProblems(t *testing.T) {
	t.Parallel()
	eachHTTP1(t, func(t *testing.T, _ *world, dial func() net.Conn) {
		for _, c := range earlyCases() {
			t.Run(c.name, func(t *testing.T) {
				before := "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"
				for _, first := range []string{"", before} { // the first request on a connection, and a later one
					conn := dial()
					if _, err := io.WriteString(conn, first+c.request); err != nil {
						t.Fatal(err)
					}
					if first != "" {
						skipReply(t, conn, c)
						continue
					}
					wantEarly(t, conn, c.code, c.detail)
				}
			})
		}
	})
}

// skipReply reads the reply to a good request, and then wants the problem of one that is not.
func skipReply(t *testing.T, conn net.Conn, c earlyCase) {
	t.Helper()
	in := bufio.NewReader(conn)
	reply, err := http.ReadResponse(in, nil) //nolint:bodyclose // it is the connection's, which is closed
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, reply.Body); err != nil || reply.Header.Get(requestIDHeader) == "" {
		t.Fatalf("got %v, %v", reply, err)
	}
	wantEarly(t, buffered{conn, in}, c.code, c.detail)
}

// buffered is a connection of which a part was read already.
type buffered struct {
	net.Conn
	in io.Reader
}

// Read reads.
func (b buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

// TestContentThatLooksLikeAReplyStaysAsItIs: what a handler writes is nothing to a connection.
func TestContentThatLooksLikeAReplyStaysAsItIs(t *testing.T) {
	t.Parallel()
	const reply = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"Connection: close\r\n\r\n400 Bad Request"
	content := bytes.Repeat([]byte(reply), 5000)
	eachHTTP1(t, func(t *testing.T, w *world, dial func() net.Conn) {
		publish(w, "obj", content)
		conn := dial()
		in := bufio.NewReader(conn)
		for _, from := range []int{0, len(reply), 0} {
			_, err := fmt.Fprintf(conn, "GET %s/content HTTP/1.1\r\nHost: a\r\nRange: bytes=%d-\r\n\r\n", base("obj"), from)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r.Body)
			err = errors.Join(err, r.Body.Close())
			if err != nil || r.StatusCode != http.StatusPartialContent || !bytes.Equal(got, content[from:]) {
				t.Fatalf("got %d with %d bytes, %v", r.StatusCode, len(got), err)
			}
		}
	})
}

// TestHTTPWithoutTLS at a port that speaks TLS.
func TestHTTPWithoutTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{http2: true})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		c := w.dial()
		begun := (method + " " + base("obj"))[:5] // no more than is read of it: else the kernel resets
		if _, err := io.WriteString(c, begun); err != nil {
			t.Fatal(err)
		}
		reply, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reply.Body)
		if err := errors.Join(err, reply.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if p := decode[Problem](t, body); p.Code != CodeTLSRequired || reply.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: got %d %s", method, reply.StatusCode, body)
		}
	}
}

// TestHandshakesThatDoNotGoOn end with their time, and with the server; nobody waits for them.
func TestHandshakesThatDoNotGoOn(t *testing.T) {
	t.Parallel()
	var server *http.Server
	for what, o := range map[string]options{
		"slow": {http2: true, server: func(s *http.Server) { s.ReadHeaderTimeout = 200 * time.Millisecond }},
		"over": {http2: true, server: func(s *http.Server) { server = s }},
	} {
		w := newWorld(t, o)
		silent := w.dial()
		if _, err := silent.Write([]byte{22, 3, 1}); err != nil {
			t.Fatal(err)
		}
		if what == "over" {
			w.do(http.MethodGet, base("nobody"), nil).want(t, http.StatusNotFound)
			w.transport().CloseIdleConnections()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			err := server.Shutdown(ctx)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
		}
		got, err := io.ReadAll(silent)
		if ne := net.Error(nil); len(got) > 0 || errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
}

// TestRepliesOfHTTP2ThatAreNoProblems are those that docs/protocol.md names.
func TestRepliesOfHTTP2ThatAreNoProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{http2: true})
	much := strings.Repeat("x", maxHeaderBytes*2/3) // one field that is too long would end the connection
	for status, header := range map[int][]string{
		http.StatusBadRequest: {"Connection", "close"}, http.StatusRequestHeaderFieldsTooLarge: {"X", much, "Y", much},
	} {
		p := w.dialHTTP2(t)
		id := p.begin(fields(http.MethodGet, base("obj"), header...), false)
		p.flush()
		for got := ""; got == ""; {
			frame, err := p.ReadFrame()
			p.must(err)
			if f, ok := frame.(*http2.MetaHeadersFrame); ok && f.StreamID == id {
				got = f.PseudoValue("status")
				if kind := contentType(f); got != strconv.Itoa(status) || strings.Contains(kind, "problem") {
					t.Errorf("got %s with %s, want %d: say so in docs/protocol.md", got, kind, status)
				}
			}
		}
	}
}

func contentType(f *http2.MetaHeadersFrame) string {
	for _, field := range f.RegularFields() {
		if field.Name == "content-type" {
			return field.Value
		}
	}
	return ""
}
