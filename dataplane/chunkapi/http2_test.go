package chunkapi

import (
	"bytes"
	"context"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

func overHTTP2World(t testing.TB, c Config) *world {
	t.Helper()
	return newWorld(t, patient(c).over(true))
}

// TestStreamsDoNotStarveEachOther: those who wait for their turn have sent all
// that they may, and the one whose turn it is goes on over the same connection.
func TestStreamsDoNotStarveEachOther(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	w := overHTTP2World(t, Config{MaxConcurrentChunks: 1})
	name := w.accepted("obj", size*StreamsPerConnection, size)
	p := w.dialHTTP2(t)
	holder := p.put("obj", 0, size)
	p.data(holder, 1000, false)
	p.flush()
	w.inFlight(name, 1)
	for index := 1; index < StreamsPerConnection; index++ {
		p.data(p.put("obj", index, size), streamBuffer, false)
		p.flush()
		w.inLine(name, index)
	}
	// As fast as the server lets it: it grants more as it reads.
	granted, connection, left := streamBuffer-1000, ConnectionBuffer-(StreamsPerConnection-1)*streamBuffer-1000, size-1000
	for left > 0 {
		n := min(granted, connection, left)
		p.data(holder, n, n == left)
		p.flush()
		granted, connection, left = granted-n, connection-n, left-n
		for left > 0 && min(granted, connection) <= 0 {
			frame, err := p.ReadFrame()
			p.must(err)
			f, ok := frame.(*http2.WindowUpdateFrame)
			switch {
			case ok && f.StreamID == 0:
				connection += int(f.Increment)
			case ok && f.StreamID == holder:
				granted += int(f.Increment)
			}
		}
	}
	if status, body := p.reply(holder); status != http.StatusCreated {
		t.Errorf("got %d %s", status, body)
	}
}

// TestMemoryOverHTTP2: however many send however much, what is held of those
// who wait is bounded. It measures the heap, so it runs alone.
func TestMemoryOverHTTP2(t *testing.T) {
	const connections, size = 16, 64 << 20
	w := overHTTP2World(t, Config{MaxConcurrentChunks: 16})
	name := w.accepted("obj", size*connections*StreamsPerConnection, size)
	var holders []wire
	for index := range 12 { // three quarters of 16: all that one session may have
		h := w.open()
		h.send(http.MethodPut, chunkPath("obj", index), size, []byte("x"))
		holders = append(holders, h)
	}
	w.inFlight(name, len(holders))
	before := heapInUse()
	for c := range connections {
		p := w.dialHTTP2(t)
		for s := range StreamsPerConnection {
			if c*StreamsPerConnection+s >= 12*WaitersPerChunk {
				break
			}
			p.data(p.put("obj", 100+s, size), streamBuffer, false)
		}
		p.flush()
		p.out = bytes.Buffer{}
	}
	const waiting = 12 * WaitersPerChunk
	w.inLine(name, waiting)
	eventually(t, "all that may come has come", func() bool { return heapInUse()-before > waiting*streamBuffer*9/10 })
	took := heapInUse() - before
	most := int64(waiting/StreamsPerConnection*ConnectionBuffer + connections*(1<<20))
	t.Logf("%d requests of %d MiB on %d connections take %.1f MiB", waiting, size>>20, connections, float64(took)/(1<<20))
	if took > most {
		t.Errorf("they take %d bytes, more than %d", took, most)
	}
}

// heapInUse is how much is in use once what is not is collected.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// crowdedGate lets everybody in, slowly, and counts them.
type crowdedGate struct {
	auth.Open
	inside, most atomic.Int32
	open         chan struct{}
}

func (g *crowdedGate) Authenticate(*http.Request) (auth.Caller, error) {
	defer g.inside.Add(-1)
	for n := g.inside.Add(1); ; {
		most := g.most.Load()
		if n <= most || g.most.CompareAndSwap(most, n) {
			break
		}
	}
	<-g.open
	return auth.Caller{}, nil
}

// TestRapidReset (CVE-2023-44487): who asks and takes it back at once has no more
// requests at work than who does not, and is cut off. Others are served meanwhile.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	gate := &crowdedGate{open: make(chan struct{})}
	w := overHTTP2World(t, Config{Gate: gate})
	w.accepted("obj", 4, 4)
	p := w.dialHTTP2(t)
	header := fields(http.MethodGet, base("obj"))
	for range 10_000 {
		p.must(p.WriteRSTStream(p.begin(header, false), http2.ErrCodeCancel))
	}
	_, _ = p.out.WriteTo(p.conn) // it may be cut off before all is sent
	if code := p.end(); code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("it was ended with %s", code)
	}
	if n := gate.most.Load(); n > StreamsPerConnection {
		t.Errorf("%d requests were at work, at most %d may be", n, StreamsPerConnection)
	}
	close(gate.open)
	w.put("obj", 0, []byte("0123")).want(t, http.StatusCreated)
}

// TestStreamsAreBounded: one more than may be is refused, and the others go on.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	gate := &crowdedGate{open: make(chan struct{})}
	w := overHTTP2World(t, Config{Gate: gate})
	w.accepted("obj", 4, 4)
	p := w.dialHTTP2(t)
	first := p.begin(fields(http.MethodGet, base("obj")), false)
	for range StreamsPerConnection - 1 {
		p.begin(fields(http.MethodGet, base("obj")), false)
	}
	beyond := p.begin(fields(http.MethodGet, base("obj")), false)
	p.flush()
	if status, why := p.reply(beyond); status != 0 || string(why) != http2.ErrCodeProtocol.String() {
		t.Errorf("got %d %s", status, why)
	}
	close(gate.open)
	if status, body := p.reply(first); status != http.StatusOK {
		t.Errorf("got %d %s", status, body)
	}
}

// TestFloodsOfFrames are cut off, and others are served.
func TestFloodsOfFrames(t *testing.T) {
	t.Parallel()
	for what, flood := range map[string]func(p *peer){
		"a header without end, in CONTINUATION frames": func(p *peer) { // CVE-2023-45288
			p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(http.MethodGet, "/")}))
			p.flush()
			p.must(p.WriteContinuation(1, false, fields(http.MethodGet, "/", "x", strings.Repeat("a", 10_000))))
			if written := p.pour(p.out.Bytes(), 100_000); written > 64<<20 {
				t.Errorf("%d bytes of a header were taken", written)
			}
		},
		"a header that is too long": func(p *peer) {
			more := slices.Repeat([]string{"x", strings.Repeat("a", 1000)}, maxHeaderBytes/1000+1)
			id := p.begin(fields(http.MethodGet, "/", more...), false)
			p.flush()
			if status, _ := p.reply(id); status != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("got %d", status)
			}
			p.must(p.conn.Close())
		},
		"a frame that is too long": func(p *peer) {
			p.must(p.WriteRawFrame(0x77, 0, 0, make([]byte, maxFrame+1)))
			p.flush()
			if code := p.end(); code != http2.ErrCodeFrameSize {
				t.Errorf("ended with %s", code)
			}
		},
		"more than the window": func(p *peer) {
			id := p.put("slow", 0, 1<<30)
			p.data(id, 2*streamBuffer, false)
			p.flush()
			if status, why := p.reply(id); status != 0 || string(why) != http2.ErrCodeFlowControl.String() {
				t.Errorf("got %d %s", status, why)
			}
			p.must(p.conn.Close())
		},
		"PINGs whose replies are not read": func(p *peer) {
			for range 1000 {
				p.must(p.WritePing(false, [8]byte{}))
			}
			if p.pour(p.out.Bytes(), 10_000) == 10_000*p.out.Len() {
				t.Error("ten million were taken")
			}
		},
		"SETTINGS whose replies are not read": func(p *peer) {
			for range 1000 {
				p.must(p.WriteSettings())
			}
			p.pour(p.out.Bytes(), 1000) // one reply is owed for however many
			p.must(p.conn.Close())
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := overHTTP2World(t, Config{MaxConcurrentChunks: 1})
			w.accepted("obj", 4, 4)
			w.accepted("slow", 1<<30, 1<<30)
			hold(w, w.accepted("holder", 4, 4)) // so that others wait
			p := w.dialHTTP2(t)
			p.t = t
			flood(p)
			p.end()
			w.do(http.MethodGet, base("obj"), nil).want(t, http.StatusOK)
		})
	}
}

// TestSlowHeaderOverHTTP2: who begins a header and does not go on is as idle as who says nothing.
func TestSlowHeaderOverHTTP2(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{http2: true, server: func(s *http.Server) { s.IdleTimeout = 200 * time.Millisecond }})
	p := w.dialHTTP2(t)
	p.must(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(http.MethodGet, "/")}))
	p.flush()
	p.end()
}

// TestSlowHeader over HTTP/1.1 has a bound of its own, also where a byte comes now and then.
func TestSlowHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{server: func(s *http.Server) { s.ReadHeaderTimeout = 200 * time.Millisecond }})
	c := w.dial()
	c.write([]byte("GET / HTTP/1.1\r\nX-Slow: "))
	stop := make(chan struct{})
	defer close(stop)
	go drip(c, bytes.Repeat([]byte("a"), int(patience/dripEvery)), stop)
	c.wantClosed()
}

// TestGracefulEndOverHTTP2: those who are told that the server goes away still get their answers.
func TestGracefulEndOverHTTP2(t *testing.T) {
	t.Parallel()
	var server *http.Server
	w := newWorld(t, options{http2: true, server: func(s *http.Server) { server = s }})
	name := w.accepted("obj", 8, 4)
	p := w.dialHTTP2(t)
	id := p.put("obj", 0, 4)
	p.data(id, 2, false)
	p.flush()
	w.inFlight(name, 1)
	ended := make(chan error, 1)
	go func() { ended <- server.Shutdown(context.Background()) }()
	for {
		frame, err := p.ReadFrame()
		p.must(err)
		if g, ok := frame.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeNo {
				t.Errorf("told to go away with %s", g.ErrCode)
			}
			break
		}
	}
	p.data(id, 2, true)
	p.flush()
	if status, body := p.reply(id); status != http.StatusCreated {
		t.Errorf("got %d %s", status, body)
	}
	if err := await(t, "the end", ended); err != nil {
		t.Error(err)
	}
}

// TestDeadReaderOverHTTP2: who takes no more of a reply loses it, and the connection goes on.
func TestDeadReaderOverHTTP2(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{http2: true, api: Config{IdleTimeout: 200 * time.Millisecond}})
	publish(w, "obj", noise(1, 1<<20))
	p := w.dialHTTP2(t)
	id := p.begin(fields(http.MethodGet, base("obj")+"/content"), false)
	p.flush() // and no window is ever granted
	if status, why := p.reply(id); string(why) != http2.ErrCodeInternal.String() {
		t.Errorf("got %d and %d bytes", status, len(why))
	}
	next := p.begin(fields(http.MethodGet, base("obj")), false)
	p.flush()
	// Its window is used up too: of the reply only the header comes.
	for {
		frame, err := p.ReadFrame()
		p.must(err)
		if f, ok := frame.(*http2.MetaHeadersFrame); ok && f.StreamID == next {
			if got := f.PseudoValue("status"); got != strconv.Itoa(http.StatusOK) {
				t.Errorf("got %s", got)
			}
			return
		}
	}
}
