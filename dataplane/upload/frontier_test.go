package upload_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Chunks that come one after the other are summed up from memory.
func TestTheDigestOfChunksInOrderReadsNothing(t *testing.T) {
	for _, size := range []int64{1, 10, 11, 25, 5000} {
		r := newRig(t)
		object := content(1, size)
		g := grant("id", sized(size, max(10, size/4)), explicit)
		r.accept(g)
		r.send(g, object)
		if _, err := r.Complete(r.ctx, g.Name, digestOf(object)); err != nil {
			t.Error(err)
		}
		r.expectPublished(g, object)
		if n := r.volume.count("ReadAt"); n != 0 {
			t.Errorf("%d bytes: %d reads", size, n)
		}
	}
}

// Only the chunk after what is summed up can be taken along; the others are
// read back, once each.
func TestTheDigestOfChunksOutOfOrderReadsEachOnce(t *testing.T) {
	r := newRig(t)
	object := content(1, 95)
	g := grant("id", sized(95, 10), explicit)
	r.accept(g)
	r.sendBackwards(g, object)
	if _, err := r.Complete(r.ctx, g.Name, digestOf(object)); err != nil {
		t.Error(err)
	}
	if n := r.volume.count("ReadAt"); n != 9 {
		t.Errorf("%d reads", n)
	}
}

// After a restart the digest starts anew from what is staged, and goes on from memory.
func TestTheDigestStartsAnewWithTheProcess(t *testing.T) {
	r := newRig(t)
	object := content(1, 100)
	g := grant("id", sized(100, 10), explicit)
	r.accept(g)
	for index := range 9 {
		if _, err := r.put(g, index, object); err != nil {
			t.Fatal(err)
		}
		if index == 5 {
			r.crash()
		}
	}
	if _, err := r.put(g, 9, object); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Complete(r.ctx, g.Name, digestOf(object)); err != nil {
		t.Error(err)
	}
	r.expectPublished(g, object)
}

// A chunk that does not come to count leaves no trace in the digest.
func TestAChunkThatFailsIsNotInTheDigest(t *testing.T) {
	const chunk = 3 << 10 // three blocks
	object := content(1, 2*chunk)
	wrong := func(g upload.Grant) session.Incoming { return incoming(g, 0, content(2, 2*chunk)) }
	for _, test := range []struct {
		what string
		fail func(r *rig, g upload.Grant) (bool, error)
	}{
		{"its check fails", func(r *rig, g upload.Grant) (bool, error) {
			in := wrong(g)
			in.Checks = []session.Check{{Name: "sha-256", Hash: sha256.New(), Want: make([]byte, sha256.Size)}}
			return r.PutChunk(r.ctx, g.Name, in)
		}},
		{"its body ends early", func(r *rig, g upload.Grant) (bool, error) {
			in := wrong(g)
			in.Body = bytes.NewReader(object[:chunk-1])
			return r.PutChunk(r.ctx, g.Name, in)
		}},
		{"it can't be committed", func(r *rig, g upload.Grant) (bool, error) {
			r.volume.fail("Commit", 1)
			return r.PutChunk(r.ctx, g.Name, wrong(g))
		}},
		{"its body panics", func(r *rig, g upload.Grant) (added bool, err error) {
			in := wrong(g)
			in.Body = panicking{}
			defer func() {
				panicked, _ := recover().(error)
				err = errors.Join(err, panicked)
			}()
			return r.PutChunk(r.ctx, g.Name, in)
		}},
		{"a later request takes over", func(r *rig, g upload.Grant) (bool, error) {
			in := wrong(g)
			hanging, cut := make(chan struct{}), make(chan struct{})
			in.Body = &hangingBody{first: object[:chunk-1], hanging: hanging, cut: cut}
			in.Interrupt = func() { close(cut) }
			type outcome struct {
				added bool
				err   error
			}
			first := make(chan outcome, 1)
			go func() {
				added, err := r.PutChunk(r.ctx, g.Name, in)
				first <- outcome{added, err}
			}()
			receive(r.tb, "the first request", hanging)
			r.clock.Advance(session.DefaultTakeOverAfter)
			if added, err := r.put(g, 0, object); err != nil || !added {
				r.tb.Errorf("the later request: %v, %v", added, err)
			}
			o := receive(r.tb, "its end", first)
			return o.added, o.err
		}},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", sized(2*chunk, chunk), explicit)
			r.accept(g)
			if added, err := test.fail(r, g); err == nil || added {
				t.Errorf("added %v, %v", added, err)
			}
			if n := r.Arriving(); n != 0 {
				t.Errorf("%d chunks are still taken for arriving", n)
			}
			for index := r.known(g.ID).Meta.HeldChunks; index < 2; index++ { // a repeat would be read
				if _, err := r.put(g, index, object); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := r.Complete(r.ctx, g.Name, digestOf(object)); err != nil {
				t.Error(err)
			}
			r.expectPublished(g, object)
			if n := r.volume.count("ReadAt"); n != 0 {
				t.Errorf("%d reads", n)
			}
			if n := r.Frontiers(); n != 0 {
				t.Errorf("%d digests are kept of what has ended", n)
			}
		})
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic(errors.New("the body panics")) }

// hangingBody gives its first bytes and then hangs until it is cut.
type hangingBody struct {
	first   []byte
	hanging chan<- struct{}
	cut     <-chan struct{}
}

func (b *hangingBody) Read(p []byte) (int, error) {
	if len(b.first) == 0 {
		close(b.hanging)
		<-b.cut
		return 0, errors.New("the connection was cut")
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	return n, nil
}

// Lag is of chunks of a MiB: all but the first are held, and were not waited for.
const (
	mib      = 1 << 20
	lagging  = 12
	mayLag   = 4              // MiB once nothing is missing
	readPart = 256 << 10      // what is read back at once
	reads    = mib / readPart // of a chunk
)

func newLaggingRig(t *testing.T) (*rig, upload.Grant, []byte) {
	t.Helper()
	r := newRig(t)
	object := content(1, lagging*mib)
	g := grant("id", sized(lagging*mib, mib), explicit)
	r.accept(g)
	for index := lagging - 1; index > 0; index-- {
		if _, err := r.put(g, index, object); err != nil {
			t.Fatal(err)
		}
	}
	return r, g, object
}

func TestAcknowledgementsWaitForTheDigest(t *testing.T) {
	r, g, object := newLaggingRig(t)
	reading := r.volume.hold("ReadAt")
	read := make(chan int, 1)
	go func() {
		if added, err := r.put(g, 0, object); err != nil || !added {
			t.Errorf("added %v, %v", added, err)
		}
		read <- r.volume.count("ReadAt")
	}()
	receive(t, "the background", reading.arrived)
	if st := r.known("id"); !st.Meta.Complete() {
		t.Errorf("the chunk is not held while it waits: %+v", st.Meta)
	}
	reading.open()
	if n, least := receive(t, "the acknowledgement", read), (lagging-1-mayLag)*reads; n < least {
		t.Errorf("acknowledged after %d reads, want %d", n, least)
	}
	if _, err := r.Complete(r.ctx, g.Name, digestOf(object)); err != nil {
		t.Error(err)
	}
	if n := r.volume.count("ReadAt"); n != (lagging-1)*reads {
		t.Errorf("%d reads, want %d", n, (lagging-1)*reads)
	}
}

// What an earlier process took is read back, but nobody waits for that.
func TestAcknowledgementsDoNotWaitForWhatWasHeld(t *testing.T) {
	r := newRig(t)
	object := content(1, lagging*mib)
	g := grant("id", sized(lagging*mib, mib), explicit)
	r.accept(g)
	for index := range lagging - 1 {
		if _, err := r.put(g, index, object); err != nil {
			t.Fatal(err)
		}
	}
	r.crash()
	reading := r.volume.hold("ReadAt")
	done := make(chan error, 1)
	go func() {
		_, err := r.put(g, lagging-1, object)
		done <- err
	}()
	receive(t, "the background", reading.arrived)
	expect(t, "the chunk", receive(t, "the acknowledgement", done), nil)
	reading.open()
	if _, err := r.Complete(r.ctx, g.Name, digestOf(object)); err != nil {
		t.Error(err)
	}
}

// Whatever happens to the digest: the chunk is durable, so that it is acknowledged.
func TestAcknowledgementsDoNotWaitForEver(t *testing.T) {
	for _, test := range []struct {
		what string
		end  func(r *rig, cancel func(), reading *gate)
	}{
		{"the request is canceled", func(_ *rig, cancel func(), _ *gate) { cancel() }},
		{"the service is closed", func(r *rig, _ func(), _ *gate) { go r.Close() }},
		{"the volume fails", func(r *rig, _ func(), reading *gate) {
			r.volume.fail("ReadAt", forEver)
			reading.open()
		}},
		{"the upload is canceled", func(r *rig, _ func(), reading *gate) {
			if _, err := r.Cancel(r.ctx, "id", upload.Cancelled, "enough"); err != nil {
				r.tb.Error(err)
			}
			reading.open()
		}},
	} {
		t.Run(test.what, func(t *testing.T) {
			r, g, object := newLaggingRig(t)
			reading := r.volume.hold("ReadAt")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				added, err := r.PutChunk(ctx, g.Name, incoming(g, 0, object))
				if err == nil && !added {
					err = errors.New("it is not new")
				}
				done <- err
			}()
			receive(t, "the background", reading.arrived)
			test.end(r, cancel, reading)
			expect(t, "the chunk", receive(t, "the acknowledgement", done), nil)
			select {
			case <-reading.opened:
			default:
				reading.open()
			}
		})
	}
}

// Nobody asks for the digest of what has ended.
func TestTheDigestOfWhatHasEndedIsLetBe(t *testing.T) {
	r, g, object := newLaggingRig(t)
	reading := r.volume.hold("ReadAt")
	done := make(chan error, 1)
	go func() {
		_, err := r.put(g, 0, object)
		done <- err
	}()
	receive(t, "the background", reading.arrived)
	if _, err := r.Cancel(r.ctx, "id", upload.Cancelled, "enough"); err != nil {
		t.Fatal(err)
	}
	reading.open()
	expect(t, "the chunk", receive(t, "the acknowledgement", done), nil)
	r.Close() // the background is through
	if n := r.volume.count("ReadAt"); n > reads {
		t.Errorf("%d reads, want those of the chunk that was being read", n)
	}
	if n := r.Frontiers(); n != 0 {
		t.Errorf("%d digests are kept", n)
	}
}
