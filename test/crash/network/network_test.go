package network

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// Bounds of what a client has to wait, with room for a machine that is busy.
const (
	slack = 10 * time.Second
	// takeOver is after how long without a byte a retry takes over from the first try.
	takeOver = 5 * time.Second
	// headerTimeout is how long the headers of a request may take.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a client may send nothing.
	idleTimeout = time.Minute
)

// chunkSize is more than a block of the dataplane's, so that it is writing when the connection breaks.
const chunkSize = 600 << 10

// place is a dataplane and a load's knowledge of it.
type place struct {
	*rig.Load
	t *testing.T
}

// All that can happen to a connection, at once and on one dataplane: most of
// it is waiting.
func TestNoBrokenConnectionBreaksAPromise(t *testing.T) {
	p := newPlace(t)
	groups := concurrently(t)
	for name, group := range map[string]func(*testing.T, *place){
		"cut": aCutConnection, "stalled": aStalledConnection, "late": aLateHeader, "hung": aHungRequestEnds, "slow": aSlowClient,
		"duplicated": aDuplicatedRequest, "overtaken": aRetryThatOvertakes, "half closed": aClientThatHalfCloses,
		"other calls": otherCallsThatAreCut, "any": anyFault,
	} {
		groups.run(name, func(t *testing.T) { group(t, p) })
	}
	groups.wait()
	p.end()
}

// together are the parts of a test that run at once, more of them than
// -parallel lets.
type together struct {
	t       *testing.T
	running sync.WaitGroup
}

func concurrently(t *testing.T) *together { return &together{t: t} }

func (c *together) run(name string, part func(*testing.T)) {
	c.running.Go(func() { c.t.Run(name, part) })
}

func (c *together) wait() { c.running.Wait() }

// newPlace starts a dataplane, with these flags besides others, that all cases share.
func newPlace(t *testing.T, args ...string) *place {
	t.Helper()
	world := rig.NewWorld(t)
	oracle := rig.NewOracle(rig.Seed(t))
	dataplane := world.Dataplane(t.TempDir())
	dataplane.Args = args
	if err := dataplane.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(oracle.Watch(dataplane.Files))
	return &place{Load: rig.NewLoad(world, oracle, dataplane), t: t}
}

// end checks what is left of all cases.
func (p *place) end() {
	p.t.Helper()
	ctx := p.t.Context()
	if err := errors.Join(p.Finish(ctx), p.Clear(ctx)); err != nil {
		p.t.Error(err)
	}
}

// one is a case: a session of three chunks, of which the middle one meets a
// broken connection.
type one struct {
	*place
	*rig.Session
	t *testing.T
}

// broken is the chunk that meets it.
const broken = 1

var names struct {
	sync.Mutex
	n int
}

func (p *place) session(t *testing.T, change func(*rig.Session)) *one {
	t.Helper()
	names.Lock()
	names.n++
	n := names.n
	names.Unlock()
	s := &rig.Session{
		Name: fmt.Sprintf("n%d", n), Key: fmt.Sprintf("objects/n%d", n),
		Size: 3*chunkSize - 1000, ChunkSize: chunkSize, Explicit: n%2 == 0,
	}
	change(s)
	p.Oracle.Add(s)
	c := &one{p, s, t}
	c.must(p.Admit(t.Context(), s))
	for _, index := range []int{0, 2} {
		if reply := p.Send(t.Context(), s, index, 0, true); !reply.OK() {
			t.Fatalf("chunk %d: %s", index, reply)
		}
	}
	return c
}

func (c *one) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// through is a client whose connections meet the fault.
func (c *one) through(fault Fault) (*Proxy, *rig.Client) {
	c.t.Helper()
	proxy, err := NewProxy(strings.TrimPrefix(c.Dataplane.URL(), "http://"), fault)
	c.must(err)
	c.t.Cleanup(proxy.Close)
	return proxy, c.World.Client(proxy.Address())
}

// put sends a variant of the broken chunk through a client.
func (c *one) put(client *rig.Client, variant int) rig.Reply {
	return client.Put(c.t.Context(), c.Session, broken, c.Content(broken, variant), true)
}

// cut sends a chunk of which not all arrives.
func (c *one) cut(client *rig.Client) rig.Reply {
	content := c.Content(broken, 0)
	return client.Do(c.t.Context(), c.Session, rig.Request{
		Method: http.MethodPut, Path: rig.ChunkPath(broken), Body: bytes.NewReader(content), Length: int64(len(content)),
	})
}

// held reports whether the broken chunk is held.
func (c *one) held() bool {
	c.t.Helper()
	promises := c.Promises()
	st, reply := c.Dataplane.Status(c.t.Context(), c.Session)
	c.must(reply.Err)
	c.CheckStatus(promises, st, rig.ByStatus)
	return st.MissingChunks == 0
}

// within fails the case unless it is over in time.
func (c *one) within(bound time.Duration, what string, do func()) {
	c.t.Helper()
	began := time.Now()
	do()
	if took := time.Since(began); took > bound {
		c.t.Errorf("%s took %s, at most %s is allowed", what, took, bound)
	}
}

// completes sends the broken chunk over a good connection and completes.
func (c *one) completes(bound time.Duration) {
	c.t.Helper()
	c.within(bound, "the retry", func() {
		if reply := c.Send(c.t.Context(), c.Session, broken, 0, true); !reply.OK() {
			c.t.Errorf("the retry: %s", reply)
		}
	})
	c.within(slack, "to complete", func() {
		if reply := c.Complete(c.t.Context(), c.Session, nil, false); reply.Status != http.StatusOK {
			c.t.Errorf("complete: %s", reply)
		}
	})
	b, err := c.ReadKey(c.Dataplane.Files)
	c.must(err)
	c.must(c.CheckObject(b))
	c.must(c.Oracle.Err())
}

// aCutConnection: a connection that is cut anywhere in a chunk's request loses nothing but
// that request, and its retry need not wait.
func aCutConnection(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	for at := BeforeHeaders; at < Nowhere; at++ {
		for _, how := range []Manner{Close, Reset} {
			cases.run(fmt.Sprintf("%s %s", how, at), func(t *testing.T) {
				c := p.session(t, func(*rig.Session) {})
				c.isCut(at, how)
				c.completes(slack)
			})
		}
	}
}

func (c *one) isCut(at Position, how Manner) {
	c.t.Helper()
	_, client := c.through(Fault{At: at, How: how})
	var reply rig.Reply
	arrives := at >= BeforeReply
	c.within(slack, "the cut request", func() {
		if arrives {
			reply = c.put(client, 0)
		} else {
			reply = c.cut(client)
		}
	})
	if reply.OK() {
		c.t.Errorf("%s came back through a connection that was cut", reply)
	}
	if held := c.held(); held != arrives {
		c.t.Errorf("held is %t", held)
	}
}

// aStalledConnection: a connection that hangs anywhere in a chunk's request gives way to a retry.
func aStalledConnection(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	for at := BeforeHeaders; at < BeforeReply; at++ {
		cases.run(at.String(), func(t *testing.T) {
			c := p.session(t, func(*rig.Session) {})
			proxy, client := c.through(Fault{At: at, How: Stall})
			first := make(chan rig.Reply, 1)
			go func() { first <- c.cut(client) }()
			proxy.hangs()
			if c.held() {
				t.Error("a chunk is held that did not arrive")
			}
			began := time.Now()
			c.completes(takeOver + slack)
			// Before its headers are through nobody knows that it is one. Where the machine was so
			// busy that it was not the first, nobody needs to take over.
			if at <= InHeaders || time.Since(began) < takeOver/2 {
				proxy.Close()
			}
			c.within(slack, "the hung request", func() {
				if reply := <-first; reply.OK() || reply.Err == nil && reply.Code != chunkapi.CodeSuperseded {
					t.Errorf("the first try got %s", reply)
				}
			})
		})
	}
}

// second is the status of the second reply; 0 where none comes.
func (p *Proxy) second() int {
	select {
	case status := <-p.Seconds:
		return status
	case <-time.After(slack):
		return 0
	}
}

// hangs waits until a request hangs, and a little more, so that it is the first.
func (p *Proxy) hangs() {
	<-p.Acted
	time.Sleep(100 * time.Millisecond)
}

// aLateHeader: headers that do not come are not waited for.
func aLateHeader(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	for at := range InHeaders + 1 {
		cases.run(at.String(), func(t *testing.T) {
			c := p.session(t, func(*rig.Session) {})
			_, client := c.through(Fault{At: at, How: Stall})
			c.within(headerTimeout+slack, "the hung request", func() {
				if reply := c.cut(client); reply.OK() {
					t.Errorf("it got %s", reply)
				}
			})
			c.completes(slack)
		})
	}
}

// aHungRequestEnds: nobody who hangs is waited for for ever, even if nobody else comes.
func aHungRequestEnds(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	if !rig.Nightly() {
		t.Skip("it takes a minute; NIGHTLY_MINUTES is not set")
	}
	for at := AfterHeaders; at < BeforeReply; at++ {
		cases.run(at.String(), func(t *testing.T) {
			c := p.session(t, func(*rig.Session) {})
			address := strings.TrimPrefix(c.Dataplane.URL(), "http://")
			request := c.raw()
			headers := bytes.Index(request, []byte("\r\n\r\n")) + 4
			sent := map[Position]int{
				AfterHeaders: headers, FirstByte: headers + 1, Middle: headers + chunkSize/2, LastByte: len(request) - 1,
			}[at]
			c.within(idleTimeout+slack, "the hung request", func() {
				status, err := exchange(address, request[:sent], false)
				c.must(err)
				if status != http.StatusRequestTimeout {
					t.Errorf("it got %d", status)
				}
			})
			c.completes(slack)
		})
	}
}

// aSlowClient: a client that is slow, but not so slow as one that is dead, succeeds, and a
// retry waits for it.
func aSlowClient(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	for _, impatient := range []bool{false, true} {
		cases.run(fmt.Sprintf("with a retry %t", impatient), func(t *testing.T) {
			c := p.session(t, func(*rig.Session) {})
			_, client := c.through(Fault{At: Nowhere, Pieces: 16, Pause: 500 * time.Millisecond}) // longer than takeOver
			first := make(chan rig.Reply, 1)
			go func() { first <- c.put(client, 0) }()
			want := http.StatusCreated
			if impatient {
				time.Sleep(time.Second)
				// On a busy machine the retry may even come first. Then the slow one repeats it.
				retry := c.Send(t.Context(), c.Session, broken, 0, true)
				switch retry.Status {
				case http.StatusOK:
				case http.StatusCreated:
					want = http.StatusOK
				default:
					t.Errorf("the retry got %s", retry)
				}
			}
			if reply := <-first; reply.Status != want {
				t.Errorf("the slow client got %s", reply)
			}
			c.completes(slack)
		})
	}
}

// aDuplicatedRequest: a request that arrives twice counts once.
func aDuplicatedRequest(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	for range 4 {
		cases.run("", func(t *testing.T) {
			c := p.session(t, func(*rig.Session) {})
			proxy, client := c.through(Fault{At: Nowhere, Twice: true})
			one := c.put(client, 0)
			if two := proxy.second(); one.Status+two != http.StatusCreated+http.StatusOK {
				t.Errorf("the two got %s and %d", one, two)
			}
			c.completes(slack)
		})
	}
}

// aRetryThatOvertakes: a retry takes over from a first try that hangs. When that wakes up, nothing
// of it counts any more, although its bytes are other ones.
func aRetryThatOvertakes(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	for at := AfterHeaders; at < BeforeReply; at++ {
		cases.run(at.String(), func(t *testing.T) {
			c := p.session(t, func(s *rig.Session) { s.Contested = true })
			proxy, client := c.through(Fault{At: at, How: Stall})
			first := make(chan rig.Reply, 1)
			go func() { first <- c.put(client, 1) }()
			proxy.hangs()
			c.within(takeOver+slack, "the retry", func() {
				if reply := c.Send(t.Context(), c.Session, broken, 0, true); reply.Status != http.StatusCreated {
					t.Errorf("the retry got %s", reply)
				}
			})
			proxy.Resume()
			c.within(slack, "the first try", func() {
				if reply := <-first; reply.OK() {
					t.Errorf("the first try got %s", reply)
				}
			})
			c.completes(slack)
		})
	}
}

// aClientThatHalfCloses: a client that closes its side after it has sent all still gets its reply.
func aClientThatHalfCloses(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	cases.run("after the last byte", func(t *testing.T) {
		c := p.session(t, func(*rig.Session) {})
		content := c.Content(broken, 0)
		c.Sending(broken, content)
		status, err := exchange(strings.TrimPrefix(c.Dataplane.URL(), "http://"), c.raw(), true)
		c.must(err)
		if status != http.StatusCreated {
			t.Errorf("it got %d", status)
		}
		c.Acknowledged(broken, content)
		c.completes(slack)
	})
	cases.run("in the middle", func(t *testing.T) {
		c := p.session(t, func(*rig.Session) {})
		request := c.raw()
		status, err := exchange(strings.TrimPrefix(c.Dataplane.URL(), "http://"), request[:len(request)-chunkSize/2], true)
		c.must(err)
		if status != http.StatusBadRequest {
			t.Errorf("it got %d", status)
		}
		if c.held() {
			t.Error("half a chunk is held")
		}
		c.completes(slack)
	})
}

// raw is the request for the broken chunk, as it goes over the wire.
func (c *one) raw() []byte {
	content := c.Content(broken, 0)
	return append(fmt.Appendf(nil, "PUT %s%s HTTP/1.1\r\nHost: dataplane\r\nContent-Length: %d\r\n\r\n",
		c.World.Path(c.Session), rig.ChunkPath(broken), len(content)), content...)
}

// exchange sends these bytes, closes its side where it is told to, and returns
// the status of the reply.
func exchange(address string, request []byte, halfClose bool) (int, error) {
	to, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return 0, err
	}
	conn, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		return 0, err
	}
	defer conn.Close() // the reply was read
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	if halfClose {
		if err := conn.CloseWrite(); err != nil {
			return 0, err
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close() // it was read
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// otherCallsThatAreCut: a call to complete, to abort or to read that is cut has happened or not;
// asking again tells, and goes on.
func otherCallsThatAreCut(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	for _, at := range []Position{BeforeHeaders, InHeaders, AfterHeaders, BeforeReply, InReply} {
		for _, how := range []Manner{Close, Reset} {
			cases.run(fmt.Sprintf("complete %s %s", how, at), func(t *testing.T) {
				c := p.session(t, func(s *rig.Session) { s.Explicit = true })
				_, client := c.through(Fault{At: at, How: how})
				c.Send(t.Context(), c.Session, broken, 0, true)
				reply := client.Do(t.Context(), c.Session, rig.Request{Method: http.MethodPost, Path: "/complete"})
				if at != AfterHeaders && reply.OK() { // there is no body: all may have happened by then
					t.Errorf("it got %s", reply)
				}
				c.completes(slack)
			})
			cases.run(fmt.Sprintf("abort %s %s", how, at), func(t *testing.T) {
				c := p.session(t, func(s *rig.Session) { s.Explicit = true })
				_, client := c.through(Fault{At: at, How: how})
				c.Aborting()
				client.Do(t.Context(), c.Session, rig.Request{Method: http.MethodDelete})
				c.within(slack, "the abort", func() {
					if reply := c.Abort(t.Context(), c.Session); reply.Status != http.StatusNoContent {
						t.Errorf("it got %s", reply)
					}
				})
				if end := c.End(); end != upload.ClientAborted {
					t.Errorf("it ended as %q", end)
				}
			})
		}
	}
	cases.run("content", func(t *testing.T) {
		c := p.session(t, func(*rig.Session) {})
		c.completes(slack)
		c.readsOn()
	})
}

// readsOn reads half of the object, loses the connection, and reads on.
func (c *one) readsOn() {
	c.t.Helper()
	const half = chunkSize + 7
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.Dataplane.URL(), "http://"))
	c.must(err)
	_, err = fmt.Fprintf(conn, "GET %s/content HTTP/1.1\r\nHost: dataplane\r\n\r\n", c.World.Path(c.Session))
	c.must(err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	c.must(err)
	b := make([]byte, half)
	_, err = io.ReadFull(response.Body, b)
	c.must(err)
	_ = response.Body.Close() // it is lost
	c.must(conn.Close())
	reply := c.Dataplane.Do(c.t.Context(), c.Session, rig.Request{Method: http.MethodGet, Path: "/content", Header: map[string]string{
		"Range": fmt.Sprintf("bytes=%d-", half), "If-Range": response.Header.Get("ETag"),
	}})
	if reply.Status != http.StatusPartialContent {
		c.t.Errorf("the rest: %s", reply)
	}
	c.must(c.CheckObject(append(b, reply.Body...)))
}

// anyFault: everything at random, for as long as it is told to go on.
func anyFault(t *testing.T, p *place) {
	cases := concurrently(t)
	defer cases.wait()
	duration := rig.Duration(t, 3*time.Second)
	deadline := time.Now().Add(duration)
	const clients = 8
	for client := range clients {
		cases.run(fmt.Sprintf("client %d", client), func(t *testing.T) {
			random := rand.New(rand.NewPCG(p.Oracle.Seed, uint64(client)))
			for time.Now().Before(deadline) && !t.Failed() {
				c := p.session(t, func(s *rig.Session) { s.Explicit = random.IntN(2) == 0 })
				for range random.IntN(4) {
					c.meets(random)
				}
				c.completes(takeOver + slack)
			}
		})
	}
}

// meets sends the broken chunk into some fault.
func (c *one) meets(random *rand.Rand) {
	c.t.Helper()
	fault := Fault{At: Position(random.IntN(int(Nowhere) + 1)), How: Manner(random.IntN(2))}
	switch {
	case fault.At == Nowhere:
		fault.Twice = random.IntN(2) == 0
	case fault.At < BeforeReply && random.IntN(16) == 0:
		fault.How = Stall
	case random.IntN(4) == 0:
		fault.Pieces, fault.Pause = 1+random.IntN(8), time.Millisecond
	}
	proxy, client := c.through(fault)
	defer proxy.Close()
	if fault.How == Stall {
		// It hangs while the retry comes, and ends with the case at the latest.
		go c.put(client, 0)
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		c.completes(takeOver + slack)
		return
	}
	c.within(takeOver+slack, fmt.Sprintf("a request that is %s %s", fault.How, fault.At), func() { c.put(client, 0) })
}
