package rig

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Load sends requests of all kinds to one dataplane, and checks what was
// promised. TopUp, Run, Check, Retire, Finish and Clear are called one after
// the other.
type Load struct {
	World     *World
	Oracle    *Oracle
	Dataplane *Dataplane

	// Active is how many sessions that have not ended TopUp sees to.
	Active int
	// Workers is how many requests Run has under way at once.
	Workers int
	// MaxBytes bounds the size of an object.
	MaxBytes int64
	// Tolerates says of a refusal that would be a violation whether it is none, because of what
	// the program breaks; nil where none is tolerated.
	Tolerates func(Reply) bool

	random  *rand.Rand // of TopUp, Check and Retire
	created int
	runs    atomic.Uint64
}

// NewLoad is a load with the usual figures.
func NewLoad(w *World, o *Oracle, d *Dataplane) *Load {
	return &Load{
		World: w, Oracle: o, Dataplane: d, Active: 20, Workers: 12, MaxBytes: 1 << 20,
		random: rand.New(rand.NewPCG(o.Seed, 0)),
	}
}

// TopUp creates and admits sessions of all kinds until enough are active.
func (l *Load) TopUp(ctx context.Context) error {
	active := 0
	for _, s := range l.Oracle.Sessions() {
		if s.End() == "" {
			active++
		}
	}
	for ; active < l.Active; active++ {
		s := l.invent()
		l.Oracle.Add(s)
		if !s.Contested {
			switch l.random.IntN(4) {
			case 0:
			case 1:
				// Nothing appears of an object that is not what it should be.
				s.Doomed = s.Size > 0
				s.Digest = digestOf([]byte("another object"))
				if !s.Doomed {
					s.Digest = digestOf(nil)
				}
			default:
				s.Digest = digestOf(s.Object())
			}
		}
		if err := l.Admit(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Admit creates and admits a session that the oracle knows.
func (l *Load) Admit(ctx context.Context, s *Session) error {
	if err := l.World.Create(ctx, s); err != nil {
		return err
	}
	return l.World.Admit(ctx, s)
}

// invent makes up a session.
func (l *Load) invent() *Session {
	r := l.random
	l.created++
	s := &Session{
		Name: fmt.Sprintf("s%d", l.created), Key: fmt.Sprintf("objects/%d/o%d", l.created%7, l.created),
		Explicit: r.IntN(3) == 0, Replace: r.IntN(3) == 0,
		Contested: r.IntN(8) == 0, Abandoned: r.IntN(10) == 0, Abortable: r.IntN(10) == 0,
	}
	sizes := []int64{1, 512, 4 << 10, 16 << 10, 64 << 10, 300 << 10}
	s.ChunkSize = sizes[r.IntN(len(sizes))]
	most := min(40, max(1, l.MaxBytes/s.ChunkSize))
	switch r.IntN(8) {
	case 0:
		s.Size = 0
	case 1:
		s.Size = 1
	case 2:
		s.Size = s.ChunkSize
	case 3: // a short last chunk
		s.Size = s.ChunkSize*r.Int64N(most) + 1 + r.Int64N(s.ChunkSize)
	default:
		s.Size = s.ChunkSize * (1 + r.Int64N(most))
	}
	if known := l.Oracle.Sessions(); len(known) > 0 && r.IntN(4) == 0 {
		other := known[r.IntN(len(known))]
		s.Key = other.Key
		if r.IntN(4) > 0 {
			s.Replace = other.Replace
		}
	}
	return s
}

// Run sends requests until the context is done or there is a violation.
func (l *Load) Run(ctx context.Context) {
	sessions := l.Oracle.Sessions()
	var running sync.WaitGroup
	defer running.Wait()
	for range l.Workers {
		seed := l.runs.Add(1)
		running.Go(func() {
			c := &caller{Load: l, random: rand.New(rand.NewPCG(l.Oracle.Seed, seed))}
			for ctx.Err() == nil && l.Oracle.Err() == nil {
				c.call(ctx, c.choose(sessions))
			}
		})
	}
}

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

// Send sends one variant of a chunk and checks the reply.
func (l *Load) Send(ctx context.Context, s *Session, index, variant int, digest bool) Reply {
	content := s.Content(index, variant)
	before, held := s.AckedVariant(index)
	reply := l.Dataplane.Put(ctx, s, index, content, digest)
	s.note("put %d variant %d: %s", index, variant, reply)
	switch {
	case reply.Status == http.StatusCreated && held:
		l.Oracle.Violate(s, "chunk %d was acknowledged, and is stored anew", index)
	case reply.OK():
	case reply.Code == chunkapi.CodeChunkConflict && s.Contested && (!held || before != variant):
	default:
		l.judge(ctx, s, reply, fmt.Sprintf("put %d", index))
	}
	return reply
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

// neverHeld is a variant that nothing but a broken promise makes held.
const neverHeld = variants

// putOther sends other bytes for a chunk that is held.
func (c *caller) putOther(ctx context.Context, s *Session, index int) {
	if s.Held(index) {
		c.SendOther(ctx, s, index)
	}
}

// SendOther sends other bytes for a chunk that was acknowledged, and checks
// that they are refused.
func (l *Load) SendOther(ctx context.Context, s *Session, index int) {
	content := s.Content(index, neverHeld)
	reply := l.Dataplane.Do(ctx, s, Request{
		Method: http.MethodPut, Path: ChunkPath(index), Body: bytes.NewReader(content), Length: int64(len(content)),
	})
	s.note("put %d with other bytes: %s", index, reply)
	switch {
	case reply.OK():
		l.Oracle.Violate(s, "chunk %d was acknowledged, and other bytes were taken for it", index)
	case reply.Code == chunkapi.CodeChunkConflict:
	default:
		l.judge(ctx, s, reply, fmt.Sprintf("put %d with other bytes", index))
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

// Complete asks for completion with a Repr-Digest, nil for none, and checks the reply.
func (l *Load) Complete(ctx context.Context, s *Session, digest []byte, wrong bool) Reply {
	header := map[string]string{}
	if digest != nil {
		header["Repr-Digest"] = "sha-256=:" + base64.StdEncoding.EncodeToString(digest) + ":"
	}
	promises := s.Promises()
	reply := l.Dataplane.Do(ctx, s, Request{Method: http.MethodPost, Path: "/complete", Header: header})
	s.note("complete, wrong digest %t: %s", wrong, reply)
	st, err := reply.Live()
	switch {
	case reply.Status == http.StatusOK && err == nil && wrong:
		l.Oracle.Violate(s, "it was completed with a digest that is wrong")
	case reply.Status == http.StatusOK && err == nil:
		s.CheckStatus(promises, st, ByComplete)
		if st.Result == nil || st.Result.Reason != upload.Published {
			l.Oracle.Violate(s, "complete said 200 and the status %s", st.State)
		}
	case reply.Status == http.StatusAccepted && err == nil:
		s.CheckStatus(promises, st, ByStatus)
	case reply.Code == chunkapi.CodeIncomplete && !promises.complete():
	case reply.Code == chunkapi.CodeDigestMismatch && reply.Problem().Result == nil && (wrong || s.Doomed && digest != nil):
	default:
		l.judge(ctx, s, reply, "complete")
	}
	return reply
}

// complete reports whether every chunk was acknowledged.
func (p Promises) complete() bool {
	for _, held := range p.held {
		if !held {
			return false
		}
	}
	return true
}

// Abort asks for the end and checks the reply.
func (l *Load) Abort(ctx context.Context, s *Session) Reply {
	s.Aborting()
	reply := l.Dataplane.Do(ctx, s, Request{Method: http.MethodDelete})
	s.note("abort: %s", reply)
	if reply.Status == http.StatusNoContent {
		s.Ended(upload.ClientAborted, "", ByAbort)
	} else { // it has ended in another way, perhaps
		l.judge(ctx, s, reply, "abort")
	}
	return reply
}

// judge is for a reply that is not what its request is there for.
func (l *Load) judge(ctx context.Context, s *Session, reply Reply, what string) {
	problem := reply.Problem()
	switch {
	case errors.Is(reply.Err, errHung) && ctx.Err() == nil:
		l.Oracle.Violate(s, "%s: %v", what, reply.Err)
	case reply.Err != nil:
		time.Sleep(time.Millisecond) // the dataplane is gone, or just so
	case l.Tolerates != nil && l.Tolerates(reply):
	case problem.Result != nil:
		s.Ended(problem.Result.Reason, string(problem.Result.Digest), ByRefusal)
	case reply.Code == chunkapi.CodeBusy, reply.Code == chunkapi.CodeSuperseded, reply.Code == chunkapi.CodeCompleting:
	case reply.Code == chunkapi.CodeUnavailable:
		time.Sleep(time.Millisecond)
	default:
		l.Oracle.Violate(s, "%s: unexpected reply %s: %s", what, reply, problem.Detail)
	}
}
