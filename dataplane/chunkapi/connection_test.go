package chunkapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRetryTakesOver(t *testing.T) {
	for what, slots := range map[string]int{"both have a slot": 2, "it waits for its turn": 1} {
		t.Run(what, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, http2 bool) {
				testRetryTakesOver(t, Config{MaxConcurrentChunks: slots, MaxConcurrentChunksPerSession: slots}, http2)
			})
		})
	}
}

// Over HTTP/2 the request that hangs and the one that takes over share a connection.
func testRetryTakesOver(t *testing.T, config Config, http2 bool) {
	w := newWorld(t, options{api: config, takeOverAfter: 30 * time.Millisecond, http2: http2})
	data := noise(1, 500_000)
	name := w.grant("obj", int64(len(data)), int64(len(data)))
	hung := w.open()
	hung.send(http.MethodPut, chunkPath("obj", 0), len(data), noise(2, len(data)/2))
	w.inFlight(name, 1)
	w.put("obj", 0, data).want(t, http.StatusCreated)
	a := hung.receive(http.MethodPut)
	if p := a.problem(t); p.Code != CodeSuperseded || a.StatusCode != http.StatusConflict {
		t.Errorf("the first request got %d %s", a.StatusCode, p.Code)
	}
	hung.wantClosed()
	w.do(http.MethodPost, base("obj")+"/complete", nil).want(t, http.StatusOK)
	if !bytes.Equal(w.object("obj"), data) {
		t.Error("the object has bytes of the first request")
	}
	if n := w.opened.Load(); http2 && n != 1 {
		t.Errorf("there were %d connections, which shows nothing", n)
	}
	if n := len(w.receiving.bodies); n != 0 {
		t.Errorf("%d bodies are being received", n)
	}
}

func TestSlowSenderIsNotDead(t *testing.T) { eachProtocol(t, testSlowSenderIsNotDead) }

func testSlowSenderIsNotDead(t *testing.T, http2 bool) {
	const idle = 500 * time.Millisecond
	w := newWorld(t, options{api: Config{IdleTimeout: idle}, http2: http2})
	data := noise(1, int(3*idle/dripEvery))
	w.grant("obj", int64(len(data)), int64(len(data)))
	c := w.open()
	begun := time.Now()
	c.send(http.MethodPut, chunkPath("obj", 0), len(data), nil)
	drip(c, data, nil)
	c.receive(http.MethodPut).want(t, http.StatusCreated)
	if took := time.Since(begun); took < 2*idle {
		t.Fatalf("took only %s, which shows nothing", took)
	}
	// The connection is as good as new, and no deadline of the chunk is left on it.
	c.send(http.MethodGet, base("obj"), -1, nil)
	c.receive(http.MethodGet).want(t, http.StatusOK)
}

func TestDeadSenderIsFound(t *testing.T) { eachProtocol(t, testDeadSenderIsFound) }

func testDeadSenderIsFound(t *testing.T, http2 bool) {
	w := newWorld(t, options{api: Config{IdleTimeout: 100 * time.Millisecond}, http2: http2})
	name := w.grant("obj", 1<<20, 1<<20)
	c := w.open()
	c.send(http.MethodPut, chunkPath("obj", 0), 1<<20, noise(1, 1<<19))
	a := c.receive(http.MethodPut)
	if p := a.problem(t); a.StatusCode != http.StatusRequestTimeout || p.Code != CodeRequestTimeout {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	c.wantClosed()
	w.inFlight(name, 0)
	if m := w.meta(name); m.HeldChunks != 0 {
		t.Error("half a chunk is held")
	}
}

// TestDeadSenderOfRefusedBody: what a refusal leaves unread is not waited for without end.
func TestDeadSenderOfRefusedBody(t *testing.T) { eachProtocol(t, testDeadSenderOfRefusedBody) }

func testDeadSenderOfRefusedBody(t *testing.T, http2 bool) {
	w := newWorld(t, options{api: Config{IdleTimeout: 100 * time.Millisecond}, http2: http2})
	c := w.open()
	c.send(http.MethodPut, chunkPath("nobody", 0), 1000, []byte("x"))
	c.receive(http.MethodPut).want(t, http.StatusNotFound)
	c.wantClosed()
}

func TestDisconnectLeavesNothing(t *testing.T) { eachProtocol(t, testDisconnectLeavesNothing) }

func testDisconnectLeavesNothing(t *testing.T, http2 bool) {
	w := newWorld(t, options{http2: http2})
	name := w.accepted("obj", 10<<20, 1<<20)
	for index := range 10 {
		c := w.open()
		c.send(http.MethodPut, chunkPath("obj", index), 1<<20, noise(1, 1<<19))
		w.inFlight(name, 1)
		_ = c.Close()
		w.inFlight(name, 0)
		if !http2 {
			await(t, "the connection is closed", w.closed)
		}
	}
	if m := w.meta(name); m.HeldChunks != 0 || m.HeldBytes != 0 {
		t.Errorf("%d chunks are held", m.HeldChunks)
	}
}

// TestNoGoroutineStays counts goroutines, so it runs alone.
func TestNoGoroutineStays(t *testing.T) {
	w := newWorld(t, options{takeOverAfter: 20 * time.Millisecond, api: Config{CompleteWait: 10 * time.Millisecond}})
	name := w.accepted("obj", 4<<20, 1<<20)
	before := runtime.NumGoroutine()
	data := noise(1, 1<<20)
	for range 3 {
		var conns []*conn
		for index := range 3 {
			c := w.dial()
			c.send(http.MethodPut, chunkPath("obj", index), 1<<20, data[:1<<19])
			conns = append(conns, c)
		}
		w.inFlight(name, 3)
		if err := conns[0].SetLinger(0); err != nil { // a reset, not an end
			t.Fatal(err)
		}
		for _, c := range conns {
			_ = c.Close()
		}
		w.inFlight(name, 0)
	}
	hung := w.dial()
	hung.send(http.MethodPut, chunkPath("obj", 3), 1<<20, data[:10])
	w.inFlight(name, 1)
	w.put("obj", 3, data).want(t, http.StatusCreated)
	_ = hung.Close()
	w.put("obj", 3, noise(2, 1<<20)).want(t, http.StatusConflict)
	w.do(http.MethodDelete, base("obj"), nil).want(t, http.StatusNoContent)
	w.put("obj", 0, data).want(t, http.StatusGone)
	w.client.CloseIdleConnections()
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}

func TestExpectContinue(t *testing.T) { eachProtocol(t, testExpectContinue) }

func testExpectContinue(t *testing.T, http2 bool) {
	w := newWorld(t, options{http2: http2})
	data := noise(1, 1<<20)
	w.grant("obj", 1<<20, 1<<20)
	w.grant("gone", 1<<20, 1<<20)
	w.do(http.MethodDelete, base("gone"), nil).want(t, http.StatusNoContent)

	for _, length := range []int{1 << 20, 1000} {
		refused := w.open()
		refused.send(http.MethodPut, chunkPath("gone", 0), length, nil, "Expect", "100-continue")
		a := refused.receive(http.MethodPut).want(t, http.StatusGone) // and no 100 before
		if !a.Close && !http2 {
			t.Error("a connection is kept whose next bytes may be a body or a request")
		}
	}
	c := w.open()
	c.send(http.MethodPut, chunkPath("obj", 0), len(data), nil, "Expect", "100-continue")
	if a := c.receive(http.MethodPut); a.StatusCode != http.StatusContinue {
		t.Fatalf("got %d, want 100", a.StatusCode)
	}
	c.write(data)
	c.receive(http.MethodPut).want(t, http.StatusCreated)
}

func TestRefusalDoesNotReadTheBody(t *testing.T) { eachProtocol(t, testRefusalDoesNotReadTheBody) }

func testRefusalDoesNotReadTheBody(t *testing.T, http2 bool) {
	w := newWorld(t, options{http2: http2})
	w.grant("obj", 8, 4)
	c := w.open()
	c.send(http.MethodPut, chunkPath("obj", 0), 1<<30, nil)
	a := c.receive(http.MethodPut).want(t, http.StatusRequestEntityTooLarge)
	if !a.Close && !http2 {
		t.Error("the connection is kept, with 1 GiB to come")
	}
	c.wantClosed()
}

func TestKeepAliveAfterRefusals(t *testing.T) { eachProtocol(t, testKeepAliveAfterRefusals) }

func testKeepAliveAfterRefusals(t *testing.T, http2 bool) {
	w := newWorld(t, options{http2: http2})
	w.grant("obj", 12, 4)
	c := w.open()
	for _, step := range []struct {
		method, path string
		body         string
		status       int
	}{
		{http.MethodPut, chunkPath("obj", 0), "toolong", http.StatusRequestEntityTooLarge},
		{http.MethodPut, chunkPath("obj", 9), "0123", http.StatusBadRequest},
		{http.MethodPut, chunkPath("obj", 0), "0123", http.StatusCreated},
		{http.MethodPut, chunkPath("obj", 0), "4567", http.StatusConflict},
		{http.MethodPut, chunkPath("nobody", 0), "4567", http.StatusNotFound},
		{http.MethodGet, base("obj") + "/content", "", http.StatusNotFound},
		{http.MethodPost, base("obj") + "/complete", "{}", http.StatusConflict},
		{http.MethodPut, chunkPath("obj", 1), "0123", http.StatusCreated},
		{http.MethodPatch, base("obj"), "0123", http.StatusMethodNotAllowed},
		{http.MethodHead, base("obj"), "", http.StatusOK},
		{http.MethodPut, chunkPath("obj", 2), "0123", http.StatusCreated},
	} {
		c.send(step.method, step.path, len(step.body), []byte(step.body))
		if a := c.receive(step.method).want(t, step.status); a.Close {
			t.Fatalf("%s %s: the connection is not kept", step.method, step.path)
		}
	}
}

func TestPipelining(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.grant("obj", 8, 4)
	c := w.dial()
	c.send(http.MethodPut, chunkPath("obj", 0), 4, []byte("0123"))
	c.send(http.MethodPut, chunkPath("obj", 1), 3, []byte("456"))
	c.send(http.MethodPut, chunkPath("obj", 1), 4, []byte("4567"))
	c.send(http.MethodPost, base("obj")+"/complete", 0, nil)
	for _, status := range []int{http.StatusCreated, http.StatusBadRequest, http.StatusCreated, http.StatusOK} {
		c.receive(http.MethodPut).want(t, status)
	}
	if got := w.object("obj"); string(got) != "01234567" {
		t.Errorf("the object is %q", got)
	}
}

// TestChunkOfAClientThatSaysNoMore: who closes its side after the last byte still gets its answer, and the chunk is kept.
func TestChunkOfAClientThatSaysNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	data := noise(1, 1<<20)
	w.grant("obj", 1<<20, 1<<20)
	c := w.dial()
	c.send(http.MethodPut, chunkPath("obj", 0), len(data), data)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.receive(http.MethodPut).want(t, http.StatusCreated)
}

// TestAbortOfAClientThatSaysNoMore: nor is an abort given up.
func TestAbortOfAClientThatSaysNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.grant("obj", 4, 4)
	w.put("obj", 0, []byte("0123")).want(t, http.StatusCreated)
	gate, open := holdPublication(w)
	completed := make(chan answer, 1)
	go func() { completed <- w.do(http.MethodPost, base("obj")+"/complete", nil) }()
	await(t, "publication", gate)
	c := w.dial()
	c.send(http.MethodDelete, base("obj"), -1, nil)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for range 20 { // enough for the server to see the end of what the client says
		w.do(http.MethodGet, base("obj"), nil).want(t, http.StatusOK)
	}
	open()
	if p := c.receive(http.MethodDelete).problem(t); p.Code != CodeAlreadyEnded {
		t.Errorf("got %s", p.Code)
	}
	await(t, "completion", completed).want(t, http.StatusOK)
}

func TestReadersOfContent(t *testing.T) {
	t.Parallel()
	const size, idle = 24 << 20, time.Second
	w := newWorld(t, options{api: Config{IdleTimeout: idle}})
	data := noise(1, size)
	publish(w, "obj", data)

	// A dead one is found.
	dead := w.dial()
	if err := dead.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	dead.send(http.MethodGet, base("obj")+"/content", -1, nil)
	for closed := ""; closed != dead.LocalAddr().String(); {
		closed = await(t, "the dead reader's connection is closed", w.closed).String()
	}

	// A slow one is not dead.
	slow := w.dial()
	begun := time.Now()
	slow.send(http.MethodGet, base("obj")+"/content", -1, nil)
	resp, err := http.ReadResponse(slow.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := make([]byte, 0, size+1)
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for err == nil {
		<-tick.C
		var n int
		n, err = io.ReadFull(resp.Body, got[len(got):min(len(got)+100<<10, cap(got))])
		got = got[:len(got)+n]
	}
	if len(got) != size || !bytes.Equal(got, data) {
		t.Errorf("the slow reader got %d bytes of %d: %v", len(got), size, err)
	}
	if took := time.Since(begun); took < 2*idle {
		t.Fatalf("took only %s, which shows nothing", took)
	}
}

// TestTakeOver: only the body of that chunk, and only once it has been silent for so long.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	r, id := newReceiving(), chunkID{"a", 0}
	body := &incomingBody{setDeadline: func(time.Time) {}, arrived: time.Now().Add(-time.Hour)}
	if after := r.takeOver(id, time.Minute); after != time.Minute {
		t.Errorf("nobody sends the chunk: again after %s", after)
	}
	r.begin(id, body)
	for _, other := range []chunkID{{"a", 1}, {"b", 0}} {
		r.takeOver(other, time.Minute)
	}
	if after := r.takeOver(id, 2*time.Hour); after > time.Hour || after < 30*time.Minute || body.err != nil {
		t.Errorf("it is not silent for long enough: again after %s, %v", after, body.err)
	}
	if after := r.takeOver(id, time.Minute); after != time.Minute || !errors.Is(body.err, errInterrupted) {
		t.Errorf("it is silent: again after %s, %v", after, body.err)
	}
	next := &incomingBody{}
	r.begin(id, next)
	r.end(id, body)
	if r.bodies[id] != next {
		t.Error("the next body is not known")
	}
	r.end(id, next)
	if len(r.bodies) != 0 {
		t.Error("a body that has ended is known")
	}
}

func TestABodyWhoseBytesArriveIsNotSilent(t *testing.T) {
	t.Parallel()
	body := &incomingBody{body: strings.NewReader("xy"), begin: func() bool { return true }, idle: time.Hour, setDeadline: func(time.Time) {}}
	for range 2 {
		if _, err := body.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if silent := time.Since(body.lastByte()); silent > time.Minute {
			t.Errorf("silent for %s", silent)
		}
		body.arrived = time.Now().Add(-time.Hour)
	}
}

// TestInterruptAgainstRenewals: whatever happens at the same time, a deadline
// that Interrupt has set stays, and none is set after release.
func TestInterruptAgainstRenewals(t *testing.T) {
	t.Parallel()
	for range 200 {
		var mu sync.Mutex
		var last time.Time
		body := &incomingBody{
			body: strings.NewReader(strings.Repeat("x", 1000)), begin: func() bool { return true }, // no idle timeout: renews with each Read
			setDeadline: func(d time.Time) {
				mu.Lock()
				defer mu.Unlock()
				last = d
			},
		}
		var both sync.WaitGroup
		both.Go(func() {
			for {
				if _, err := body.Read(make([]byte, 1)); err != nil {
					return
				}
			}
		})
		both.Go(body.Interrupt)
		both.Wait()
		interrupted := errors.Is(body.err, errInterrupted)
		if past := last.Year() < 2000; past != interrupted {
			t.Fatalf("interrupted is %v, the deadline %s", interrupted, last)
		}
		if !interrupted && !errors.Is(body.err, io.EOF) {
			t.Fatalf("ended with %v", body.err)
		}
	}
}

func TestInterruptAfterTheEnd(t *testing.T) {
	t.Parallel()
	sets := 0
	body := &incomingBody{
		body: strings.NewReader("x"), begin: func() bool { return true }, idle: time.Hour,
		setDeadline: func(time.Time) { sets++ },
	}
	if b, err := io.ReadAll(body); err != nil || string(b) != "x" || sets != 1 {
		t.Fatalf("read %q, %v, with %d deadlines", b, err, sets)
	}
	body.Interrupt()
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || sets != 1 {
		t.Errorf("after the end: %v, with %d deadlines", err, sets)
	}
}

func TestNewServer(t *testing.T) {
	t.Parallel()
	s := NewServer(http.NotFoundHandler(), nil)
	if s.ReadTimeout != 0 || s.WriteTimeout != 0 || s.ReadHeaderTimeout == 0 || s.IdleTimeout == 0 || s.MaxHeaderBytes == 0 || s.ErrorLog == nil || !s.Protocols.HTTP1() || s.Protocols.UnencryptedHTTP2() {
		t.Errorf("%+v", s)
	}
}
