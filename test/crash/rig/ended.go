package rig

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"slices"

	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// checkEnd checks a session that its resource says has ended: everything that
// can be seen of it must agree, and no staged byte stays.
func (l *Load) checkEnd(ctx context.Context, s *Session, status v1alpha1.UploadSessionStatus) {
	result := status.Result
	s.Ended(upload.Reason(result.Reason), result.Digest, ByResource)
	promises := s.Promises()
	st, reply := l.Dataplane.Status(ctx, s)
	if reply.Err != nil {
		if l.Tolerates == nil || !l.Tolerates(reply) {
			l.Oracle.Violate(s, "no status after its end: %s %v", reply, reply.Err)
		}
		return
	}
	s.CheckStatus(promises, st, ByStatus)
	if published := result.Reason == v1alpha1.ReasonPublished; published != (result.Outcome == v1alpha1.UploadOutcomePublished) {
		l.Oracle.Violate(s, "the resource says outcome %s and reason %s", result.Outcome, result.Reason)
	} else if published {
		l.checkPublished(ctx, s, status)
	}
	l.checkFreed(ctx, s)
}

// checkFreed waits until the volume holds no more of a session than what is kept. After a loss
// of power its bytes may be back, until they are freed again.
func (l *Load) checkFreed(ctx context.Context, s *Session) {
	var left []string
	err := l.await(ctx, "the bytes to be freed", func() (bool, error) {
		left = l.staged(s)
		return len(left) == 0, nil
	})
	if err != nil {
		l.Oracle.Violate(s, "it has ended, and the volume still holds %v: %v", left, err)
	}
}

func (l *Load) checkPublished(ctx context.Context, s *Session, status v1alpha1.UploadSessionStatus) {
	result, progress := status.Result, status.Progress
	if result.Key != s.Key || ptr.Deref(result.SizeBytes, -1) != s.Size ||
		ptr.Deref(progress.ReceivedBytes, -1) != s.Size || int(ptr.Deref(progress.ReceivedChunks, -1)) != s.Chunks() {
		l.Oracle.Violate(s, "the resource shows result %+v and progress %+v", result, progress)
	}
	if !s.Contested && result.Digest != digestOf(s.Object()) {
		l.Oracle.Violate(s, "the resource shows digest %s, the object's is %s", result.Digest, digestOf(s.Object()))
	}
	replaced := l.mayBeReplaced(s)
	reply := l.Dataplane.Do(ctx, s, Request{Method: http.MethodGet, Path: "/content"})
	switch {
	case reply.Status == http.StatusOK && reply.Err == nil:
		if err := s.CheckObject(reply.Body); err != nil {
			l.Oracle.Violate(s, "the content is %v", err)
		}
	case reply.Code == chunkapi.CodeObjectReplaced && replaced:
	default:
		l.judge(ctx, s, reply, "content")
	}
	b, err := s.ReadKey(l.Dataplane.Files)
	if err == nil && replaced {
		err = checkWhole(s.Key, b, l.Oracle.sessionsOf(s.Key))
	} else if err == nil {
		err = s.CheckObject(b)
	}
	if err != nil {
		l.Oracle.Violate(s, "what is under the key of a published session: %v", err)
	}
}

// mayBeReplaced reports whether another session may have replaced the object.
func (l *Load) mayBeReplaced(s *Session) bool {
	return slices.ContainsFunc(l.Oracle.sessionsOf(s.Key), func(other *Session) bool { return other != s && other.Replace })
}

// kept is what an ended session keeps: its record, and a ledger that takes no room.
var kept = []string{"ledger", "record"}

// staged is what the volume holds of a session besides what is kept after its end.
func (l *Load) staged(s *Session) []string {
	entries, err := fs.ReadDir(l.Dataplane.Files, path.Join(staging, s.UID))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []string{err.Error()}
	}
	var left []string
	for _, e := range entries {
		if !slices.Contains(kept, e.Name()) {
			left = append(left, e.Name())
		}
	}
	return left
}
