package session_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// sight is what a follower saw.
type sight struct {
	asked  int
	blocks [][]byte
	seeing atomic.Int32
}

func (s *sight) follow() func([]byte) {
	s.asked++
	return func(block []byte) {
		s.seeing.Add(1)
		defer s.seeing.Add(-1)
		for range 100 {
			runtime.Gosched() // whoever does not wait for it is through before
		}
		s.blocks = append(s.blocks, bytes.Clone(block))
	}
}

func TestAChunkIsFollowedBlockByBlock(t *testing.T) {
	for _, length := range []int64{1, tiny - 1, tiny, tiny + 1, 9 * tiny, 10*tiny + 3} {
		r := newRig(t)
		r.begin("a", session.Spec{Size: length, ChunkSize: length})
		want := content(1, length)
		in, saw := incoming(0, want), &sight{}
		in.Body = iotest.HalfReader(in.Body)
		in.Follow = saw.follow
		if added, err := r.PutChunk(r.ctx, "a", in); err != nil || !added {
			t.Fatalf("added %v, %v", added, err)
		}
		if got := bytes.Join(saw.blocks, nil); saw.asked != 1 || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: asked %d times, %d bytes were seen, not what was sent", length, saw.asked, len(got))
		}
		if !bytes.Equal(r.bytesOf("a"), want) {
			t.Errorf("%d bytes: what is staged is not what was sent", length)
		}
	}
}

// The next block is read while one is being seen, and the one after it is not
// read into the same memory.
func TestAFollowerDoesNotHoldUpTheNextBlock(t *testing.T) {
	const length = 4 * tiny
	r := newRig(t)
	r.begin("a", session.Spec{Size: length, ChunkSize: length})
	want := content(1, length)
	body := newFeed()
	in := body.incoming(0, length)
	seen, hold, got := make(chan struct{}, 4), make(chan struct{}), new(bytes.Buffer)
	in.Follow = func() func([]byte) {
		return func(block []byte) {
			seen <- struct{}{}
			<-hold
			got.Write(block)
		}
	}
	done := r.putting("a", in)
	body.give(t, want[:tiny])
	receive(t, "the first block", seen)
	body.give(t, want[tiny:2*tiny]) // fails where the reader waits for the follower
	close(hold)
	body.give(t, want[2*tiny:])
	body.end(t)
	if o := receive(t, "the end", done); o.err != nil || !o.added {
		t.Fatalf("added %v, %v", o.added, o.err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("a block was written to while it was being seen")
	}
}

// Who wants to follow is asked only where a chunk is written, and sees nothing
// after the call, however that ends.
func TestWhatIsNotWrittenIsNotFollowed(t *testing.T) {
	const length = 4 * tiny
	want := content(1, length)
	for _, test := range []struct {
		what   string
		asked  int
		before func(r *rig)
		change func(*session.Incoming)
		err    error
	}{
		{"held already", 0, func(r *rig) { r.mustPut("a", 0, want) }, func(*session.Incoming) {}, nil},
		{"held with other bytes", 0, func(r *rig) { r.mustPut("a", 0, content(2, length)) }, func(*session.Incoming) {}, session.ErrConflict},
		{"too short", 0, nil, func(in *session.Incoming) { in.Length-- }, session.ErrLength},
		{"paused", 0, func(r *rig) { expect(t, "pause", r.SetPaused(r.ctx, "a", true), nil) }, func(*session.Incoming) {}, session.ErrPaused},
		{"cut off", 1, nil, func(in *session.Incoming) { in.Body = io.LimitReader(in.Body, 3*tiny-1) }, session.ErrBody},
		{"too long", 1, nil, func(in *session.Incoming) { in.Body = io.MultiReader(in.Body, bytes.NewReader(want)) }, session.ErrLength},
		{"failing its check", 1, nil, func(in *session.Incoming) { in.Checks = []session.Check{sha256Check(sha256Of(nil))} }, session.ErrMismatch},
		{"not written", 1, func(r *rig) { r.volume.failNext("WriteAt", 1) }, func(*session.Incoming) {}, errBroken},
		{"not committed", 1, func(r *rig) { r.volume.failNext("Commit", 1) }, func(*session.Incoming) {}, errBroken},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			r.begin("a", session.Spec{Size: length, ChunkSize: length})
			if test.before != nil {
				test.before(r)
			}
			in, saw := incoming(0, want), &sight{}
			in.Follow = saw.follow
			test.change(&in)
			added, err := r.PutChunk(r.ctx, "a", in)
			if added || !errors.Is(err, test.err) {
				t.Errorf("added %v, %v", added, err)
			}
			if saw.asked != test.asked || saw.seeing.Load() != 0 {
				t.Errorf("asked %d times, want %d; %d still see", saw.asked, test.asked, saw.seeing.Load())
			}
			if got := bytes.Join(saw.blocks, nil); !bytes.HasPrefix(want, got) {
				t.Errorf("what was seen was not sent")
			}
		})
	}
}

// Who does not care to follow is let be.
func TestAFollowerMayDecline(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: tiny, ChunkSize: tiny})
	in := incoming(0, content(1, tiny))
	in.Follow = func() func([]byte) { return nil }
	if added, err := r.PutChunk(r.ctx, "a", in); err != nil || !added {
		t.Errorf("added %v, %v", added, err)
	}
}

func TestHolds(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 3 * tiny, ChunkSize: tiny})
	holds, err := r.Holds("a")
	if err != nil {
		t.Fatal(err)
	}
	r.mustPut("a", 1, content(1, tiny))
	if holds(0) || !holds(1) || holds(2) {
		t.Errorf("it holds %v, %v, %v", holds(0), holds(1), holds(2))
	}
	_, err = r.Holds("b")
	expect(t, "of none", err, session.ErrNotFound)
}
