package session_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

var (
	errBroken   = errors.New("the volume is broken")
	errPowerCut = errors.New("the power is cut")
)

const forEver = -1

// volume is the file sink, which breaks on demand. It also watches that the
// sink is used as session.ByteSink asks for.
type volume struct {
	tb   testing.TB
	sink *file.Sink

	using sync.RWMutex // held for reading while the sink works
	lost  bool

	mu      sync.Mutex
	faults  map[string]*fault
	gates   map[string]*gate
	calls   map[string]int
	left    int // calls until the power is cut, or forEver
	writing map[session.ID]int
	chunks  map[chunkOf]int
}

type chunkOf struct {
	id     session.ID
	offset int64
}

type fault struct {
	times int
	after bool
}

// gate holds one call back until it is opened.
type gate struct {
	arrived chan struct{}
	opened  chan struct{}
}

func (g *gate) open() { close(g.opened) }

func openVolume(tb testing.TB, root string) *volume {
	tb.Helper()
	sink, err := file.Open(root, file.Options{Replica: "models-0"})
	if err != nil {
		tb.Fatalf("open the volume: %v", err)
	}
	v := &volume{
		tb: tb, sink: sink, left: forEver,
		faults: map[string]*fault{}, gates: map[string]*gate{}, calls: map[string]int{},
		writing: map[session.ID]int{}, chunks: map[chunkOf]int{},
	}
	tb.Cleanup(v.cut)
	return v
}

// cut ends whatever uses the volume, as the end of its process does.
func (v *volume) cut() {
	v.using.Lock()
	defer v.using.Unlock()
	if v.lost {
		return
	}
	v.lost = true
	if err := v.sink.Close(); err != nil {
		v.tb.Errorf("close the volume: %v", err)
	}
}

// cutAfter cuts the power after so many calls more.
func (v *volume) cutAfter(calls int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left = calls
}

// failNext makes the next calls of a method fail before they do anything.
func (v *volume) failNext(method string, times int) { v.setFault(method, &fault{times: times}) }

// failAfterNext makes the next calls of a method do their work and then fail.
func (v *volume) failAfterNext(method string, times int) {
	v.setFault(method, &fault{times: times, after: true})
}

func (v *volume) setFault(method string, f *fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults[method] = f
}

// hold holds the next call of a method back.
func (v *volume) hold(method string) *gate {
	g := &gate{arrived: make(chan struct{}), opened: make(chan struct{})}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gates[method] = g
	return g
}

// count is how many times a method was called.
func (v *volume) count(method string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls[method]
}

func (v *volume) do(method string, call func() error) error {
	v.mu.Lock()
	v.calls[method]++
	g := v.gates[method]
	delete(v.gates, method)
	cut := v.left == 0
	if v.left > 0 {
		v.left--
	}
	before, after := false, false
	if f := v.faults[method]; f != nil && f.times != 0 {
		before, after = !f.after, f.after
		if f.times > 0 {
			f.times--
		}
	}
	v.mu.Unlock()
	if g != nil {
		close(g.arrived)
		<-g.opened
	}
	if cut {
		return errPowerCut
	}
	if before {
		return errBroken
	}
	v.using.RLock()
	defer v.using.RUnlock()
	if v.lost {
		return errPowerCut
	}
	if err := call(); err != nil {
		return err
	}
	if after {
		return errBroken
	}
	return nil
}

// write does what writes bytes of a session.
func (v *volume) write(method string, id session.ID, offset int64, call func() error) error {
	v.enter(id, offset, 1)
	defer v.enter(id, offset, -1)
	return v.do(method, call)
}

func (v *volume) enter(id session.ID, offset int64, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writing[id] += n
	v.chunks[chunkOf{id, offset}] += n
	if v.chunks[chunkOf{id, offset}] > 1 {
		v.tb.Errorf("two write at offset %d of session %s at once", offset, id)
	}
}

// end does what must not happen while bytes of the session are written.
func (v *volume) end(method string, id session.ID, call func() error) error {
	v.mu.Lock()
	if v.writing[id] > 0 {
		v.tb.Errorf("%s of session %s while its bytes are being written", method, id)
	}
	v.mu.Unlock()
	return v.do(method, call)
}

func (v *volume) Create(ctx context.Context, r session.Record) error {
	return v.do("Create", func() error { return v.sink.Create(ctx, r) })
}

func (v *volume) Open(ctx context.Context, id session.ID) (opened session.Staged, err error) {
	err = v.do("Open", func() error {
		opened, err = v.sink.Open(ctx, id)
		return err
	})
	if err != nil {
		if opened != nil {
			_ = opened.Close() // the fault came after
		}
		return nil, err
	}
	return &staged{volume: v, id: id, staged: opened}, nil
}

func (v *volume) Slot(ctx context.Context, id session.ID, index int) (slot session.Slot, held bool, err error) {
	err = v.do("Slot", func() error {
		slot, held, err = v.sink.Slot(ctx, id, index)
		return err
	})
	return slot, held, err
}

func (v *volume) SaveRecord(ctx context.Context, r session.Record) error {
	return v.do("SaveRecord", func() error { return v.sink.SaveRecord(ctx, r) })
}

func (v *volume) Free(ctx context.Context, id session.ID) error {
	return v.end("Free", id, func() error { return v.sink.Free(ctx, id) })
}

func (v *volume) Remove(ctx context.Context, id session.ID) error {
	return v.end("Remove", id, func() error { return v.sink.Remove(ctx, id) })
}

func (v *volume) Recover(ctx context.Context) iter.Seq2[session.Recovered, error] {
	return v.sink.Recover(ctx)
}

func (v *volume) Space(ctx context.Context) (space session.Space, err error) {
	err = v.do("Space", func() error {
		space, err = v.sink.Space(ctx)
		return err
	})
	return space, err
}

type staged struct {
	volume *volume
	id     session.ID
	staged session.Staged
}

func (s *staged) ReadAt(b []byte, offset int64) (n int, err error) {
	err = s.volume.do("ReadAt", func() error {
		n, err = s.staged.ReadAt(b, offset)
		return err
	})
	return n, err
}

func (s *staged) WriteAt(b []byte, offset int64) (n int, err error) {
	err = s.volume.write("WriteAt", s.id, offset, func() error {
		n, err = s.staged.WriteAt(b, offset)
		return err
	})
	return n, err
}

func (s *staged) Commit(ctx context.Context, index int, offset int64, slot session.Slot) error {
	return s.volume.write("Commit", s.id, offset, func() error {
		return s.staged.Commit(ctx, index, offset, slot)
	})
}

func (s *staged) Close() error { return s.staged.Close() }
