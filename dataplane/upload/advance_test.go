package upload

import (
	"bytes"
	"hash"
	"hash/crc64"
	"math"
	"sync"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
)

// newTestFrontier returns the frontier of a new session.
func newTestFrontier(t *testing.T, a Algorithm, spec session.Spec) (*frontier, *session.Service) {
	t.Helper()
	sink, err := file.Open(t.TempDir(), file.Options{Replica: "models-0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	core := session.NewService(session.Config{
		Sink: sink, Checksum: func() hash.Hash64 { return crc64.New(crc64.MakeTable(crc64.ECMA)) },
	})
	m, _, err := core.Begin(t.Context(), "a", spec)
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFrontier(core, m, newSum(a, spec), &sync.Pool{New: func() any { b := make([]byte, readSize); return &b }})
	if err != nil {
		t.Fatal(err)
	}
	return f, core
}

// hold makes the core hold all chunks of an object.
func hold(t *testing.T, core *session.Service, spec session.Spec, object []byte) {
	t.Helper()
	for index := range spec.Chunks() {
		offset, length, err := spec.Extent(index)
		if err != nil {
			t.Fatal(err)
		}
		body := bytes.NewReader(object[offset : offset+length])
		if _, err := core.PutChunk(t.Context(), "a", session.Incoming{Index: index, Length: length, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
}

// A chunk may be held while its request is about to add it: the background
// leaves it alone, completion reads it back, and what the request brings then
// counts no more.
func TestWhoAddsAChunk(t *testing.T) {
	const chunk = 2048
	object := bytesFrom(1, 2*chunk)
	spec := session.Spec{Size: 2 * chunk, ChunkSize: chunk}
	for _, algorithm := range []Algorithm{SHA256, BLAKE3} {
		for _, before := range []bool{true, false} {
			f, core := newTestFrontier(t, algorithm, spec)
			along := f.begin(0)
			hold(t, core, spec, object)
			_, _ = along.Write(object[:chunk])
			if more, err := f.advance(t.Context(), f.arrived, math.MaxInt64); err != nil || more {
				t.Fatal(more, err)
			}
			if _, whole := f.sum.digest(); whole {
				t.Errorf("%s: the background did not leave the chunk to its request", algorithm)
			}
			if before {
				f.end(0, along, true)
			}
			for range 2 {
				if d, err := f.digest(t.Context(), make(chan struct{}, 1)); err != nil || d != plain(algorithm, object) {
					t.Errorf("%s: got %s, %v", algorithm, d, err)
				}
				if !before {
					f.end(0, along, true)
				}
			}
			if len(f.along) != 0 || f.sum.count() != 2 {
				t.Errorf("%s: %d strands are left, %d chunks were added", algorithm, len(f.along), f.sum.count())
			}
		}
	}
}

// Uploads take turns, so that one with much to read back does not hold up the others.
func TestFrontiersTakeTurns(t *testing.T) {
	const chunk = 1000
	object := bytesFrom(1, 5*chunk)
	spec := session.Spec{Size: 5 * chunk, ChunkSize: chunk}
	f, core := newTestFrontier(t, SHA256, spec)
	hold(t, core, spec, object)
	for _, want := range []struct {
		chunks int
		more   bool
	}{{2, true}, {4, true}, {5, false}, {5, false}} {
		more, err := f.advance(t.Context(), f.arrived, 2*chunk-1)
		if err != nil || more != want.more || f.sum.count() != want.chunks {
			t.Errorf("%d chunks were added, %v, %v, want %+v", f.sum.count(), more, err, want)
		}
	}
}

func TestAFrontierKnowsWhetherItLags(t *testing.T) {
	object := bytesFrom(1, 1000)
	spec := session.Spec{Size: 1000, ChunkSize: 1000}
	f, core := newTestFrontier(t, SHA256, spec)
	if !f.caughtUp() {
		t.Error("it lags behind nothing")
	}
	hold(t, core, spec, object)
	if f.caughtUp() {
		t.Error("it does not lag behind a chunk that it has not read")
	}
	if _, err := f.digest(t.Context(), make(chan struct{}, 1)); err != nil || !f.caughtUp() {
		t.Errorf("it lags once all is summed up, %v", err)
	}
}
