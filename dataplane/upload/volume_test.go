package upload_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

var (
	errBroken   = errors.New("the volume is broken")
	errPowerCut = errors.New("the power is cut")
)

const forEver = -1

// volume is the file sink, which breaks on demand.
type volume struct {
	tb   testing.TB
	root string
	sink *file.Sink

	using sync.RWMutex // held for reading while the sink works
	lost  bool

	// written, where it is set, is when everything that is published was last written, as where
	// the filesystem's clock ticks slowly.
	written time.Time

	mu     sync.Mutex
	faults map[string]*fault
	gates  map[string]*gate
	calls  map[string]int
	busy   map[string]int // calls that are going on
	most   map[string]int // such calls there ever were at once
}

type fault struct {
	skip, times int
	after       bool
}

// gate holds one call back until it is opened, or all.
type gate struct {
	all     bool
	once    sync.Once
	arrived chan struct{} // closed once one has arrived
	opened  chan struct{}
}

func (g *gate) open() { close(g.opened) }

func openVolume(tb testing.TB, root string) *volume {
	tb.Helper()
	sink, err := file.Open(root, file.Options{Replica: "models-0"})
	if err != nil {
		tb.Fatalf("open the volume: %v", err)
	}
	return &volume{
		tb: tb, root: root, sink: sink, faults: map[string]*fault{}, gates: map[string]*gate{}, calls: map[string]int{},
		busy: map[string]int{}, most: map[string]int{},
	}
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

// fail makes calls of a method fail before they do anything.
func (v *volume) fail(method string, times int) { v.setFault(method, &fault{times: times}) }

// failAfter makes calls of a method do their work and then fail.
func (v *volume) failAfter(method string, times int) {
	v.setFault(method, &fault{times: times, after: true})
}

// failOnceAfter makes one call of a method fail after so many that don't.
func (v *volume) failOnceAfter(method string, skip int) {
	v.setFault(method, &fault{skip: skip, times: 1})
}

// heal makes all methods work again.
func (v *volume) heal() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.faults)
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

// holdAll holds all calls of a method back.
func (v *volume) holdAll(method string) *gate {
	g := v.hold(method)
	g.all = true
	return g
}

// atOnce is how many calls of a method there ever were at once.
func (v *volume) atOnce(method string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.most[method]
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
	v.busy[method]++
	v.most[method] = max(v.most[method], v.busy[method])
	g := v.gates[method]
	if g != nil && !g.all {
		delete(v.gates, method)
	}
	before, after := false, false
	if f := v.faults[method]; f != nil {
		switch {
		case f.skip > 0:
			f.skip--
		case f.times != 0:
			before, after = !f.after, f.after
			if f.times > 0 {
				f.times--
			}
		}
	}
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		v.busy[method]--
		v.mu.Unlock()
	}()
	if g != nil {
		g.once.Do(func() { close(g.arrived) })
		<-g.opened
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

func (v *volume) Create(ctx context.Context, r session.Record) error {
	return v.do("Create", func() error { return v.sink.Create(ctx, r) })
}

func (v *volume) Open(ctx context.Context, id session.ID) (opened session.Staged, err error) {
	err = v.do("Open", func() error {
		opened, err = v.sink.Open(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &staged{Staged: opened, volume: v}, nil
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
	return v.do("Free", func() error { return v.sink.Free(ctx, id) })
}

func (v *volume) Remove(ctx context.Context, id session.ID) error {
	return v.do("Remove", func() error { return v.sink.Remove(ctx, id) })
}

func (v *volume) Recover(ctx context.Context) iter.Seq2[session.Recovered, error] {
	return v.sink.Recover(ctx)
}

func (v *volume) Space(ctx context.Context) (session.Space, error) { return v.sink.Space(ctx) }

func (v *volume) Publish(ctx context.Context, id session.ID, name string, replace bool, attributes map[string]string) error {
	return v.do("Publish", func() error {
		if !v.written.IsZero() {
			data := filepath.Join(v.root, session.ReservedElement, "models-0.replica", string(id), "data")
			if err := os.Chtimes(data, v.written, v.written); err != nil {
				return err
			}
		}
		return v.sink.Publish(ctx, id, name, replace, attributes)
	})
}

func (v *volume) Published(ctx context.Context, id session.ID, name string) (published bool, err error) {
	err = v.do("Published", func() error {
		published, err = v.sink.Published(ctx, id, name)
		return err
	})
	return published, err
}

func (v *volume) Lookup(ctx context.Context, name string) error {
	return v.do("Lookup", func() error { return v.sink.Lookup(ctx, name) })
}

func (v *volume) OpenObject(ctx context.Context, name string) (object session.Object, err error) {
	err = v.do("OpenObject", func() error {
		object, err = v.sink.OpenObject(ctx, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &openedObject{object, v}, nil
}

func (v *volume) List(ctx context.Context, q session.ListQuery) (listing session.Listing, err error) {
	err = v.do("List", func() error {
		listing, err = v.sink.List(ctx, q)
		return err
	})
	return listing, err
}

// openedObject is an object whose reads are held back and break as the volume's methods do.
type openedObject struct {
	session.Object
	volume *volume
}

func (o *openedObject) Read(b []byte) (n int, err error) {
	end := error(nil)
	err = o.volume.do("ReadObject", func() error {
		if n, err = o.Object.Read(b); errors.Is(err, io.EOF) {
			end, err = err, nil
		}
		return err
	})
	if err == nil {
		err = end
	}
	return n, err
}

func (v *volume) Identify(ctx context.Context, id session.ID) (identity string, err error) {
	err = v.do("Identify", func() error {
		identity, err = v.sink.Identify(ctx, id)
		return err
	})
	return identity, err
}

func (v *volume) Note(ctx context.Context, id session.ID, note string) error {
	return v.do("Note", func() error { return v.sink.Note(ctx, id, note) })
}

func (v *volume) Withdraw(ctx context.Context, name, identity string) (removed bool, err error) {
	err = v.do("Withdraw", func() error {
		removed, err = v.sink.Withdraw(ctx, name, identity)
		return err
	})
	return removed, err
}

type staged struct {
	session.Staged
	volume *volume
}

func (s *staged) ReadAt(b []byte, offset int64) (n int, err error) {
	err = s.volume.do("ReadAt", func() error {
		n, err = s.Staged.ReadAt(b, offset)
		return err
	})
	return n, err
}

func (s *staged) WriteAt(b []byte, offset int64) (n int, err error) {
	err = s.volume.do("WriteAt", func() error {
		n, err = s.Staged.WriteAt(b, offset)
		return err
	})
	return n, err
}

func (s *staged) Commit(ctx context.Context, index int, offset int64, slot session.Slot) error {
	return s.volume.do("Commit", func() error { return s.Staged.Commit(ctx, index, offset, slot) })
}
