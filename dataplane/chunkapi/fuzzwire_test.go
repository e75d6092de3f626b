package chunkapi

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzWire: whatever bytes come over a connection, each reply can be read, none
// is a 500, and what is held stays as it was, as long as no whole request ends the session.
func FuzzWire(f *testing.F) {
	one := base("obj") + "/chunks/1"
	for _, seed := range []string{
		"", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET " + base("obj") + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT " + one + " HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n4567",
		"PUT " + one + " HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n4567",
		"PUT " + one + " HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n4567\r\n0\r\n\r\n",
		"PUT " + one + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
		"PUT " + one + " HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n45",
		"PUT " + base("obj") + "/chunks/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n9999GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST " + base("obj") + "/complete HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
		"POST /v1/namespaces/ml/uploadsessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01",
	} {
		f.Add([]byte(seed))
	}
	w := newWorld(f, options{api: Config{IdleTimeout: time.Second}})
	name := w.accepted("obj", 10, 4)
	w.put("obj", 0, []byte("0123"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		if bytes.Contains(bytes.ToUpper(sent), []byte("DELETE")) || len(sent) > 64<<10 {
			t.Skip() // to end a session is its right
		}
		got := w.throw(t, sent)
		for reader := bufio.NewReader(bytes.NewReader(got)); ; {
			// Of a reply to HEAD nobody knows here that it has no body.
			reply, err := http.ReadResponse(reader, nil)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q gets %q: %v", sent, got, err)
			}
			if reply.StatusCode == http.StatusInternalServerError || reply.StatusCode < 400 && strings.Contains(reply.Header.Get("Content-Type"), "problem") {
				t.Errorf("%q gets %q", sent, got)
			}
			_, err = io.Copy(io.Discard, reply.Body)
			_ = reply.Body.Close() // it was read to its end
			if err != nil || bytes.Contains(sent, []byte("HEAD")) {
				break
			}
		}
		for len(w.closed) > 0 {
			<-w.closed // nobody else waits for them here
		}
		w.t = t
		wantHeld(t, w, w.meta(name).ID)
	})
}

// throw sends bytes and says that no more come, and returns all that comes back.
func (w *world) throw(t *testing.T, sent []byte) []byte {
	t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// The server may have answered and closed before all was sent.
	_, _ = c.Write(sent)
	_ = c.(*net.TCPConn).CloseWrite() //nolint:errcheck // it is one
	got, err := io.ReadAll(c)
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Errorf("%q is not answered, and the connection is kept: %q", sent, got)
	}
	return got
}
