package chunkapi

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// FuzzFrames: whatever frames come over a connection of HTTP/2, what is held
// stays as it was, nothing fails inside, and whoever comes next is served.
func FuzzFrames(f *testing.F) {
	w := newWorld(f, options{http2: true, api: Config{IdleTimeout: time.Second}})
	name := w.accepted("obj", 10, 4)
	w.put("obj", 0, []byte("0123")).want(f, http.StatusCreated)
	add := func(write func(p *peer)) {
		p := &peer{t: f, next: 1}
		p.Framer = http2.NewFramer(&p.out, nil)
		p.must(p.WriteSettings())
		write(p)
		f.Add(p.out.Bytes())
	}
	add(func(*peer) {})
	add(func(p *peer) { p.begin(fields(http.MethodGet, base("obj")), false) })
	add(func(p *peer) { p.data(p.put("obj", 1, 4), 3, true) })
	add(func(p *peer) { p.data(p.put("obj", 1, 4), 5, true) })
	add(func(p *peer) { p.must(p.WriteRSTStream(p.put("obj", 1, 4), http2.ErrCodeCancel)) })
	add(func(p *peer) { p.must(p.WriteDataPadded(p.put("obj", 1, 4), false, []byte("45"), make([]byte, 200))) })
	add(func(p *peer) {
		p.begin(fields(http.MethodPut, chunkPath("obj", 1), "content-length", "4", "content-length", "5"), true)
	})
	add(func(p *peer) {
		p.begin(fields(http.MethodPut, chunkPath("obj", 1), "connection", "close", "transfer-encoding", "chunked"), true)
	})
	add(func(p *peer) { p.begin(fields("CONNECT", "*", "expect", "100-continue"), true) })
	add(func(p *peer) { p.must(p.WriteWindowUpdate(0, 1<<31-1)); p.must(p.WriteWindowUpdate(0, 1<<31-1)) })
	add(func(p *peer) { p.must(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})) })
	add(func(p *peer) { p.must(p.WriteGoAway(9, http2.ErrCodeNo, nil)) })
	add(func(p *peer) { p.must(p.WriteRawFrame(http2.FrameContinuation, 0, 7, []byte("x"))) })
	config := w.transport().TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	f.Fuzz(func(t *testing.T, sent []byte) {
		if bytes.Contains(sent, []byte("DELETE")) || len(sent) > 64<<10 {
			t.Skip() // to end a session is its right; compressed it can't be said in so few bytes by chance
		}
		w.t = t
		w.throwFrames(t, config, sent)
		for len(w.closed) > 0 {
			<-w.closed // nobody else waits for them here
		}
		wantHeld(t, w, w.meta(name).ID)
		if bytes.Contains([]byte(w.log.String()), []byte("panic")) {
			t.Fatalf("%q: the log has %s", sent, w.log)
		}
	})
}

// throwFrames sends bytes after a preface, says that no more come, and waits until the server has let go.
func (w *world) throwFrames(t *testing.T, config *tls.Config, sent []byte) {
	t.Helper()
	c, err := tls.Dial("tcp", w.addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// The server may have closed before all was sent.
	_, _ = io.WriteString(c, http2.ClientPreface+string(sent))
	_ = c.CloseWrite()
	for frames := http2.NewFramer(io.Discard, c); ; {
		frame, err := frames.ReadFrame()
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%q: the connection is kept", sent)
		}
		if _, ends := frame.(*http2.GoAwayFrame); ends || err != nil {
			return // it closes a second after it has said so
		}
	}
}
