package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

const (
	takeOverAfter = 5 * time.Second
	deadlineGrace = 9 * time.Second
	tiny          = 16 // bytes of a block, so that small chunks have many
	patience      = 10 * time.Second
)

var (
	ecma    = crc64.MakeTable(crc64.ECMA)
	newHash = func() hash.Hash64 { return crc64.New(ecma) }
)

// rig is a service over the file sink on a directory of its own, and a clock
// that the test moves.
type rig struct {
	*session.Service
	tb     testing.TB
	ctx    context.Context
	root   string
	config session.Config
	clock  *fakeClock
	volume *volume
}

func newRig(tb testing.TB, configure ...func(*session.Config)) *rig {
	tb.Helper()
	r := &rig{tb: tb, ctx: tb.Context(), root: tb.TempDir(), clock: newFakeClock()}
	r.config = session.Config{Clock: r.clock, Checksum: newHash, TakeOverAfter: takeOverAfter, DeadlineGrace: deadlineGrace, BlockSize: tiny}
	for _, f := range configure {
		f(&r.config)
	}
	r.start()
	return r
}

// start opens the volume and recovers what is on it.
func (r *rig) start() {
	r.tb.Helper()
	if err := r.tryStart(); err != nil {
		r.tb.Fatalf("recover: %v", err)
	}
}

func (r *rig) tryStart() error {
	r.tb.Helper()
	r.volume = openVolume(r.tb, r.root)
	r.config.Sink = r.volume
	r.Service = session.NewService(r.config)
	return r.Recover(r.ctx)
}

// crash abandons the service as it is and starts another one on its volume.
func (r *rig) crash() {
	r.tb.Helper()
	r.volume.cut()
	r.start()
}

func (r *rig) begin(id session.ID, spec session.Spec) session.Meta {
	r.tb.Helper()
	m, _, err := r.Begin(r.ctx, id, spec)
	if err != nil {
		r.tb.Fatalf("begin %s: %v", id, err)
	}
	return m
}

func (r *rig) put(id session.ID, index int, b []byte) (bool, error) {
	return r.PutChunk(r.ctx, id, incoming(index, b))
}

func (r *rig) mustPut(id session.ID, index int, b []byte) {
	r.tb.Helper()
	if added, err := r.put(id, index, b); err != nil || !added {
		r.tb.Fatalf("put chunk %d of %s: added %v, error %v", index, id, added, err)
	}
}

// fill puts every chunk of a session.
func (r *rig) fill(id session.ID) {
	r.tb.Helper()
	spec := r.get(id).Spec
	for index := range spec.Chunks() {
		_, length, err := spec.Extent(index)
		if err != nil {
			r.tb.Fatal(err)
		}
		r.mustPut(id, index, content(index, length))
	}
}

func (r *rig) get(id session.ID) session.Meta {
	r.tb.Helper()
	m, err := r.Get(id)
	if err != nil {
		r.tb.Fatalf("get %s: %v", id, err)
	}
	return m
}

// bytesOf is what is staged of a session.
func (r *rig) bytesOf(id session.ID) []byte {
	r.tb.Helper()
	opened, err := r.OpenStaged(r.ctx, id)
	if err != nil {
		r.tb.Fatalf("open the bytes of %s: %v", id, err)
	}
	b, err := io.ReadAll(io.NewSectionReader(opened, 0, r.get(id).Spec.Size))
	if err := errors.Join(err, opened.Close()); err != nil {
		r.tb.Fatalf("read the bytes of %s: %v", id, err)
	}
	return b
}

// expectFreed fails unless the bytes of a session are gone from the volume.
func (r *rig) expectFreed(id session.ID) {
	r.tb.Helper()
	if _, err := r.OpenStaged(r.ctx, id); !errors.Is(err, session.ErrNotFound) {
		r.tb.Errorf("the bytes of %s are not freed: %v", id, err)
	}
}

// recordFile is where the volume keeps the record of a session.
func (r *rig) recordFile(id session.ID) string {
	r.tb.Helper()
	found, err := filepath.Glob(filepath.Join(r.root, session.ReservedElement, "models-0.replica", string(id), "record"))
	if err != nil || len(found) != 1 {
		r.tb.Fatalf("one record of %s expected: %v, %v", id, found, err)
	}
	return found[0]
}

func (r *rig) overwrite(path, text string) {
	r.tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.tb.Fatal(err)
	}
}

func incoming(index int, b []byte) session.Incoming {
	return session.Incoming{Index: index, Length: int64(len(b)), Body: bytes.NewReader(b)}
}

// content is random bytes that are the same for the same seed.
func content(seed int, length int64) []byte {
	b := make([]byte, length)
	_, _ = source(seed).Read(b) // never fails
	return b
}

func source(seed int) *rand.ChaCha8 {
	return rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%032d", seed))))
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

// outcome is what PutChunk returned.
type outcome struct {
	added bool
	err   error
}

// putting is PutChunk going on in the background.
func (r *rig) putting(id session.ID, in session.Incoming) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		added, err := r.PutChunk(r.ctx, id, in)
		done <- outcome{added, err}
	}()
	return done
}

var errCut = errors.New("the connection was cut")

// feed is a body that the test sends piece by piece.
type feed struct {
	asked  chan struct{} // the reader wants more
	given  chan []byte
	cut    chan struct{}
	left   []byte
	hungry bool // asked was heard
}

func newFeed() *feed {
	return &feed{asked: make(chan struct{}), given: make(chan []byte), cut: make(chan struct{})}
}

func (f *feed) Read(b []byte) (int, error) {
	for len(f.left) == 0 {
		select {
		case f.asked <- struct{}{}:
		case <-f.cut:
			return 0, errCut
		}
		select {
		case more, ok := <-f.given:
			if !ok {
				return 0, io.EOF
			}
			f.left = more
		case <-f.cut:
			return 0, errCut
		}
	}
	n := copy(b, f.left)
	f.left = f.left[n:]
	return n, nil
}

// hang returns once all that was given has been taken in, and the reader waits.
func (f *feed) hang(tb testing.TB) {
	tb.Helper()
	if !f.hungry {
		receive(tb, "the reader's wish for more", f.asked)
		f.hungry = true
	}
}

// give sends a piece.
func (f *feed) give(tb testing.TB, b []byte) {
	tb.Helper()
	f.hang(tb)
	f.hungry = false
	select {
	case f.given <- b:
	case <-f.cut:
		tb.Fatal("the body was interrupted")
	}
}

// end ends the body.
func (f *feed) end(tb testing.TB) {
	tb.Helper()
	f.hang(tb)
	close(f.given)
}

// interrupt makes a Read that hangs return.
func (f *feed) interrupt() { close(f.cut) }

func (f *feed) incoming(index int, length int64) session.Incoming {
	return session.Incoming{Index: index, Length: length, Body: f, Interrupt: f.interrupt}
}

// Abort is the service's for who does not ask how the session ended.
func (r *rig) Abort(ctx context.Context, id session.ID, state session.State, outcome []byte) error {
	_, err := r.Service.Abort(ctx, id, state, outcome)
	return err
}

// Finish is the service's for who does not ask how the session ended.
func (r *rig) Finish(ctx context.Context, id session.ID, state session.State, outcome []byte) error {
	_, err := r.Service.Finish(ctx, id, state, outcome)
	return err
}
