package session_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

const chunkLength = 3 * tiny

// stalled begins a session of one chunk whose sender has sent a third and then nothing.
func stalled(t *testing.T) (*rig, *feed, <-chan outcome) {
	t.Helper()
	r := newRig(t)
	r.begin("a", session.Spec{Size: chunkLength, ChunkSize: chunkLength})
	body := newFeed()
	first := r.putting("a", body.incoming(0, chunkLength))
	body.give(t, content(1, tiny))
	body.hang(t)
	return r, body, first
}

func TestARetryTakesOverFromAStalledSender(t *testing.T) {
	r, body, first := stalled(t)
	retry := r.putting("a", incoming(0, content(2, chunkLength)))
	r.clock.awaitAfters(t, 1)
	r.clock.Advance(takeOverAfter - 1)
	select {
	case got := <-retry:
		t.Fatalf("the retry did not wait: %+v", got)
	case <-body.cut:
		t.Fatal("the first was interrupted too early")
	default:
	}
	r.clock.Advance(1)
	expect(t, "the first", receive(t, "its end", first).err, session.ErrSuperseded)
	if got := receive(t, "the retry", retry); got.err != nil || !got.added {
		t.Errorf("the retry: %+v", got)
	}
	if !bytes.Equal(r.bytesOf("a"), content(2, chunkLength)) {
		t.Error("the bytes are not those of the retry")
	}
}

func TestARetryTakesOverFromASenderThatNeverSent(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: chunkLength, ChunkSize: chunkLength})
	body := newFeed()
	first := r.putting("a", body.incoming(0, chunkLength))
	body.hang(t)
	r.clock.Advance(takeOverAfter)
	r.mustPut("a", 0, content(2, chunkLength))
	expect(t, "the first", receive(t, "its end", first).err, session.ErrSuperseded)
}

func TestARetryTakesOverFromASenderThatDoesNotEndItsBody(t *testing.T) {
	r, body, first := stalled(t)
	body.give(t, content(1, chunkLength)[tiny:])
	body.hang(t)
	retry := r.putting("a", incoming(0, content(2, chunkLength)))
	r.clock.awaitAfters(t, 1)
	r.clock.Advance(takeOverAfter)
	expect(t, "the first", receive(t, "its end", first).err, session.ErrSuperseded)
	if got := receive(t, "the retry", retry); got.err != nil || !got.added {
		t.Errorf("the retry: %+v", got)
	}
}

// A sender that is slow but alive keeps its chunk for as long as it takes.
func TestNobodyTakesOverFromASlowSender(t *testing.T) {
	for _, test := range []struct {
		what  string
		retry []byte
		want  error
	}{
		{"the same bytes", content(1, chunkLength), nil},
		{"other bytes", content(2, chunkLength), session.ErrConflict},
	} {
		t.Run(test.what, func(t *testing.T) {
			r, body, first := stalled(t)
			retry := r.putting("a", incoming(0, test.retry))
			r.clock.awaitAfters(t, 1)
			for _, b := range content(1, chunkLength)[tiny:] {
				body.hang(t)
				r.clock.Advance(takeOverAfter - 1)
				body.give(t, []byte{b})
			}
			body.end(t)
			if got := receive(t, "the slow sender's end", first); got.err != nil || !got.added {
				t.Errorf("the slow sender: %+v", got)
			}
			got := receive(t, "the retry", retry)
			expect(t, "the retry", got.err, test.want)
			if got.added || !bytes.Equal(r.bytesOf("a"), content(1, chunkLength)) {
				t.Error("the retry counts")
			}
		})
	}
}

func TestNobodyTakesOverWhileTheVolumeStores(t *testing.T) {
	r, body, first := stalled(t)
	storing := r.volume.hold("Commit")
	body.give(t, content(1, chunkLength)[tiny:])
	body.end(t)
	receive(t, "the commit", storing.arrived)
	retry := r.putting("a", incoming(0, content(1, chunkLength)))
	for n := 1; n <= 5; n++ {
		r.clock.awaitAfters(t, n)
		r.clock.Advance(2 * takeOverAfter)
	}
	r.clock.awaitAfters(t, 6)
	select {
	case <-body.cut:
		t.Error("the sender was interrupted while its chunk was stored")
	case got := <-retry:
		t.Errorf("the retry did not wait: %+v", got)
	default:
	}
	storing.open()
	if got := receive(t, "the first", first); got.err != nil || !got.added {
		t.Errorf("the first: %+v", got)
	}
	if got := receive(t, "the retry", retry); got.err != nil || got.added {
		t.Errorf("the retry: %+v", got)
	}
}

// Until the sender is gone its bytes may still be written, so nobody enters.
func TestARetryWaitsForASenderThatCanNotBeInterrupted(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: chunkLength, ChunkSize: chunkLength})
	body := newFeed()
	in := body.incoming(0, chunkLength)
	in.Interrupt = nil
	first := r.putting("a", in)
	body.give(t, content(1, tiny))
	body.hang(t)
	retry := r.putting("a", incoming(0, content(1, chunkLength)))
	for n := 1; n <= 4; n++ {
		r.clock.awaitAfters(t, n) // it waits again
		r.clock.Advance(takeOverAfter)
	}
	body.give(t, content(1, chunkLength)[tiny:])
	body.end(t)
	if got := receive(t, "the first", first); got.err != nil || !got.added {
		t.Errorf("the first: %+v", got)
	}
	if got := receive(t, "the retry", retry); got.err != nil || got.added {
		t.Errorf("the retry: %+v", got)
	}
}

func TestOneOfSeveralRetriesTakesOver(t *testing.T) {
	const retries = 8
	r, _, first := stalled(t)
	var added, held atomic.Int64
	var waiting sync.WaitGroup
	for range retries {
		waiting.Go(func() {
			switch isNew, err := r.put("a", 0, content(2, chunkLength)); {
			case err != nil:
				t.Error(err)
			case isNew:
				added.Add(1)
			default:
				held.Add(1)
			}
		})
	}
	r.clock.awaitAfters(t, retries)
	r.clock.Advance(takeOverAfter)
	waiting.Wait()
	expect(t, "the first", receive(t, "its end", first).err, session.ErrSuperseded)
	if added.Load() != 1 || held.Load() != retries-1 {
		t.Errorf("%d retries were new and %d were held", added.Load(), held.Load())
	}
}

func TestAStalledRetryIsTakenOverToo(t *testing.T) {
	r, body, last := stalled(t)
	for n := 1; n <= 4; n++ {
		body.hang(t)
		body = newFeed()
		next := r.putting("a", body.incoming(0, chunkLength))
		r.clock.awaitAfters(t, n)
		r.clock.Advance(takeOverAfter)
		expect(t, "the one before", receive(t, "its end", last).err, session.ErrSuperseded)
		body.give(t, content(3, tiny))
		last = next
	}
	body.hang(t)
	r.clock.Advance(takeOverAfter)
	r.mustPut("a", 0, content(4, chunkLength))
	expect(t, "the last one", receive(t, "its end", last).err, session.ErrSuperseded)
	if !bytes.Equal(r.bytesOf("a"), content(4, chunkLength)) {
		t.Error("the bytes are not those of the final retry")
	}
}

func TestWhoWaitsLeavesWithItsContext(t *testing.T) {
	r, body, first := stalled(t)
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		_, err := r.PutChunk(ctx, "a", incoming(0, content(2, chunkLength)))
		waiting <- err
	}()
	r.clock.awaitAfters(t, 1)
	cancel()
	expect(t, "who waits", receive(t, "its end", waiting), context.Canceled)
	body.give(t, content(1, chunkLength)[tiny:])
	body.end(t)
	if got := receive(t, "the first", first); got.err != nil {
		t.Errorf("the first was disturbed: %v", got.err)
	}
}

func TestWhoWaitsIsToldThatTheSessionWasPaused(t *testing.T) {
	r, body, first := stalled(t)
	retry := r.putting("a", incoming(0, content(2, chunkLength)))
	r.clock.awaitAfters(t, 1)
	if err := r.SetPaused(r.ctx, "a", true); err != nil {
		t.Fatal(err)
	}
	body.end(t)
	expect(t, "the first", receive(t, "its end", first).err, session.ErrBody)
	expect(t, "the retry", receive(t, "its end", retry).err, session.ErrPaused)
}

// An interrupt that comes after PutChunk has returned would hit whatever the
// connection carries next.
func TestNobodyIsInterruptedAfterItsCallHasReturned(t *testing.T) {
	r, body, first := stalled(t)
	r.clock.Advance(takeOverAfter)
	r.clock.beforeNextLook(func() { // the retry is about to look
		r.clock.beforeNextLook(func() { // it found the first, which now goes
			body.end(t)
			expect(t, "the first", receive(t, "its end", first).err, session.ErrBody)
		})
	})
	r.mustPut("a", 0, content(2, chunkLength))
	select {
	case <-body.cut:
		t.Error("the first was interrupted after its call had returned")
	default:
	}
}
