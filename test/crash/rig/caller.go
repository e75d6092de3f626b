package rig

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

// caller sends one request after the other.
type caller struct {
	*Load
	random *rand.Rand
}

// choose takes a session, mostly one that has not ended.
func (c *caller) choose(sessions []*Session) *Session {
	s := sessions[c.random.IntN(len(sessions))]
	for range 5 {
		if s.End() == "" {
			break
		}
		s = sessions[c.random.IntN(len(sessions))]
	}
	if s.End() != "" {
		time.Sleep(time.Millisecond) // most have ended; there is no hurry
	}
	return s
}

// call sends one request of some kind.
func (c *caller) call(ctx context.Context, s *Session) {
	if s.Abortable && c.random.IntN(100) == 0 {
		c.Abort(ctx, s)
		return
	}
	if s.Chunks() == 0 {
		if s.Explicit {
			c.complete(ctx, s)
			return
		}
		c.status(ctx, s)
		return
	}
	index := c.pick(s)
	switch n := c.random.IntN(100); {
	case n < 5:
		c.status(ctx, s)
	case n < 10:
		c.complete(ctx, s)
	case n < 15:
		c.putWrongDigest(ctx, s, index)
	case n < 20:
		c.putOther(ctx, s, index)
	case n < 25:
		c.putPart(ctx, s, index)
	case n < 35:
		c.putTwice(ctx, s, index)
	default:
		c.put(ctx, s, index)
	}
}

// pick takes a chunk, mostly one that is not acknowledged, but of an abandoned
// session not the last.
func (c *caller) pick(s *Session) int {
	index := c.random.IntN(s.Chunks())
	for range 6 {
		if !s.Held(index) {
			break
		}
		index = c.random.IntN(s.Chunks())
	}
	if s.Abandoned {
		index = min(index, max(0, s.Chunks()-2))
	}
	return index
}

// put sends a chunk that may be held, mostly with its digest.
func (c *caller) put(ctx context.Context, s *Session, index int) {
	if s.Abandoned && s.Chunks() == 1 {
		c.status(ctx, s)
		return
	}
	variant, held := s.AckedVariant(index)
	if !held && s.Contested {
		variant = c.random.IntN(variants)
	}
	c.Send(ctx, s, index, variant, c.random.IntN(4) > 0)
}

// putTwice sends the same chunk in two requests at once.
func (c *caller) putTwice(ctx context.Context, s *Session, index int) {
	var running sync.WaitGroup
	defer running.Wait()
	twin := &caller{Load: c.Load, random: rand.New(rand.NewPCG(c.random.Uint64(), 1))}
	running.Go(func() { twin.put(ctx, s, index) })
	c.put(ctx, s, index)
}

// putWrongDigest sends bytes that are not what their digest says: either may be wrong.
func (c *caller) putWrongDigest(ctx context.Context, s *Session, index int) {
	content, other := s.Content(index, 0), s.Content(index, neverHeld)
	if c.random.IntN(2) == 0 {
		content, other = other, content
	}
	reply := c.Dataplane.Do(ctx, s, Request{
		Method: http.MethodPut, Path: ChunkPath(index), Body: bytes.NewReader(content), Length: int64(len(content)),
		Header: map[string]string{"Content-Digest": ContentDigest(other)},
	})
	s.note("put %d with a wrong digest: %s", index, reply)
	switch {
	case reply.OK():
		c.Oracle.Violate(s, "chunk %d was taken although its digest is wrong", index)
	case reply.Code == chunkapi.CodeDigestMismatch && reply.Problem().Result == nil:
	default:
		c.judge(ctx, s, reply, fmt.Sprintf("put %d with a wrong digest", index))
	}
}

// putOther sends other bytes for a chunk that is held.
func (c *caller) putOther(ctx context.Context, s *Session, index int) {
	if s.Held(index) {
		c.SendOther(ctx, s, index)
	}
}

// putPart sends a part of a chunk and goes.
func (c *caller) putPart(ctx context.Context, s *Session, index int) {
	content := s.Content(index, 0)
	part := content[:c.random.IntN(len(content))]
	reply := c.Dataplane.Do(ctx, s, Request{
		Method: http.MethodPut, Path: ChunkPath(index), Length: int64(len(content)),
		Body: io.MultiReader(bytes.NewReader(part), brokenReader{}),
	})
	s.note("put %d of %d bytes of chunk %d: %s", len(part), len(content), index, reply)
	if reply.OK() {
		c.Oracle.Violate(s, "chunk %d was taken of which not all was sent", index)
	}
}

// errGone is why a part of a chunk is all there is.
var errGone = errors.New("the client is gone")

// brokenReader is the rest of a body whose client is gone.
type brokenReader struct{}

// Read fails.
func (brokenReader) Read([]byte) (int, error) { return 0, errGone }

// status asks how far it is.
func (c *caller) status(ctx context.Context, s *Session) {
	promises := s.Promises()
	st, reply := c.Dataplane.Status(ctx, s)
	if reply.Err == nil {
		s.CheckStatus(promises, st, ByStatus)
		return
	}
	c.judge(ctx, s, reply, "status")
}

// complete asks for completion, now and then with a digest, right or wrong.
func (c *caller) complete(ctx context.Context, s *Session) {
	if s.Abandoned {
		return
	}
	var digest []byte
	wrong := false
	if !s.Contested {
		switch c.random.IntN(4) {
		case 0:
			sum := sha256.Sum256(s.Object())
			digest = sum[:]
		case 1:
			digest, wrong = make([]byte, sha256.Size), true
		}
	}
	c.Complete(ctx, s, digest, wrong)
}
