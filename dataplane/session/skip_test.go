package session_test

import (
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

func TestASkippedSessionIsFinishedWithoutAByte(t *testing.T) {
	r := newRig(t)
	r.begin("id", small)
	m, err := r.Skip(r.ctx, "id", []byte("it is there"))
	if err != nil || m.State != session.Finished || !m.Settled || string(m.Outcome) != "it is there" || m.HeldBytes != 0 {
		t.Fatalf("it was skipped and is %+v, %v", m, err)
	}
	r.expectFreed("id")
	_, err = r.put("id", 0, content(0, chunkLength))
	expect(t, "a chunk", err, session.ErrEnded)
	_, err = r.Skip(r.ctx, "id", nil)
	expect(t, "skipping it again", err, session.ErrEnded)
	r.crash()
	if m := r.get("id"); m.State != session.Finished || string(m.Outcome) != "it is there" {
		t.Errorf("after a crash it is %+v", m)
	}
}

func TestWhatHasBegunIsNotSkipped(t *testing.T) {
	r := newRig(t)
	_, err := r.Skip(r.ctx, "nobody", nil)
	expect(t, "skipping what is not there", err, session.ErrNotFound)

	r.begin("paused", small)
	if err := r.SetPaused(r.ctx, "paused", true); err != nil {
		t.Fatal(err)
	}
	_, err = r.Skip(r.ctx, "paused", nil)
	expect(t, "skipping what is paused", err, session.ErrPaused)

	r.begin("held", small)
	r.mustPut("held", 0, content(0, chunkLength))
	_, err = r.Skip(r.ctx, "held", nil)
	expect(t, "skipping what holds a chunk", err, session.ErrBegun)

	r.begin("arriving", small)
	body := newFeed()
	arriving := r.putting("arriving", body.incoming(0, chunkLength))
	body.give(t, content(0, chunkLength/2))
	body.hang(t)
	_, err = r.Skip(r.ctx, "arriving", nil)
	expect(t, "skipping while a chunk arrives", err, session.ErrBegun)
	body.give(t, content(0, chunkLength)[chunkLength/2:])
	body.end(t)
	if got := receive(t, "the chunk that was arriving", arriving); got.err != nil || !got.added {
		t.Errorf("the chunk that was arriving: %+v", got)
	}
}

var small = session.Spec{Size: 2 * chunkLength, ChunkSize: chunkLength}
