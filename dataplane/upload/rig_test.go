package upload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const patience = 10 * time.Second

var ecma = crc64.MakeTable(crc64.ECMA)

// fakeClock stands still until it is advanced.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []timer
	set    chan struct{} // a timer was set
}

type timer struct {
	due  time.Time
	fire chan<- time.Time
}

func newFakeClock() *fakeClock {
	return &fakeClock{now: time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC), set: make(chan struct{}, 1)}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	fire := make(chan time.Time, 1)
	c.timers = append(c.timers, timer{c.now.Add(d), fire})
	select {
	case c.set <- struct{}{}:
	default:
	}
	return fire
}

// Advance moves the time on and fires what is due.
func (c *fakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	var later []timer
	for _, t := range c.timers {
		if t.due.After(c.now) {
			later = append(later, t)
		} else {
			t.fire <- c.now
		}
	}
	c.timers = later
}

// directory knows what the test tells it.
type directory struct {
	mu      sync.Mutex
	answers map[upload.Name]func(context.Context) (upload.Grant, error)
	asked   int
}

func (d *directory) Lookup(ctx context.Context, name upload.Name) (upload.Grant, error) {
	d.mu.Lock()
	d.asked++
	answer := d.answers[name]
	d.mu.Unlock()
	if answer == nil {
		return upload.Grant{}, fmt.Errorf("%w: the test knows no %s", upload.ErrUnknown, name)
	}
	return answer(ctx)
}

func (d *directory) set(name upload.Name, answer func(context.Context) (upload.Grant, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[name] = answer
}

func (d *directory) grant(g upload.Grant) {
	d.set(g.Name, func(context.Context) (upload.Grant, error) { return g, nil })
}

func (d *directory) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// rig is a service over the file sink on a directory of its own, with a clock
// and a directory that the test rules.
type rig struct {
	*upload.Service
	tb        testing.TB
	ctx       context.Context
	root      string
	clock     *fakeClock
	directory *directory
	volume    *volume
	core      *session.Service
	changed   chan upload.Name
	opened    func(*volume) // is called before the service recovers from it; nil is nothing

	mu    sync.Mutex
	ended []upload.Status // in the order in which it was told
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	r := &rig{
		tb: tb, ctx: tb.Context(), root: tb.TempDir(), clock: newFakeClock(),
		directory: &directory{answers: map[upload.Name]func(context.Context) (upload.Grant, error){}},
		changed:   make(chan upload.Name, 1),
	}
	tb.Cleanup(func() { r.crashed() })
	r.start()
	return r
}

func (r *rig) start() {
	r.tb.Helper()
	if err := r.tryStart(); err != nil {
		r.tb.Fatalf("recover: %v", err)
	}
}

func (r *rig) tryStart() error {
	r.tb.Helper()
	r.volume = openVolume(r.tb, r.root)
	if r.opened != nil {
		r.opened(r.volume)
	}
	r.core = session.NewService(session.Config{
		Sink: r.volume, Clock: r.clock, Checksum: func() hash.Hash64 { return crc64.New(ecma) }, BlockSize: 1 << 10,
	})
	r.Service = upload.NewService(upload.Config{
		Core: r.core, Publisher: r.volume, Directory: r.directory, Clock: r.clock,
		Log: slog.New(slog.DiscardHandler),
		Changed: func(name upload.Name) {
			select {
			case r.changed <- name:
			default: // one is enough to look again
			}
		},
		Ended: func(st upload.Status) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ended = append(r.ended, st)
		},
	})
	return r.Recover(r.ctx)
}

// told returns the ends that were told so far.
func (r *rig) told() []upload.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ended)
}

// crashed abandons the service as it is.
func (r *rig) crashed() {
	r.volume.cut()
	r.Close() // of the old process nothing is left, so neither are its goroutines
}

// crash abandons the service as it is and starts another one on its volume.
func (r *rig) crash() {
	r.tb.Helper()
	r.crashed()
	r.start()
}

func grant(id string, change ...func(*upload.Grant)) upload.Grant {
	g := upload.Grant{
		ID: session.ID(id), Name: upload.Name{Namespace: "ns", Name: "up"}, Key: "dir/object", Size: 25, ChunkSize: 10,
	}
	for _, f := range change {
		f(&g)
	}
	return g
}

func explicit(g *upload.Grant) { g.Explicit = true }
func replace(g *upload.Grant)  { g.Replace = true }

func named(name string) func(*upload.Grant) {
	return func(g *upload.Grant) { g.Name.Name, g.Key = name, "dir/"+name }
}

func sized(size, chunkSize int64) func(*upload.Grant) {
	return func(g *upload.Grant) { g.Size, g.ChunkSize = size, chunkSize }
}

func withDigest(d upload.Digest) func(*upload.Grant) {
	return func(g *upload.Grant) { g.Digest = d }
}

func (r *rig) accept(g upload.Grant) upload.Status {
	r.tb.Helper()
	st, err := r.Accept(r.ctx, g)
	if err != nil {
		r.tb.Fatalf("accept %s: %v", g.Name, err)
	}
	return st
}

func incoming(g upload.Grant, index int, object []byte) session.Incoming {
	b := object[int64(index)*g.ChunkSize : min(g.Size, int64(index+1)*g.ChunkSize)]
	return session.Incoming{Index: index, Length: int64(len(b)), Body: bytes.NewReader(b)}
}

func chunks(g upload.Grant) int { return int((g.Size + g.ChunkSize - 1) / g.ChunkSize) }

func (r *rig) put(g upload.Grant, index int, object []byte) (bool, error) {
	return r.PutChunk(r.ctx, g.Name, incoming(g, index, object))
}

// send sends all of an object.
func (r *rig) send(g upload.Grant, object []byte) {
	r.tb.Helper()
	for index := range chunks(g) {
		if added, err := r.put(g, index, object); err != nil || !added {
			r.tb.Fatalf("chunk %d of %s: added %v, %v", index, g.Name, added, err)
		}
	}
}

// sendBackwards sends all of an object so that its digest needs what is staged.
func (r *rig) sendBackwards(g upload.Grant, object []byte) {
	r.tb.Helper()
	for index := chunks(g) - 1; index >= 0; index-- {
		if added, err := r.put(g, index, object); err != nil || !added {
			r.tb.Fatalf("chunk %d of %s: added %v, %v", index, g.Name, added, err)
		}
	}
}

func (r *rig) known(id session.ID) upload.Status {
	r.tb.Helper()
	st, err := r.Known(id)
	if err != nil {
		r.tb.Fatalf("status of %s: %v", id, err)
	}
	return st
}

// await returns the status of an upload once it is settled.
func (r *rig) await(id session.ID) upload.Status {
	r.tb.Helper()
	timeout := time.After(patience)
	for {
		st := r.known(id)
		if st.Meta.Settled {
			return st
		}
		select {
		case <-r.changed:
		case <-timeout:
			r.tb.Fatalf("%s did not end: %+v", id, st)
		}
	}
}

// expectEnd waits for the end of an upload and fails unless it has the reason.
func (r *rig) expectEnd(id session.ID, want upload.Reason) upload.Status {
	r.tb.Helper()
	st := r.await(id)
	if st.Result == nil || st.Result.Reason != want {
		r.tb.Fatalf("%s: want it to end by %s, got %+v", id, want, st.Result)
	}
	if _, err := r.core.OpenStaged(r.ctx, id); !errors.Is(err, session.ErrNotFound) {
		r.tb.Errorf("the bytes of %s are not freed: %v", id, err)
	}
	return st
}

// expectPublished waits until an upload is published, and fails unless the
// object is what it should be.
func (r *rig) expectPublished(g upload.Grant, object []byte) upload.Status {
	r.tb.Helper()
	st := r.expectEnd(g.ID, upload.Published)
	if st.Result.Digest != digestOf(object) {
		r.tb.Errorf("the result has digest %s, want %s", st.Result.Digest, digestOf(object))
	}
	if got := r.under(g.Key); !bytes.Equal(got, object) {
		r.tb.Errorf("under the key is not what was sent, but %d bytes", len(got))
	}
	if st.Meta.State != session.Finished || st.Result.ModTime.IsZero() || st.Result.Published.IsZero() {
		r.tb.Errorf("it ended as %+v in state %s", st.Result, st.Meta.State)
	}
	return st
}

func (r *rig) path(key string) string { return filepath.Join(r.root, filepath.FromSlash(key)) }

func (r *rig) under(key string) []byte {
	r.tb.Helper()
	b, err := os.ReadFile(r.path(key))
	if err != nil {
		r.tb.Errorf("read the object: %v", err)
	}
	return b
}

func (r *rig) expectNothingUnder(key string) {
	r.tb.Helper()
	if _, err := os.Lstat(r.path(key)); !errors.Is(err, fs.ErrNotExist) {
		r.tb.Errorf("something is under %s: %v", key, err)
	}
}

// place puts something under a key, as another writer would.
func (r *rig) place(key, text string) {
	r.tb.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(key)), 0o755); err != nil {
		r.tb.Fatal(err)
	}
	if err := os.WriteFile(r.path(key), []byte(text), 0o600); err != nil {
		r.tb.Fatal(err)
	}
}

// content is random bytes that are the same for the same seed.
func content(seed int, length int64) []byte {
	b := make([]byte, length)
	_, _ = rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%032d", seed)))).Read(b) // never fails
	return b
}

func digestOf(b []byte) upload.Digest {
	sum := sha256.Sum256(b)
	return upload.Digest(fmt.Sprintf("sha256:%x", sum))
}

func expect(tb testing.TB, what string, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Errorf("%s: want %v, got %v", what, want, err)
	}
}

// receive waits for what must come soon.
func receive[T any](tb testing.TB, what string, from <-chan T) T {
	tb.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		tb.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

func readAll(tb testing.TB, object session.Object) []byte {
	tb.Helper()
	b, err := io.ReadAll(object)
	if err := errors.Join(err, object.Close()); err != nil {
		tb.Fatalf("read the object: %v", err)
	}
	return b
}
