package forward_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/fair"
	"github.com/slipway-dev/slipway/dataplane/forward"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func explicit(g *upload.Grant) { g.Explicit = true }

// TestEveryCallThroughTheOtherReplica has the reply of each as the owner gives it.
func TestEveryCallThroughTheOtherReplica(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0"), w.start("models-1")
	n := w.own(two.name, "obj", 25, 10, explicit)
	object := []byte("0123456789abcdefghijABCDE")
	url := one.url + base(n)

	w.must(http.StatusCreated, http.MethodPut, url+"/chunks/1", object[10:20])
	w.must(http.StatusOK, http.MethodPut, url+"/chunks/1", object[10:20])
	if got := w.must(http.StatusConflict, http.MethodPut, url+"/chunks/1", object[:10]); got.code() != "chunk-conflict" {
		t.Errorf("got %s", got.body)
	}
	if got := w.must(http.StatusConflict, http.MethodPost, url+"/complete", []byte("no meaning")); got.code() != "incomplete" {
		t.Errorf("got %s", got.body)
	}
	w.must(http.StatusCreated, http.MethodPut, url+"/chunks/0", object[:10], "Expect", "100-continue")
	w.must(http.StatusCreated, http.MethodPut, url+"/chunks/2", object[20:])
	mine, theirs := w.must(http.StatusOK, http.MethodGet, url, nil), w.must(http.StatusOK, http.MethodGet, two.url+base(n), nil)
	if !bytes.Equal(mine.body, theirs.body) {
		t.Errorf("the status is %s through the other, %s directly", mine.body, theirs.body)
	}
	if got := w.must(http.StatusOK, http.MethodHead, url, nil).header.Get("Slipway-Received-Chunks"); got != "3" {
		t.Errorf("HEAD tells of %q chunks", got)
	}
	w.must(http.StatusOK, http.MethodPost, url+"/complete", []byte("no meaning"))
	got := w.must(http.StatusPartialContent, http.MethodGet, url+"/content", nil, "Range", "bytes=5-14", "X-Request-Id", "asked-for")
	if string(got.body) != "56789abcde" {
		t.Errorf("the content is %q", got.body)
	}
	for field, values := range got.header {
		if len(values) > 1 && field != "Vary" {
			t.Errorf("%s comes as %q", field, values)
		}
	}
	if id := got.header.Get("X-Request-Id"); id != "asked-for" {
		t.Errorf("the request's id is %q", id)
	}
	var ids []string
	for len(two.ids) > 0 {
		ids = append(ids, <-two.ids)
	}
	if !slices.Contains(ids, "asked-for") || slices.Contains(ids[:len(ids)-1], "") && ids[0] == "" {
		t.Errorf("the owner got the ids %q", ids)
	}
	w.must(http.StatusNoContent, http.MethodDelete, one.url+base(w.own(two.name, "aborted", 25, 10)), nil)
	if got := w.must(http.StatusNotFound, http.MethodGet, one.url+base(upload.Name{Namespace: "ml", Name: "unknown"}), nil); got.code() != "unknown-session" {
		t.Errorf("got %s", got.body)
	}
	if _, err := one.uploads.Find(n); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("the other replica took it up: %v", err)
	}
}

// TestChunksAreNotBuffered sends a large chunk whose second half does not come before the owner had the
// first, and measures what all of that takes.
func TestChunksAreNotBuffered(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0"), w.start("models-1")
	const size, half = 64 << 20, 32 << 20
	n := w.own(two.name, "large", size, size)
	w.must(http.StatusOK, http.MethodGet, one.url+base(n), nil) // the session is begun, and connections are made
	before := heap()
	most := uint64(0)
	sent, block := 0, bytes.Repeat([]byte("x"), 1<<20)
	body := reader(func(p []byte) (int, error) {
		if sent == size {
			return 0, io.EOF
		}
		if sent%(8<<20) == 0 {
			most = max(most, heap())
		}
		m := copy(p, block[sent%len(block):])
		sent += m
		return m, nil
	})
	got, err := w.do(http.MethodPut, one.url+base(n)+"/chunks/0", body, size)
	if err != nil || got.status != http.StatusCreated {
		t.Fatalf("%d, %v: %s", got.status, err, got.body)
	}
	if grown := int64(most) - int64(before); grown > 8<<20 {
		t.Errorf("%d bytes more were in use while %d were sent", grown, size)
	} else {
		t.Logf("%d bytes more were in use", grown)
	}

	// The object comes back to a client that takes it slowly.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, one.url+base(n)+"/content", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	w.must(http.StatusOK, http.MethodPost, one.url+base(n)+"/complete", nil)
	before = heap()
	response, err := w.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	first := make([]byte, half)
	if _, err := io.ReadFull(response.Body, first[:1<<20]); err != nil {
		t.Fatal(err)
	}
	if grown := int64(heap()) - int64(before) - half; grown > 8<<20 {
		t.Errorf("%d bytes more were in use while the client did not read", grown)
	}
	rest, err := io.Copy(io.Discard, response.Body)
	if err != nil || rest != size-1<<20 {
		t.Errorf("%d bytes came after the first: %v", rest, err)
	}
}

// TestChunksStream: the owner has what was sent before the rest is.
func TestChunksStream(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0"), w.start("models-1")
	n := w.own(two.name, "obj", 20, 20)
	read, write := io.Pipe()
	done := make(chan answer, 1)
	go func() {
		got, err := w.do(http.MethodPut, one.url+base(n)+"/chunks/0", read, 20)
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	_, err := write.Write(make([]byte, 10))
	if err != nil {
		t.Fatal(err)
	}
	// Another request for the chunk waits at the owner for the one that is sending it, and that
	// is all there is to see from here: the owner was asked while the first is half sent.
	eventually(t, "the owner is asked", func() bool { return two.asked.Load() == 1 })
	if _, err := write.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if got := <-done; got.status != http.StatusCreated {
		t.Errorf("%d: %s", got.status, got.body)
	}
}

// TestAClientThatBreaksOff: the owner hears of it, and nothing of the chunk counts.
func TestAClientThatBreaksOff(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0", func(c *chunkapi.Config, _ *forward.Config) { c.MaxForwarded = 1 }), w.start("models-1")
	n := w.own(two.name, "obj", 20, 20)
	conn := w.dial(one)
	fmt.Fprintf(conn, "PUT %s/chunks/0 HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n0123456789", base(n))
	eventually(t, "the owner is asked", func() bool { return two.asked.Load() == 1 })
	if got := w.must(http.StatusServiceUnavailable, http.MethodGet, one.url+base(n), nil); got.code() != "busy" || got.header.Get("Retry-After") == "" {
		t.Errorf("beyond the bound: %s", got.body)
	}
	conn.Close()
	eventually(t, "the place is free again", func() bool {
		got, err := w.do(http.MethodPut, one.url+base(n)+"/chunks/0", strings.NewReader(strings.Repeat("y", 20)), 20)
		return err == nil && got.status == http.StatusCreated
	})
	if got := w.must(http.StatusOK, http.MethodPost, one.url+base(n)+"/complete", nil); got.status != http.StatusOK {
		t.Errorf("got %s", got.body)
	}
	if got := w.must(http.StatusOK, http.MethodGet, two.url+base(n)+"/content", nil); string(got.body) != strings.Repeat("y", 20) {
		t.Errorf("the object is %q", got.body)
	}
}

// TestWhoSendsTooSlowlyGivesWay: a body of which nothing more comes does not keep others from being sent on.
func TestWhoSendsTooSlowlyGivesWay(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0", func(c *chunkapi.Config, _ *forward.Config) {
		c.MaxForwarded, c.Pace = 1, fair.Rule{BytesPerSecond: 1 << 50, Over: time.Millisecond}
	}), w.start("models-1")
	slow, other := w.own(two.name, "slow", 20, 20), w.own(two.name, "other", 20, 20)
	conn := w.dial(one)
	fmt.Fprintf(conn, "PUT %s/chunks/0 HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n0123456789", base(slow))
	eventually(t, "the owner is asked", func() bool { return two.asked.Load() == 1 })
	eventually(t, "the other chunk is taken", func() bool { // a slow machine may have to try again
		got, err := w.do(http.MethodPut, one.url+base(other)+"/chunks/0", strings.NewReader(strings.Repeat("y", 20)), 20)
		return err == nil && got.status == http.StatusCreated
	})
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, _ := io.ReadAll(response.Body) // the code says enough
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(b), `"too-slow"`) {
		t.Errorf("%d: %s", response.StatusCode, b)
	}
	if got := w.must(http.StatusCreated, http.MethodPut, one.url+base(slow)+"/chunks/0", []byte(strings.Repeat("z", 20))); got.status != http.StatusCreated {
		t.Errorf("got %s", got.body)
	}
}

// TestABodyThatEndsEarlyIsTheClients and not the owner's fault.
func TestABodyThatEndsEarlyIsTheClients(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0", func(c *chunkapi.Config, _ *forward.Config) { c.IdleTimeout = 200 * time.Millisecond }), w.start("models-1")
	n := w.own(two.name, "obj", 20, 20)
	conn := w.dial(one)
	fmt.Fprintf(conn, "PUT %s/chunks/0 HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n0123456789", base(n))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, _ := io.ReadAll(response.Body) // the status says enough
	if response.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%d: %s", response.StatusCode, b)
	}
}

// TestAnOwnerThatIsAway is told so, whichever way it is, with a time to come back.
func TestAnOwnerThatIsAway(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for what, endpoint := range map[string]string{
		"nobody knows where": "", "nobody listens": "https://" + closed.Addr().String(), "it does not answer": "https://" + deaf.Addr().String(),
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			one := w.start("models-0", func(_ *chunkapi.Config, f *forward.Config) { f.Dial = 100 * time.Millisecond })
			n := w.own("models-1", "obj", 20, 20)
			w.at("models-1", endpoint)
			for _, call := range []string{"GET ", "PUT /chunks/0", "POST /complete"} {
				method, path, _ := strings.Cut(call, " ")
				var body []byte
				if method == http.MethodPut {
					body = make([]byte, 20)
				}
				got := w.must(http.StatusServiceUnavailable, method, one.url+base(n)+path, body)
				if got.code() != "replica-away" || got.header.Get("Retry-After") == "" {
					t.Errorf("%s: %v %s", call, got.header, got.body)
				}
				if strings.Contains(string(got.body), "127.0.0.1") {
					t.Errorf("the client is told where the replica is: %s", got.body)
				}
			}
			if reached := len(w.lost) == 0; reached != (endpoint == "") {
				t.Errorf("unreachable: %v", w.lost)
			}
		})
	}
}

// TestAnOwnerThatDies in the midst of a chunk, and is back.
func TestAnOwnerThatDies(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0"), w.start("models-1")
	n := w.own(two.name, "obj", 40, 20)
	w.must(http.StatusCreated, http.MethodPut, one.url+base(n)+"/chunks/0", make([]byte, 20))
	read, write := io.Pipe()
	done := make(chan answer, 1)
	go func() {
		got, err := w.do(http.MethodPut, one.url+base(n)+"/chunks/1", read, 20)
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	if _, err := write.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the owner is asked", func() bool { return two.asked.Load() == 2 })
	two.stop()
	if _, err := write.Write(make([]byte, 10)); err != nil {
		t.Log(err) // the client may have its answer by now
	}
	write.Close()
	if got := <-done; got.status != http.StatusServiceUnavailable || got.code() != "replica-away" || got.header.Get("Retry-After") == "" {
		t.Errorf("%d: %s", got.status, got.body)
	}
	w.start("models-1")
	w.must(http.StatusOK, http.MethodPut, one.url+base(n)+"/chunks/0", make([]byte, 20))
	w.must(http.StatusCreated, http.MethodPut, one.url+base(n)+"/chunks/1", make([]byte, 20))
}

// TestAnOwnerThatHangs does not hold a request for ever.
func TestAnOwnerThatHangs(t *testing.T) {
	w := newWorld(t)
	hanging := make(chan struct{})
	defer close(hanging)
	w.at("models-1", w.serve(w.authority, "127.0.0.1", func(http.ResponseWriter, *http.Request) { <-hanging }))
	one := w.start("models-0", func(_ *chunkapi.Config, f *forward.Config) { f.Stall = 200 * time.Millisecond })
	n := w.own("models-1", "obj", 20, 20)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if got := w.must(http.StatusServiceUnavailable, method, one.url+base(n), nil); got.code() != "replica-away" {
			t.Errorf("got %s", got.body)
		}
	}
}

// TestNoLoops: where each takes the other for the owner, a request goes one way, once.
func TestNoLoops(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0"), w.start("models-1")
	n := w.own("models-2", "obj", 20, 20) // neither's
	w.at("models-2", two.url)
	got := w.must(http.StatusServiceUnavailable, http.MethodGet, one.url+base(n), nil)
	if got.code() != "replica-away" || got.header.Get("Retry-After") == "" {
		t.Errorf("got %s", got.body)
	}
	if one.asked.Load() != 1 || two.asked.Load() != 1 {
		t.Errorf("asked %d and %d times", one.asked.Load(), two.asked.Load())
	}
	if !slices.Equal(w.mistaken, []upload.Name{n}) || len(w.lost) > 0 {
		t.Errorf("mistaken: %v", w.mistaken)
	}
	// Marked by whom ever: it goes no further.
	if got := w.must(http.StatusMisdirectedRequest, http.MethodGet, one.url+base(n), nil, chunkapi.ForwardedHeader, ""); got.code() != "misdirected" {
		t.Errorf("got %s", got.body)
	}
}

// TestNoReplicaOfTheStore gets nothing of a request, least of all the caller's credentials.
func TestNoReplicaOfTheStore(t *testing.T) {
	for what, endpoint := range map[string]func(w *world, seen http.HandlerFunc) string{
		"no TLS": func(w *world, seen http.HandlerFunc) string {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: seen, ReadHeaderTimeout: time.Second}
			go func() { _ = server.Serve(listener) }()
			w.t.Cleanup(func() { server.Close() })
			return "http://" + listener.Addr().String()
		},
		"another authority": func(w *world, seen http.HandlerFunc) string {
			return w.serve(newAuthority(w.t), "127.0.0.1", seen)
		},
		"another host": func(w *world, seen http.HandlerFunc) string { return w.serve(w.authority, "127.0.0.2", seen) },
		"credentials in the URL": func(w *world, seen http.HandlerFunc) string {
			return strings.Replace(w.serve(w.authority, "127.0.0.1", seen), "https://", "https://user:password@", 1)
		},
		"no URL": func(*world, http.HandlerFunc) string { return "127.0.0.1" },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			var asked atomic.Int64
			w.at("models-1", endpoint(w, func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
			one := w.start("models-0")
			n := w.own("models-1", "obj", 20, 20)
			got := w.must(http.StatusServiceUnavailable, http.MethodGet, one.url+base(n), nil, "Authorization", "Bearer secret")
			if got.code() != "replica-away" || asked.Load() != 0 {
				t.Errorf("asked %d times, got %s", asked.Load(), got.body)
			}
		})
	}
}

// TestRefusedBeforeTheBody: who waits for 100 Continue need not send a body that the owner does not want.
func TestRefusedBeforeTheBody(t *testing.T) {
	w := newWorld(t)
	one, two := w.start("models-0"), w.start("models-1")
	n := w.own(two.name, "obj", 20, 20, func(g *upload.Grant) { g.Suspended = true })
	for expect, body := range map[string]string{"Expect: 100-continue\r\n": "", "": "0123456789abcdefghij"} {
		conn := w.dial(one)
		fmt.Fprintf(conn, "PUT %s/chunks/0 HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n%s\r\n%s", base(n), expect, body)
		reader := bufio.NewReader(conn)
		line, err := reader.ReadString('\n')
		if err != nil || !strings.Contains(line, " 423 ") {
			t.Errorf("%q: got %q, %v", expect, line, err)
		}
		conn.Close()
	}
}

// TestWhatTheOwnerGets of a request.
func TestWhatTheOwnerGets(t *testing.T) {
	w := newWorld(t)
	got := make(chan http.Header, 1)
	w.at("models-1", w.serve(w.authority, "127.0.0.1", func(rw http.ResponseWriter, r *http.Request) {
		r.Header.Set("Host", r.Host)
		got <- r.Header
		rw.Header().Set("X-Request-Id", "another")
		rw.Header().Set("Retry-After", "7")
		rw.WriteHeader(http.StatusLocked)
	}))
	one := w.start("models-0")
	n := w.own("models-1", "obj", 20, 20)
	reply := w.must(http.StatusLocked, http.MethodGet, one.url+base(n), nil,
		"Authorization", "Bearer token", "Origin", "https://console.example.com", "Te", "trailers", "X-Forwarded-For", "1.2.3.4", "X-Request-Id", "mine")
	h := <-got
	for field, want := range map[string]string{
		"Authorization": "Bearer token", "Origin": "", "Te": "", "X-Forwarded-For": "", "X-Request-Id": "mine",
		chunkapi.ForwardedHeader: "1", "Host": strings.TrimPrefix(w.endpoints["models-1"], "https://"),
	} {
		if h.Get(field) != want {
			t.Errorf("%s is %q, want %q", field, h.Get(field), want)
		}
	}
	if reply.header.Get("X-Request-Id") != "mine" || reply.header.Get("Retry-After") != "7" {
		t.Errorf("the reply has %v", reply.header)
	}
}

// serve serves something that may be no replica, with a certificate of an authority for an address.
func (w *world) serve(a *authority, address string, handler http.HandlerFunc) string {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: discard,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{a.leaf(w.t, address)}},
	}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	w.t.Cleanup(func() { server.Close() })
	return "https://" + listener.Addr().String()
}

// dial connects to a replica as a client that writes its requests itself.
func (w *world) dial(r *replica) net.Conn {
	w.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "https://"), &tls.Config{RootCAs: w.authority.pool})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// discard takes what servers say of connections that fail here on purpose.
var discard = log.New(io.Discard, "", 0)

type reader func(p []byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// heap is how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
