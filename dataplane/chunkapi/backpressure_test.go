package chunkapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// patient is a configuration in which nothing is given up because of time.
func patient(c Config) options {
	c.ChunkWait, c.IdleTimeout = time.Hour, 3*time.Hour
	return options{api: c}
}

// over is the same over HTTP/2, or not.
func (o options) over(http2 bool) options {
	o.http2 = http2
	return o
}

// access is one use of the disk that waits until it is let go on.
type access struct {
	id session.ID
	on chan struct{}
}

// slowDisk holds every use of the disk back, and tells of it.
type slowDisk struct {
	accesses chan access
	whole    chan struct{} // closed once the disk is as fast as ever
	repair   func()
}

func newSlowDisk(t *testing.T) *slowDisk {
	d := &slowDisk{accesses: make(chan access, 1000), whole: make(chan struct{})}
	d.repair = sync.OnceFunc(func() { close(d.whole) })
	t.Cleanup(d.repair) // or the server could not be closed
	return d
}

func (d *slowDisk) use(id session.ID) error {
	a := access{id, make(chan struct{})}
	select {
	case <-d.whole:
		return nil
	case d.accesses <- a:
	}
	select {
	case <-a.on:
	case <-d.whole:
	}
	return nil
}

// TestOnlyChunksWaitForAHungDisk: every slot is taken by a chunk that the disk
// does not take, and as many more wait as may.
func TestOnlyChunksWaitForAHungDisk(t *testing.T) { eachProtocol(t, testOnlyChunksWaitForAHungDisk) }

func testOnlyChunksWaitForAHungDisk(t *testing.T, http2 bool) {
	for what, hook := range map[string]func(*volume) *atomic.Pointer[onDisk]{
		"write":  func(v *volume) *atomic.Pointer[onDisk] { return &v.write },
		"commit": func(v *volume) *atomic.Pointer[onDisk] { return &v.commit },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, patient(Config{MaxConcurrentChunks: 2}).over(http2))
			publish(w, "done", []byte("0123"))
			disk := newSlowDisk(t)
			use := onDisk(disk.use)
			hook(w.volume).Store(&use)
			w.accepted("aborted", 4, 4)

			var conns []wire
			put := func(name string, index int) wire {
				c := w.open()
				c.send(http.MethodPut, chunkPath(name, index), 4, []byte("0123"))
				conns = append(conns, c)
				return c
			}
			for _, name := range []string{"a", "b"} {
				granted := w.accepted(name, 400, 4)
				put(name, 0)
				await(t, "use of the disk", disk.accesses)
				for index := 1; index <= WaitersPerChunk; index++ {
					put(name, index)
				}
				w.inLine(granted, WaitersPerChunk)
			}
			for name, state := range map[string]State{"a": StateActive, "b": StateActive, "aborted": StateActive, "done": StatePublished} {
				if st := w.do(http.MethodGet, base(name), nil).want(t, http.StatusOK).status(t); st.State != state {
					t.Errorf("%s is %s", name, st.State)
				}
				w.do(http.MethodHead, base(name), nil).want(t, http.StatusOK)
			}
			w.do(http.MethodPost, base("a")+"/complete", nil).want(t, http.StatusConflict)
			w.do(http.MethodPost, base("done")+"/complete", nil).want(t, http.StatusOK)
			w.do(http.MethodDelete, base("aborted"), nil).want(t, http.StatusNoContent)
			w.do(http.MethodGet, base("done")+"/content", nil).want(t, http.StatusOK)

			// One more of them is sent away, one of another session is not.
			a := w.put("a", 50, []byte("0123")).want(t, http.StatusTooManyRequests)
			if p := a.problem(t); p.Code != CodeTooManyChunks || a.Header.Get("Retry-After") != "10" {
				t.Errorf("beyond the bound: %s, %v", a.body, a.Header)
			}
			newcomer := w.accepted("c", 4, 4)
			put("c", 0)
			w.inLine(newcomer, 1)
			disk.repair()
			refused := 0
			for _, c := range conns {
				switch a := c.receive(http.MethodPut); {
				case a.StatusCode == http.StatusServiceUnavailable && a.problem(t).Code == CodeBusy:
					refused++
				default:
					a.want(t, http.StatusCreated)
				}
			}
			if refused != 1 {
				t.Errorf("%d were refused, want the one that gave way to a newcomer", refused)
			}
			w.turns.expectNoTrace(t)
		})
	}
}

// TestNewcomerIsLetIn: where as many wait as may, the one who came last of the
// session that has most gives way to a session that has none.
func TestNewcomerIsLetIn(t *testing.T) { eachProtocol(t, testNewcomerIsLetIn) }

func testNewcomerIsLetIn(t *testing.T, http2 bool) {
	w := newWorld(t, patient(Config{MaxConcurrentChunks: 1}).over(http2))
	greedy := w.accepted("greedy", 4*40, 4)
	single := w.accepted("single", 4, 4)
	holder := hold(w, greedy)
	var waiting []wire
	for index := 1; index <= WaitersPerChunk; index++ {
		c := w.open()
		c.send(http.MethodPut, chunkPath("greedy", index), 4, []byte("0123"))
		w.inLine(greedy, index)
		waiting = append(waiting, c)
	}
	c := w.open()
	c.send(http.MethodPut, chunkPath("single", 0), 4, []byte("0123"))
	last := len(waiting) - 1
	a := waiting[last].receive(http.MethodPut).want(t, http.StatusServiceUnavailable)
	if p := a.problem(t); p.Code != CodeBusy || a.Header.Get("Retry-After") != "10" {
		t.Errorf("who gave way got %s, %v", a.body, a.Header)
	}
	w.inLine(single, 1)
	holder.write([]byte("yy"))
	for _, c := range append(waiting[:last:last], c, holder) {
		c.receive(http.MethodPut).want(t, http.StatusCreated)
	}
	w.turns.expectNoTrace(t)
}

// slowBody is a body that tells of its first read, and then has no byte until
// it breaks.
type slowBody struct {
	touched *atomic.Int32
	broken  <-chan struct{}
}

func (b slowBody) Read([]byte) (int, error) {
	b.touched.Add(1)
	<-b.broken
	return 0, errors.New("the body broke")
}

// TestBodiesOfThoseWhoWaitAreNotRead: a thousand requests of one session read
// no more bodies at once, and hold no more buffers, than it has slots.
func TestBodiesOfThoseWhoWaitAreNotRead(t *testing.T) {
	t.Parallel()
	const requests, slots, own = 1000, 64, 48
	w := newWorld(t, patient(Config{MaxConcurrentChunks: slots}))
	name := w.accepted("obj", 1000*requests, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var touched, refused atomic.Int32
	broken := make(chan struct{})
	repair := sync.OnceFunc(func() { close(broken) })
	defer repair()
	var served sync.WaitGroup
	for index := range requests {
		served.Go(func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodPut, chunkPath("obj", index), slowBody{&touched, broken})
			r.ContentLength = 1000
			r.Header.Set("Content-Length", "1000")
			answer := httptest.NewRecorder()
			w.handler.ServeHTTP(answer, r)
			if answer.Code == http.StatusTooManyRequests {
				refused.Add(1)
			}
		})
	}
	w.inLine(name, own*WaitersPerChunk)
	eventually(t, "all others are refused or received", func() bool {
		return refused.Load() == requests-own-own*WaitersPerChunk && touched.Load() == own
	})
	w.do(http.MethodGet, base("obj"), nil).want(t, http.StatusOK)
	cancel() // their clients go away
	w.inLine(name, 0)
	if n := touched.Load(); n != own {
		t.Errorf("%d bodies were touched, want %d", n, own)
	}
	repair()
	served.Wait()
	if n := touched.Load(); n != own {
		t.Errorf("in the end %d bodies were touched, want %d", n, own)
	}
	w.turns.expectNoTrace(t)
}

// TestTwoHundredConnectionsAgainstOne: the session with one connection gets its turn after at most one chunk of the other.
func TestTwoHundredConnectionsAgainstOne(t *testing.T) {
	eachProtocol(t, testTwoHundredConnectionsAgainstOne)
}

func testTwoHundredConnectionsAgainstOne(t *testing.T, http2 bool) {
	const slots, connections, rounds, chunks = 16, 200, 8, 20_000
	// The one session may have all slots, so that the other one depends on its turn.
	w := newWorld(t, patient(Config{MaxConcurrentChunks: slots, MaxConcurrentChunksPerSession: slots}).over(http2))
	greedy, single := w.accepted("greedy", chunks, 1), w.accepted("single", rounds, 1)
	greedyID, singleID := w.meta(greedy).ID, w.meta(single).ID
	disk := newSlowDisk(t)
	use := onDisk(disk.use)
	w.volume.write.Store(&use)

	var next atomic.Int32
	var senders sync.WaitGroup
	defer senders.Wait()
	defer disk.repair()
	defer next.Store(chunks) // they send what they have begun
	for range connections {
		senders.Go(func() {
			for index := int(next.Add(1)) - 1; index < chunks; index = int(next.Add(1)) - 1 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, w.base+chunkPath("greedy", index), strings.NewReader("x"))
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := w.client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, answer.Body) // the status says all
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusCreated {
					t.Errorf("chunk %d: %s", index, answer.Status)
					return
				}
			}
		})
	}
	var held []access // by the greedy session
	greedyTakes := func() {
		t.Helper()
		a := await(t, "a chunk on the disk", disk.accesses)
		if a.id != greedyID {
			t.Fatalf("session %s is on the disk", a.id)
		}
		held = append(held, a)
	}
	for range slots {
		greedyTakes()
	}
	for round := range rounds {
		w.inLine(greedy, connections-slots)
		answered := make(chan answer, 1)
		go func() { answered <- w.put("single", round, []byte("x")) }()
		w.inLine(single, 1)
		var got access
		for passed := 0; ; passed++ {
			close(held[0].on) // a slot is given back
			held = held[1:]
			if got = await(t, "the next chunk on the disk", disk.accesses); got.id == singleID {
				break
			}
			held = append(held, got)
			if passed > 0 {
				t.Fatal("another chunk of the session with 200 connections got its turn before")
			}
		}
		close(got.on)
		await(t, "answer", answered).want(t, http.StatusCreated)
		greedyTakes()
	}
	if n := len(disk.accesses); n != 0 {
		t.Errorf("%d more are on the disk", n)
	}
}

// TestConcurrencyLimit: what is beyond the limit waits, and gets in.
func TestConcurrencyLimit(t *testing.T) { eachProtocol(t, testConcurrencyLimit) }

func testConcurrencyLimit(t *testing.T, http2 bool) {
	const limit = 3
	w := newWorld(t, patient(Config{MaxConcurrentChunks: limit, MaxConcurrentChunksPerSession: limit}).over(http2))
	name := w.accepted("obj", 5000, 1000)
	data := noise(1, 1000)
	var conns []wire
	for index := range limit {
		c := w.open()
		c.send(http.MethodPut, chunkPath("obj", index), 1000, data[:500])
		conns = append(conns, c)
	}
	w.inFlight(name, limit)
	waiting := w.open()
	waiting.send(http.MethodPut, chunkPath("obj", 4), 1000, data)
	w.inLine(name, 1)
	for _, c := range append(conns, waiting) {
		if c != waiting {
			c.write(data[500:])
		}
		c.receive(http.MethodPut).want(t, http.StatusCreated)
		w.inLine(name, 0)
	}
	// A slot is free by the time of the answer, also for bytes that are held already.
	w.put("obj", 0, data).want(t, http.StatusOK)
	w.turns.expectNoTrace(t)
}

// TestWhoWentAwayHoldsNoSlot: the turns of clients that went away end at once,
// and the one behind them gets in.
func TestWhoWentAwayHoldsNoSlot(t *testing.T) { eachProtocol(t, testWhoWentAwayHoldsNoSlot) }

func testWhoWentAwayHoldsNoSlot(t *testing.T, http2 bool) {
	w := newWorld(t, patient(Config{MaxConcurrentChunks: 1}).over(http2))
	name := w.accepted("abc", 40, 4)
	holder := hold(w, name)
	gone := 0 // over HTTP/1.1 nobody notices until it is their turn
	for index := range 5 {
		c := w.open()
		c.send(http.MethodPut, chunkPath("abc", index+1), 4, nil, "Expect", "100-continue")
		w.inLine(name, gone+1)
		_ = c.Close()
		if http2 {
			w.inLine(name, 0)
		} else {
			gone++
		}
	}
	c := w.open()
	c.send(http.MethodPut, chunkPath("abc", 9), 4, nil, "Expect", "100-continue")
	w.inLine(name, gone+1)
	holder.write([]byte("yy"))
	holder.receive(http.MethodPut).want(t, http.StatusCreated)
	c.receive(http.MethodPut).want(t, http.StatusContinue)
	c.write([]byte("0123"))
	c.receive(http.MethodPut).want(t, http.StatusCreated)
	if m := w.meta(name); m.HeldChunks != 2 {
		t.Errorf("%d chunks are held", m.HeldChunks)
	}
	w.turns.expectNoTrace(t)
}

// TestWhoIsGoneGivesItsSlotBack, also where it got one at once.
func TestWhoIsGoneGivesItsSlotBack(t *testing.T) {
	t.Parallel()
	a, ok := New(Config{}).(*api)
	if !ok {
		t.Fatal("the handler is another one")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.awaitTurn(ctx, chunkID{"a", 0}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	a.turns.expectNoTrace(t)
}

// TestNobodyWaitsOnceItIsStopping: who waits is answered, what is being received is not disturbed.
func TestNobodyWaitsOnceItIsStopping(t *testing.T) { eachProtocol(t, testNobodyWaitsOnceItIsStopping) }

func testNobodyWaitsOnceItIsStopping(t *testing.T, http2 bool) {
	stopping := make(chan struct{})
	w := newWorld(t, patient(Config{MaxConcurrentChunks: 1, Stopping: stopping}).over(http2))
	name := w.accepted("abc", 400, 4)
	holder := hold(w, name)
	var conns []wire
	for index := range 5 {
		c := w.open()
		c.send(http.MethodPut, chunkPath("abc", index+1), 4, []byte("0123"))
		conns = append(conns, c)
	}
	w.inLine(name, 5)
	close(stopping)
	late := w.open()
	late.send(http.MethodPut, chunkPath("abc", 6), 4, []byte("0123"))
	for _, c := range append(conns, late) {
		a := c.receive(http.MethodPut).want(t, http.StatusServiceUnavailable)
		if p := a.problem(t); p.Code != CodeUnavailable || p.Title != "The dataplane is stopping" || a.Header.Get("Retry-After") == "" {
			t.Errorf("got %s, %v", a.body, a.Header)
		}
	}
	holder.write([]byte("yy"))
	holder.receive(http.MethodPut).want(t, http.StatusCreated)
	late.send(http.MethodPut, chunkPath("abc", 6), 4, []byte("0123"))
	late.receive(http.MethodPut).want(t, http.StatusCreated)
	w.turns.expectNoTrace(t)
}

func TestRetryAfterGrowsWithTheCrowd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		crowd crowdError
		code  Code
		after int
	}{
		{crowdError{taken: 64}, CodeBusy, 1},
		{crowdError{taken: 64, waiting: 63}, CodeBusy, 1},
		{crowdError{taken: 64, waiting: 64}, CodeBusy, 2},
		{crowdError{taken: 64, waiting: 1024}, CodeBusy, 10},
		{crowdError{own: true, taken: 48, waiting: 96}, CodeTooManyChunks, 3},
		{crowdError{own: true, waiting: 3}, CodeTooManyChunks, 4},
	} {
		no, ok := errors.AsType[*refusal](refuseCrowd(&c.crowd, ""))
		if !ok || no.kind.code != c.code {
			t.Fatalf("%+v: got %v", c.crowd, no)
		}
		answer := httptest.NewRecorder()
		writeProblem(answer, httptest.NewRequest(http.MethodPut, "/", http.NoBody), no.kind, "", Members{})
		if got := answer.Header().Get("Retry-After"); got != strconv.Itoa(c.after) {
			t.Errorf("%+v: Retry-After is %q, want %d", c.crowd, got, c.after)
		}
	}
}

// TestTheWaitIsShorterThanTheReadDeadline, which the server sets when a request comes.
func TestTheWaitIsShorterThanTheReadDeadline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ wait, idle, want time.Duration }{
		{0, 0, DefaultChunkWait},
		{time.Second, time.Minute, time.Second},
		{time.Hour, time.Minute, 30 * time.Second},
		{0, time.Second, time.Second / 2},
	} {
		a, ok := New(Config{ChunkWait: c.wait, IdleTimeout: c.idle}).(*api)
		if !ok || a.chunkWait != c.want {
			t.Error(fmt.Sprint(c), a.chunkWait)
		}
	}
}
