package chunkapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/dataplane/fair"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// patience bounds what must happen soon.
const patience = 20 * time.Second

// directory is an upload.Directory of grants and errors.
type directory struct {
	mu      sync.Mutex
	answers map[upload.Name]any
	lookups int
}

func (d *directory) Lookup(_ context.Context, name upload.Name) (upload.Grant, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookups++
	switch answer := d.answers[name].(type) {
	case upload.Grant:
		return answer, nil
	case error:
		return upload.Grant{}, answer
	}
	return upload.Grant{}, upload.ErrUnknown
}

// calls is how often it was asked.
func (d *directory) calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lookups
}

func (d *directory) set(name upload.Name, answer any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[name] = answer
}

// creator is an upload.Creator that does what a test says.
type creator struct {
	mu     sync.Mutex
	asked  []upload.CreateRequest
	create func(upload.CreateRequest) (upload.Created, error)
	await  func(context.Context, upload.Created) (upload.Created, error)
}

func (c *creator) Create(_ context.Context, r upload.CreateRequest) (upload.Created, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r)
	return c.create(r)
}

func (c *creator) Await(ctx context.Context, created upload.Created) (upload.Created, error) {
	if c.await == nil {
		return created, nil
	}
	return c.await(ctx, created)
}

// volume is the file sink with places to interfere.
type volume struct {
	*file.Sink
	write   atomic.Pointer[onDisk]                      // before each write of a block
	commit  atomic.Pointer[onDisk]                      // before each commit of a chunk
	publish atomic.Pointer[func()]                      // before each publication
	save    atomic.Pointer[func(context.Context) error] // before each record
	list    atomic.Pointer[func(context.Context) error] // before each listing
}

// onDisk is told which session is about to use the disk.
type onDisk func(session.ID) error

type staged struct {
	session.Staged
	v  *volume
	id session.ID
}

func (v *volume) Open(ctx context.Context, id session.ID) (session.Staged, error) {
	st, err := v.Sink.Open(ctx, id)
	return staged{st, v, id}, err
}

func (s staged) WriteAt(p []byte, at int64) (int, error) {
	if f := s.v.write.Load(); f != nil {
		if err := (*f)(s.id); err != nil {
			return 0, err
		}
	}
	return s.Staged.WriteAt(p, at)
}

func (s staged) Commit(ctx context.Context, index int, offset int64, slot session.Slot) error {
	if f := s.v.commit.Load(); f != nil {
		if err := (*f)(s.id); err != nil {
			return err
		}
	}
	return s.Staged.Commit(ctx, index, offset, slot)
}

func (v *volume) Publish(ctx context.Context, id session.ID, name string, replace bool, attributes map[string]string) error {
	if f := v.publish.Load(); f != nil {
		(*f)()
	}
	return v.Sink.Publish(ctx, id, name, replace, attributes)
}

func (v *volume) List(ctx context.Context, q session.ListQuery) (session.Listing, error) {
	if f := v.list.Load(); f != nil {
		if err := (*f)(ctx); err != nil {
			return session.Listing{}, err
		}
	}
	return v.Sink.List(ctx, q)
}

func (v *volume) SaveRecord(ctx context.Context, r session.Record) error {
	if f := v.save.Load(); f != nil {
		if err := (*f)(ctx); err != nil {
			return err
		}
	}
	return v.Sink.SaveRecord(ctx, r)
}

// logs keeps what is logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// world is a server over the real service over a real volume.
type world struct {
	t         testing.TB
	root      string
	volume    *volume
	directory *directory
	creator   *creator
	uploads   *upload.Service
	handler   http.Handler
	turns     *turns
	receiving *receiving
	creating  *fair.Slots
	log       *logs
	addr      string
	base      string // URL
	client    *http.Client
	opened    atomic.Int32  // connections
	closed    chan net.Addr // remote addresses of connections that the server closed
	ids       int
}

type options struct {
	api           Config
	takeOverAfter time.Duration
	http2         bool // over TLS
	server        func(*http.Server)
}

func newWorld(t testing.TB, o options) *world {
	t.Helper()
	w := &world{t: t, root: t.TempDir(), log: &logs{}, directory: &directory{answers: map[upload.Name]any{}}, closed: make(chan net.Addr, 1000)}
	sink, err := file.Open(w.root, file.Options{Replica: "models-0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	w.volume = &volume{Sink: sink}
	core := session.NewService(session.Config{
		Sink: w.volume, Checksum: crc64nvme.New, TakeOverAfter: o.takeOverAfter, BlockSize: 64 << 10,
	})
	log := slog.New(slog.NewTextHandler(w.log, nil))
	w.uploads = upload.NewService(upload.Config{Core: core, Publisher: w.volume, Directory: w.directory, Log: log})
	t.Cleanup(w.uploads.Close)
	if err := w.uploads.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.creator = &creator{create: func(upload.CreateRequest) (upload.Created, error) { return upload.Created{}, upload.ErrUnavailable }}
	o.api.Creator = w.creator
	if o.api.Pace == (fair.Rule{}) {
		o.api.Pace = fair.Rule{BytesPerSecond: 1, Over: time.Hour} // on a slow machine nobody is too slow
	}
	o.api.Uploads, o.api.Log, o.api.TakeOverAfter = w.uploads, log, o.takeOverAfter
	w.handler = New(o.api)
	a, ok := w.handler.(*api)
	if !ok {
		t.Fatalf("the handler is a %T", w.handler)
	}
	w.turns, w.receiving, w.creating = a.turns, a.receiving, a.creating
	server := NewServer(w.handler, log)
	server.ConnState = func(c net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			w.opened.Add(1)
		case http.StateClosed:
			w.closed <- c.RemoteAddr()
		}
	}
	if o.server != nil {
		o.server(server)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = listener.Addr().String()
	transport := &http.Transport{MaxIdleConnsPerHost: 100, ExpectContinueTimeout: patience, DisableCompression: true}
	w.base = "http://" + w.addr
	var config *tls.Config
	if o.http2 {
		w.base = "https://" + w.addr
		config = secured(transport)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = Serve(server, listener, config)
	}()
	w.client = &http.Client{Transport: transport, Timeout: 2 * patience}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	return w
}

// grant lets namespace ml upload so many bytes.
func (w *world) grant(name string, size, chunkSize int64, change ...func(*upload.Grant)) upload.Name {
	w.t.Helper()
	w.ids++
	g := upload.Grant{
		ID: session.ID(fmt.Sprintf("uid-%d", w.ids)), Name: upload.Name{Namespace: "ml", Name: name},
		Key: "models/" + name, Size: size, ChunkSize: chunkSize, Explicit: true,
	}
	for _, c := range change {
		c(&g)
	}
	w.directory.set(g.Name, g)
	return g.Name
}

// accepted is grant, and the upload is known already.
func (w *world) accepted(name string, size, chunkSize int64, change ...func(*upload.Grant)) upload.Name {
	w.t.Helper()
	n := w.grant(name, size, chunkSize, change...)
	if _, err := w.uploads.Status(w.t.Context(), n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func base(name string) string { return "/v1/namespaces/ml/uploadsessions/" + name }

func chunkPath(name string, index int) string { return base(name) + "/chunks/" + strconv.Itoa(index) }

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body []byte
}

func (w *world) do(method, path string, body io.Reader, headers ...string) answer {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return w.read(resp)
}

func (w *world) read(resp *http.Response) answer {
	w.t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("read the answer: %v", err)
	}
	return answer{resp, body}
}

func (w *world) put(name string, index int, data []byte, headers ...string) answer {
	w.t.Helper()
	return w.do(http.MethodPut, chunkPath(name, index), bytes.NewReader(data), headers...)
}

func (a answer) problem(t testing.TB) Problem {
	t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d has Content-Type %q and body %q, want a problem", a.StatusCode, got, a.body)
	}
	return decode[Problem](t, a.body)
}

func (a answer) status(t testing.TB) Status {
	t.Helper()
	return decode[Status](t, a.body)
}

func decode[T any](t testing.TB, b []byte) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return v
}

func (a answer) want(t testing.TB, code int) answer {
	t.Helper()
	if a.StatusCode != code {
		t.Fatalf("status %d, want %d: %s", a.StatusCode, code, a.body)
	}
	return a
}

// conn is a connection that is written to by hand.
type conn struct {
	*net.TCPConn
	t testing.TB
	r *bufio.Reader
}

func (w *world) dial() *conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		w.t.Fatalf("dialed a %T", c)
	}
	if err := tcp.SetReadDeadline(time.Now().Add(2 * patience)); err != nil {
		w.t.Fatal(err)
	}
	return &conn{tcp, w.t, bufio.NewReader(c)}
}

// send writes a request with so many bytes announced and the data of its body that comes at once.
func (c *conn) send(method, path string, length int, data []byte, headers ...string) {
	c.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: slipway\r\n", method, path)
	if length >= 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	}
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	b.WriteString("\r\n")
	b.Write(data)
	c.write([]byte(b.String()))
}

func (c *conn) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads the next answer.
func (c *conn) receive(method string) answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{resp, body}
}

// wantClosed waits until the server has closed the connection.
func (c *conn) wantClosed() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.r); os.IsTimeout(err) {
		c.t.Fatal("the connection is still open")
	}
}

// await receives from a channel, or fails after a while.
func await[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %s: %s", patience, what)
		panic("unreachable")
	}
}

// eventually polls for what no channel tells of.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (w *world) meta(name upload.Name) session.Meta {
	w.t.Helper()
	st, err := w.uploads.Status(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return st.Meta
}

// inFlight waits until so many chunks of an upload are being written.
func (w *world) inFlight(name upload.Name, n int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%d chunks in flight", n), func() bool { return w.meta(name).InFlight == n })
}

// inLine waits until so many chunks of an upload wait for their turn.
func (w *world) inLine(name upload.Name, n int) {
	w.t.Helper()
	id := w.meta(name).ID
	eventually(w.t, fmt.Sprintf("%d chunks of %s in line", n, name), func() bool {
		_, waiting := w.turns.line(id)
		return waiting == n
	})
}

func (w *world) object(name string) []byte {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.root, "models", name))
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// removeObject removes an object if it is there.
func (w *world) removeObject(name string) error {
	err := os.Remove(filepath.Join(w.root, "models", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// noise is n bytes that differ from seed to seed.
func noise(seed byte, n int) []byte {
	var s [32]byte
	s[0] = seed
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(s).Read(b) // it never fails
	return b
}
