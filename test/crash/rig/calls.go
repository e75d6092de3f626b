package rig

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

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
		if result := reply.Stored().Result; result != nil {
			s.Ended(result.Reason, string(result.Digest), ByChunk)
		}
	case reply.Code == chunkapi.CodeChunkConflict && s.Contested && (!held || before != variant):
	default:
		l.judge(ctx, s, reply, fmt.Sprintf("put %d", index))
	}
	return reply
}

// neverHeld is a variant that nothing but a broken promise makes held.
const neverHeld = variants

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
	case reply.Code == chunkapi.CodeObjectReplaced && l.mayBeReplaced(s): // a chunk is compared with the object
	case reply.Code == chunkapi.CodeUnavailable:
		time.Sleep(time.Millisecond)
	default:
		l.Oracle.Violate(s, "%s: unexpected reply %s: %s", what, reply, problem.Detail)
	}
}
