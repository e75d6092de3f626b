package session_test

import (
	"bytes"
	"context"
	"errors"
	"math/bits"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// forged returns other bytes that have the checksum of b. The checksum is linear: among 65 changes
// of one bit there are some which leave it as it is together.
func forged(tb testing.TB, b []byte) []byte {
	tb.Helper()
	sum := func(b []byte) uint64 {
		h := newHash()
		_, _ = h.Write(b) // never fails
		return h.Sum64()
	}
	type change struct {
		effect uint64 // on the checksum
		bytes  []byte
	}
	basis := map[int]change{} // by the highest bit of the effect
	zero := sum(make([]byte, len(b)))
	for bit := range 65 {
		c := change{bytes: make([]byte, len(b))}
		c.bytes[bit/8] = 1 << (bit % 8)
		c.effect = sum(c.bytes) ^ zero
		for c.effect != 0 {
			highest := bits.Len64(c.effect)
			known, ok := basis[highest]
			if !ok {
				basis[highest] = c
				break
			}
			c.effect ^= known.effect
			for i := range c.bytes {
				c.bytes[i] ^= known.bytes[i]
			}
		}
		if c.effect != 0 {
			continue
		}
		for i := range c.bytes {
			c.bytes[i] ^= b[i]
		}
		if bytes.Equal(c.bytes, b) || sum(c.bytes) != sum(b) {
			tb.Fatal("the bytes are not forged")
		}
		return c.bytes
	}
	tb.Fatal("no bytes could be forged")
	return nil
}

// Nobody makes bytes that pass for those which are held.
func TestForgedBytesAreNotHeld(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 2*chunkLength + 20, ChunkSize: chunkLength})
	r.fill("a")
	for index := range 3 {
		_, length, err := r.get("a").Spec.Extent(index)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.put("a", index, forged(t, content(index, length)))
		expect(t, "forged bytes", err, session.ErrConflict)
		err = r.Compare(r.ctx, incoming(index, forged(t, content(index, length))), bytes.NewReader(content(index, length)))
		expect(t, "forged bytes, compared with what is held elsewhere", err, session.ErrConflict)
		if added, err := r.put("a", index, content(index, length)); added || err != nil {
			t.Errorf("chunk %d again: added %v, %v", index, added, err)
		}
	}
}

// Every byte counts, in whichever block it is.
func TestEveryByteOfARepeatIsCompared(t *testing.T) {
	r := newRig(t)
	const length = 3*tiny + 5
	r.begin("a", session.Spec{Size: 2 * length, ChunkSize: length})
	r.fill("a")
	for at := range length {
		other := content(1, length)
		other[at] ^= 1
		_, err := r.put("a", 1, other)
		expect(t, "another byte", err, session.ErrConflict)
		err = r.Compare(r.ctx, incoming(1, other), bytes.NewReader(content(1, length)))
		expect(t, "held elsewhere", err, session.ErrConflict)
	}
	if err := r.Compare(r.ctx, incoming(1, content(1, length)), bytes.NewReader(content(1, length))); err != nil {
		t.Errorf("the same bytes, held elsewhere: %v", err)
	}
}

// What is compared is checked as what is stored is.
func TestComparedChunksAreChecked(t *testing.T) {
	r := newRig(t)
	held := func() *bytes.Reader { return bytes.NewReader(content(0, chunkLength)) }
	same := func() session.Incoming { return incoming(0, content(0, chunkLength)) }

	wrong := same()
	wrong.Checks = []session.Check{sha256Check(sha256Of(nil))}
	expect(t, "a wrong digest", r.Compare(r.ctx, wrong, held()), session.ErrMismatch)
	long := same()
	long.Length--
	expect(t, "a body that goes on", r.Compare(r.ctx, long, held()), session.ErrLength)
	short := same()
	short.Body = bytes.NewReader(content(0, chunkLength-1))
	expect(t, "a body that ends early", r.Compare(r.ctx, short, held()), session.ErrBody)
	gone, cancel := context.WithCancel(r.ctx)
	cancel()
	expect(t, "a body whose sender went", r.Compare(gone, short, held()), context.Canceled)
	err := r.Compare(r.ctx, same(), bytes.NewReader(content(0, chunkLength-1)))
	if err == nil || errors.Is(err, session.ErrConflict) {
		t.Errorf("what is held can't be read: %v", err)
	}
}

// Bytes that were damaged on the volume are no fault of the sender's.
func TestDamagedBytesAreNoConflict(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 2 * chunkLength, ChunkSize: chunkLength})
	r.fill("a")
	opened, err := r.volume.Open(r.ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	_, err = opened.WriteAt([]byte{content(1, 1)[0] ^ 1}, chunkLength)
	if err := errors.Join(err, opened.Close()); err != nil {
		t.Fatal(err)
	}
	if added, err := r.put("a", 1, content(1, chunkLength)); added || err == nil || errors.Is(err, session.ErrConflict) {
		t.Errorf("the chunk whose bytes were damaged: added %v, %v", added, err)
	}
	if added, err := r.put("a", 0, content(0, chunkLength)); added || err != nil {
		t.Errorf("the other one: added %v, %v", added, err)
	}
	r.volume.failNext("ReadAt", 1)
	_, err = r.put("a", 0, content(0, chunkLength))
	expect(t, "while the bytes can't be read", err, errBroken)
}
