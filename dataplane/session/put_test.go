package session_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

func TestChunksMayComeInAnyOrderAndInParallel(t *testing.T) {
	for _, test := range []struct {
		what            string
		size, chunkSize int64
	}{
		{"nothing", 0, 10},
		{"one byte", 1, 10},
		{"a single chunk", 10, 10},
		{"a single short chunk", 9, 10},
		{"two chunks", 20, 10},
		{"a short last chunk", 101, 10},
		{"a last chunk of one byte", 1001, 100},
		{"chunks larger than a block", 10 * tiny * 7, 7 * tiny},
		{"chunks of a block", 10 * tiny, tiny},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			spec := session.Spec{Size: test.size, ChunkSize: test.chunkSize}
			r.begin("a", spec)
			want := content(1, test.size)
			var sending sync.WaitGroup
			for _, index := range rand.Perm(spec.Chunks()) {
				sending.Go(func() {
					offset, length, err := spec.Extent(index)
					if err != nil {
						t.Error(err)
						return
					}
					in := incoming(index, want[offset:offset+length])
					in.Body = iotest.HalfReader(in.Body)
					if added, err := r.PutChunk(r.ctx, "a", in); err != nil || !added {
						t.Errorf("chunk %d: added %v, %v", index, added, err)
					}
				})
			}
			sending.Wait()
			m := r.get("a")
			if !m.Complete() || m.HeldChunks != spec.Chunks() || m.HeldBytes != test.size || m.InFlight != 0 {
				t.Errorf("complete %v with %d chunks, %d bytes, %d in flight", m.Complete(), m.HeldChunks, m.HeldBytes, m.InFlight)
			}
			if err := r.VerifyComplete("a"); err != nil {
				t.Error(err)
			}
			if got := r.bytesOf("a"); !bytes.Equal(got, want) {
				t.Error("the bytes are not what was sent")
			}
		})
	}
}

// measured notes the largest piece that is asked for.
type measured struct {
	body    io.Reader
	largest int
}

func (m *measured) Read(b []byte) (int, error) {
	m.largest = max(m.largest, len(b))
	return m.body.Read(b)
}

func TestChunksStreamThroughOneBlock(t *testing.T) {
	const block, chunk, size = 4 << 10, 16 << 20, 64 << 20
	r := newRig(t, func(c *session.Config) { c.BlockSize = block })
	r.begin("a", session.Spec{Size: size, ChunkSize: chunk})
	var sending sync.WaitGroup
	for index := range size / chunk {
		sending.Go(func() {
			body := &measured{body: io.LimitReader(source(index), chunk)}
			if _, err := r.PutChunk(r.ctx, "a", session.Incoming{Index: index, Length: chunk, Body: body}); err != nil {
				t.Errorf("chunk %d: %v", index, err)
			}
			if body.largest > block {
				t.Errorf("chunk %d was read by %d bytes at once", index, body.largest)
			}
		})
	}
	sending.Wait()
	if writes := r.volume.count("WriteAt"); writes != size/block {
		t.Errorf("%d writes, want %d", writes, size/block)
	}
	opened, err := r.OpenStaged(r.ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = opened.Close() }()
	for index := range size / chunk {
		got, want := sha256.New(), sha256.New()
		_, err := io.CopyBuffer(got, io.NewSectionReader(opened, int64(index)*chunk, chunk), make([]byte, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(want, source(index), chunk); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			t.Errorf("chunk %d is not what was sent", index)
		}
	}
}

func sha256Check(want []byte) session.Check {
	return session.Check{Name: "sha-256", Hash: sha256.New(), Want: want}
}

func sha256Of(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// A chunk that is refused leaves nothing behind, and a good one is taken afterwards.
func TestWhatIsRefusedDoesNotCount(t *testing.T) {
	const size = 5 * tiny
	good := content(1, size)
	with := func(change func(*session.Incoming)) session.Incoming {
		in := incoming(0, good)
		change(&in)
		return in
	}
	for _, test := range []struct {
		what string
		in   session.Incoming
		want error
	}{
		{"a body that ends early", with(func(in *session.Incoming) { in.Body = bytes.NewReader(good[:size-1]) }), session.ErrBody},
		{"a body that ends within a block", with(func(in *session.Incoming) { in.Body = bytes.NewReader(good[:3]) }), session.ErrBody},
		{"no body", with(func(in *session.Incoming) { in.Body = bytes.NewReader(nil) }), io.EOF},
		{"a body that goes on", with(func(in *session.Incoming) { in.Body = bytes.NewReader(append(bytes.Clone(good), 1)) }), session.ErrLength},
		{"a body that breaks", with(func(in *session.Incoming) {
			in.Body = io.MultiReader(bytes.NewReader(good[:40]), iotest.ErrReader(errCut))
		}), errCut},
		{"a body that breaks after its last byte", with(func(in *session.Incoming) {
			in.Body = io.MultiReader(bytes.NewReader(good), iotest.ErrReader(errCut))
		}), session.ErrBody},
		{"a length too small", with(func(in *session.Incoming) { in.Length-- }), session.ErrLength},
		{"a length too large", with(func(in *session.Incoming) { in.Length++ }), session.ErrLength},
		{"a negative length", with(func(in *session.Incoming) { in.Length = -1 }), session.ErrLength},
		{"an index too large", with(func(in *session.Incoming) { in.Index = 2 }), session.ErrInvalid},
		{"a negative index", with(func(in *session.Incoming) { in.Index = -1 }), session.ErrInvalid},
		{"the index of the short last chunk", with(func(in *session.Incoming) { in.Index = 1 }), session.ErrLength},
		{"a check that fails", with(func(in *session.Incoming) { in.Checks = []session.Check{sha256Check(sha256Of(good[1:]))} }), session.ErrMismatch},
		{"a check of no bytes", with(func(in *session.Incoming) { in.Checks = []session.Check{sha256Check(nil)} }), session.ErrMismatch},
		{"one of two checks that fails", with(func(in *session.Incoming) {
			in.Checks = []session.Check{
				sha256Check(sha256Of(good)),
				{Name: "crc32c", Hash: crc32.NewIEEE(), Want: []byte{1, 2, 3, 4}},
			}
		}), session.ErrMismatch},
		{"a check that fails and a body that goes on", with(func(in *session.Incoming) {
			in.Body = bytes.NewReader(append(bytes.Clone(good), 1))
			in.Checks = []session.Check{sha256Check(sha256Of(good))}
		}), session.ErrLength},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			r.begin("a", session.Spec{Size: size + 1, ChunkSize: size})
			added, err := r.PutChunk(r.ctx, "a", test.in)
			expect(t, test.what, err, test.want)
			m := r.get("a")
			if added || m.HeldChunks != 0 || m.HeldBytes != 0 || m.InFlight != 0 || !m.LastActivity.IsZero() {
				t.Errorf("added %v, and of the session is known %+v", added, m)
			}
			in := incoming(0, good)
			in.Checks = []session.Check{sha256Check(sha256Of(good))}
			if added, err := r.PutChunk(r.ctx, "a", in); err != nil || !added {
				t.Errorf("the good chunk afterwards: added %v, %v", added, err)
			}
			if got := r.bytesOf("a")[:size]; !bytes.Equal(got, good) {
				t.Error("the bytes are not those of the good chunk")
			}
		})
	}
}

func TestEmptySessionsTakeNoChunk(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{ChunkSize: 10})
	_, err := r.put("a", 0, nil)
	expect(t, "chunk 0", err, session.ErrInvalid)
	if err := r.VerifyComplete("a"); err != nil {
		t.Errorf("an empty session is complete: %v", err)
	}
}

func TestNobodyPutsIntoAnUnknownSession(t *testing.T) {
	r := newRig(t)
	_, err := r.put("a", 0, []byte("1"))
	expect(t, "an unknown session", err, session.ErrNotFound)
}

func TestFailuresOfTheVolumePass(t *testing.T) {
	for _, method := range []string{"Open", "WriteAt", "Commit"} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t)
			r.begin("a", session.Spec{Size: 30, ChunkSize: 30})
			r.volume.failNext(method, 1)
			added, err := r.put("a", 0, content(1, 30))
			expect(t, method, err, errBroken)
			if added || r.get("a").HeldChunks != 0 {
				t.Error("the chunk counts")
			}
			r.mustPut("a", 0, content(2, 30))
			if !bytes.Equal(r.bytesOf("a"), content(2, 30)) {
				t.Error("the bytes are not those that were acknowledged")
			}
		})
	}
}

func TestTheContextEndsAChunk(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 30, ChunkSize: 30})
	ctx, cancel := context.WithCancel(t.Context())
	body := newFeed()
	done := make(chan error, 1)
	go func() {
		_, err := r.PutChunk(ctx, "a", body.incoming(0, 30))
		done <- err
	}()
	body.give(t, content(1, 10))
	body.hang(t)
	cancel()
	body.end(t) // as a server ends the body of a request that was canceled
	expect(t, "the chunk", receive(t, "its end", done), context.Canceled)
	r.mustPut("a", 0, content(1, 30))
}

func TestTheSameChunkAgainIsHeld(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 110, ChunkSize: 100})
	for index, length := range []int64{100, 10} {
		good := content(index, length)
		r.mustPut("a", index, good)
		for range 3 {
			if added, err := r.put("a", index, good); err != nil || added {
				t.Errorf("the same bytes again: added %v, %v", added, err)
			}
		}
		flipped := bytes.Clone(good)
		flipped[length-1] ^= 1
		if added, err := r.put("a", index, flipped); added || !errors.Is(err, session.ErrConflict) {
			t.Errorf("other bytes: added %v, %v", added, err)
		}
		in := incoming(index, flipped)
		in.Checks = []session.Check{sha256Check(sha256Of(good))}
		_, err := r.PutChunk(r.ctx, "a", in)
		expect(t, "other bytes that fail their check", err, session.ErrMismatch)
		in = incoming(index, good)
		in.Body = bytes.NewReader(good[1:])
		_, err = r.PutChunk(r.ctx, "a", in)
		expect(t, "a short body", err, session.ErrBody)
	}
	writes := r.volume.count("WriteAt")
	r.crash()
	if added, err := r.put("a", 0, content(0, 100)); err != nil || added {
		t.Errorf("the same bytes after a restart: added %v, %v", added, err)
	}
	_, err := r.put("a", 0, content(5, 100))
	expect(t, "other bytes after a restart", err, session.ErrConflict)
	if r.volume.count("WriteAt") != 0 || writes != 100/tiny+2 {
		t.Error("what is held was written to")
	}
	if got := r.bytesOf("a"); !bytes.Equal(got, append(content(0, 100), content(1, 10)...)) {
		t.Error("what was held changed")
	}
	if m := r.get("a"); m.HeldChunks != 2 || m.HeldBytes != 110 {
		t.Errorf("held are %d chunks of %d bytes", m.HeldChunks, m.HeldBytes)
	}
}

func TestAFailureToReadTheLedgerIsNoConflict(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 10, ChunkSize: 10})
	r.mustPut("a", 0, content(0, 10))
	r.volume.failNext("Slot", 1)
	_, err := r.put("a", 0, content(0, 10))
	expect(t, "while the ledger can't be read", err, errBroken)
	if _, err := r.put("a", 0, content(0, 10)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestActivityIsWhenTheLastChunkWasAccepted(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 30, ChunkSize: 10})
	if m := r.get("a"); !m.LastActivity.IsZero() || !m.Created.Equal(r.clock.Now()) {
		t.Errorf("before the first chunk: last activity %s, created %s", m.LastActivity, m.Created)
	}
	r.clock.Advance(time.Minute)
	r.mustPut("a", 0, content(0, 10))
	accepted := r.clock.Now()
	r.clock.Advance(time.Minute)
	if _, err := r.put("a", 0, content(0, 10)); err != nil {
		t.Fatal(err)
	}
	if got := r.get("a").LastActivity; !got.Equal(accepted) {
		t.Errorf("last activity %s, want %s", got, accepted)
	}
}

func TestPausedSessionsTakeNoChunk(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 30, ChunkSize: 10})
	r.mustPut("a", 0, content(0, 10))
	body := newFeed()
	entered := r.putting("a", body.incoming(1, 10))
	body.hang(t)
	if err := r.SetPaused(r.ctx, "a", true); err != nil {
		t.Fatal(err)
	}
	_, err := r.put("a", 2, content(2, 10))
	expect(t, "a new chunk", err, session.ErrPaused)
	_, err = r.put("a", 0, content(0, 10))
	expect(t, "a chunk that is held", err, session.ErrPaused)
	if m := r.get("a"); !m.Paused || m.InFlight != 1 {
		t.Errorf("paused %v with %d in flight", m.Paused, m.InFlight)
	}
	body.give(t, content(1, 10))
	body.end(t)
	if got := receive(t, "the chunk that had entered", entered); got.err != nil || !got.added {
		t.Errorf("the chunk that had entered: %+v", got)
	}
	if err := r.SetPaused(r.ctx, "a", false); err != nil {
		t.Fatal(err)
	}
	r.mustPut("a", 2, content(2, 10))
}

// unsteady is a body that comes in small pieces, hangs now and then until it is
// interrupted, and sometimes breaks.
type unsteady struct {
	left  []byte
	rand  *rand.Rand
	cut   chan struct{}
	hangs bool
}

func (u *unsteady) Read(b []byte) (int, error) {
	if len(u.left) == 0 {
		return 0, io.EOF
	}
	select {
	case <-u.cut:
		return 0, errCut
	default:
	}
	if u.rand.IntN(4) == 0 {
		runtime.Gosched()
	}
	if u.hangs && u.rand.IntN(8) == 0 {
		<-u.cut
		return 0, errCut
	}
	n := copy(b[:1+u.rand.IntN(len(b))], u.left)
	u.left = u.left[n:]
	return n, nil
}

// Many send different bytes for the same chunks, and take over from each other
// all the time.
func TestTwoWritersNeverMixTheirBytes(t *testing.T) {
	const chunks, length, senders, contents, rounds = 4, 5*tiny + 3, 24, 5, 4
	for round := range rounds {
		r := newRig(t, func(c *session.Config) {
			c.Clock = session.SystemClock{}
			c.TakeOverAfter = time.Nanosecond
		})
		r.begin("a", session.Spec{Size: chunks * length, ChunkSize: length})
		var (
			mu           sync.Mutex
			acknowledged [chunks][contents]int
			fresh        [chunks]int
		)
		send := func(sender, index int, hangs bool) {
			u := &unsteady{
				left: content(sender%contents, length), cut: make(chan struct{}), hangs: hangs,
				rand: rand.New(rand.NewPCG(uint64(round), uint64(sender*chunks+index))),
			}
			added, err := r.PutChunk(r.ctx, "a", session.Incoming{
				Index: index, Length: length, Body: u, Interrupt: func() { close(u.cut) },
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				acknowledged[index][sender%contents]++
				if added {
					fresh[index]++
				}
			case errors.Is(err, session.ErrConflict), errors.Is(err, session.ErrSuperseded):
			default:
				t.Errorf("chunk %d of sender %d: %v", index, sender, err)
			}
		}
		var sending sync.WaitGroup
		for sender := range senders {
			for index := range chunks {
				sending.Go(func() { send(sender, index, sender%3 == 0) })
			}
		}
		sent := make(chan struct{})
		go func() {
			sending.Wait()
			close(sent)
		}()
		for sending := true; sending; { // what hangs to the last is taken over here
			for index := range chunks {
				send(round, index, false)
			}
			select {
			case <-sent:
				sending = false
			default:
			}
		}
		for index, counts := range acknowledged {
			kinds := 0
			for seed, count := range counts {
				if count == 0 {
					continue
				}
				kinds++
				if got := r.bytesOf("a")[index*length : (index+1)*length]; !bytes.Equal(got, content(seed, length)) {
					t.Errorf("chunk %d is not what was acknowledged", index)
				}
			}
			if kinds != 1 || fresh[index] != 1 {
				t.Errorf("chunk %d: of each content were acknowledged %v, as new %d", index, counts, fresh[index])
			}
		}
	}
}
