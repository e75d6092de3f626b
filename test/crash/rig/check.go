package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const (
	// patience is how long something may take that happens by itself. It is more than the
	// longest pause between two attempts of the dataplane's, and the machine's cores are shared.
	patience = time.Minute
	// pollInterval is how often it is looked for.
	pollInterval = 20 * time.Millisecond
	// checkers is how many sessions are checked at once.
	checkers = 4
)

// Check checks every promise against a dataplane that has just been started:
// what was acknowledged is held with its bytes, and what is held was sent. An
// error is the first violation.
func (l *Load) Check(ctx context.Context) error {
	l.forEach(l.Oracle.Sessions(), func(s *Session) { l.checkSession(ctx, s) })
	return errors.Join(l.Oracle.Err(), ctx.Err())
}

func (l *Load) forEach(sessions []*Session, do func(*Session)) {
	queue := make(chan *Session, len(sessions))
	for _, s := range sessions {
		queue <- s
	}
	close(queue)
	var running sync.WaitGroup
	defer running.Wait()
	for range checkers {
		running.Go(func() {
			for s := range queue {
				do(s)
			}
		})
	}
}

// recheck is how rarely a chunk is sent again that was found held after an
// earlier restart.
const recheck = 6

func (l *Load) checkSession(ctx context.Context, s *Session) {
	s.restarted()
	promises := s.Promises()
	st, reply := l.Dataplane.Status(ctx, s)
	if reply.Err != nil {
		if l.Tolerates == nil || !l.Tolerates(reply) {
			l.Oracle.Violate(s, "no status after a restart: %s %v", reply, reply.Err)
		}
		return
	}
	s.CheckStatus(promises, st, ByStatus)
	s.note("after a restart: %s, %d of %d chunks", st.State, st.ReceivedChunks, st.TotalChunks)
	if st.Result != nil && st.Result.Reason != upload.Published {
		return
	}
	missing := s.missing(st)
	for index := range missing {
		if missing[index] || !s.due(index) {
			continue
		}
		variant, acked := s.AckedVariant(index)
		l.Send(ctx, s, index, variant, false)
		if acked && s.Held(index) {
			l.SendOther(ctx, s, index)
		}
	}
}

// due reports whether a chunk that is held is to be sent again now.
func (s *Session) due(index int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.chunks[index]
	if !c.hasAcked {
		return true
	}
	first := !c.checked
	c.checked = true
	return first || time.Now().UnixNano()/1000%recheck == 0
}

// Retire checks to the end what has ended and is reported, and deletes it. An
// abandoned session is deleted at times as it is.
func (l *Load) Retire(ctx context.Context) error {
	statuses, err := l.World.Statuses(ctx)
	if err != nil {
		return err
	}
	for _, s := range l.Oracle.Sessions() {
		status := statuses[s.Name]
		switch {
		case status.Result.Outcome != "":
			l.checkEnd(ctx, s, status)
		case s.Abandoned && l.random.IntN(20) == 0:
			s.note("deleted while it is active")
		default:
			continue
		}
		if err := l.Delete(ctx, s); err != nil {
			return err
		}
	}
	return l.Oracle.Err()
}

// Delete deletes a session's resource, whatever it is about, and forgets the session.
func (l *Load) Delete(ctx context.Context, s *Session) error {
	if err := l.World.Delete(ctx, s); err != nil {
		return err
	}
	if !l.Oracle.retire(s) {
		return nil
	}
	// Nobody wants the key any more: its user removes what is there.
	err := os.Remove(filepath.Join(l.Dataplane.Volume, filepath.FromSlash(s.Key)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// checkEnd checks a session that its resource says has ended: everything that
// can be seen of it must agree, and no staged byte is left.
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
	if left := l.staged(s); len(left) > 0 {
		l.Oracle.Violate(s, "it has ended, and the volume still holds %v", left)
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
	b, err := s.ReadKey(l.Dataplane.Volume)
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

// kept is what an ended session keeps: its record and its ledger.
var kept = []string{"ledger", "record"}

// staged is what the volume holds of a session besides what is kept after its end.
func (l *Load) staged(s *Session) []string {
	entries, err := os.ReadDir(filepath.Join(l.Dataplane.Volume, ".slipway", s.UID))
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

// End sends what is missing of every session that is not abandoned, and waits
// until all have ended, as far as the dataplane says.
func (l *Load) End(ctx context.Context) error {
	l.forEach(l.toEnd(), func(s *Session) { l.finish(ctx, s) })
	return errors.Join(l.Oracle.Err(), ctx.Err())
}

// toEnd are the sessions that are to end.
func (l *Load) toEnd() []*Session {
	return slices.DeleteFunc(l.Oracle.Sessions(), func(s *Session) bool { return s.Abandoned && s.End() == "" })
}

// Finish ends every session that is not abandoned, waits until all their
// resources say so, and checks them to the end.
func (l *Load) Finish(ctx context.Context) error {
	if err := l.End(ctx); err != nil {
		return err
	}
	sessions := l.toEnd()
	reported := map[*Session]bool{}
	err := l.await(ctx, "every result to be in its resource", func() (bool, error) {
		statuses, err := l.World.Statuses(ctx)
		if err != nil {
			return false, err
		}
		var fresh []*Session
		for _, s := range sessions {
			if statuses[s.Name].Result.Outcome != "" && !reported[s] {
				reported[s] = true
				fresh = append(fresh, s)
			}
		}
		l.forEach(fresh, func(s *Session) { l.checkEnd(ctx, s, statuses[s.Name]) })
		return len(reported) == len(sessions), nil
	})
	for _, s := range sessions {
		if err != nil && !reported[s] {
			l.Oracle.Violate(s, "its resource has no result: %v", err)
		}
	}
	l.checkKeys()
	return errors.Join(l.Oracle.Err(), ctx.Err())
}

// finish brings a session to its end.
func (l *Load) finish(ctx context.Context, s *Session) {
	err := l.await(ctx, "the end of session "+s.Name, func() (bool, error) {
		promises := s.Promises()
		st, reply := l.Dataplane.Status(ctx, s)
		if reply.Err != nil {
			l.judge(ctx, s, reply, "status")
			return false, l.Oracle.Err()
		}
		s.CheckStatus(promises, st, ByStatus)
		if st.Result != nil {
			return true, nil
		}
		for index, missing := range s.missing(st) {
			if missing {
				l.Send(ctx, s, index, 0, true)
			}
		}
		if s.Explicit {
			l.Complete(ctx, s, nil, false)
		}
		return false, l.Oracle.Err()
	})
	if err != nil {
		l.Oracle.Violate(s, "it does not end: %v", err)
	}
}

// checkKeys checks what is under each key when all that want it have ended:
// the object of one that was published, and nothing where none was.
func (l *Load) checkKeys() {
	for key, sessions := range l.Oracle.keys() {
		var published []*Session
		for _, s := range sessions {
			if s.End() == upload.Published {
				published = append(published, s)
			}
		}
		b, err := sessions[0].ReadKey(l.Dataplane.Volume)
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(published) == 0:
			if i := slices.IndexFunc(sessions, func(s *Session) bool { return s.End() == upload.KeyExists }); i >= 0 {
				l.Oracle.Violate(sessions[i], "it ended as %s, and nothing is or was under its key", upload.KeyExists)
			}
		case err != nil:
			l.Oracle.Violate(sessions[0], "what is under the key: %v", err)
		default:
			if err := checkWhole(key, b, published); err != nil {
				l.Oracle.Violate(sessions[0], "%v", err)
			}
		}
		if n := slices.IndexFunc(published, func(s *Session) bool { return s.Replace }); n < 0 && len(published) > 1 {
			l.Oracle.Violate(published[1], "two sessions were published under one key, and neither replaces")
		}
	}
}

// Clear deletes every session and waits until nothing of any is staged.
func (l *Load) Clear(ctx context.Context) error {
	l.forEach(l.Oracle.Sessions(), func(s *Session) {
		if err := l.Delete(ctx, s); err != nil {
			l.Oracle.Violate(s, "it can't be deleted: %v", err)
		}
	})
	var left []string
	err := l.await(ctx, "the staging to be empty", func() (bool, error) {
		entries, err := os.ReadDir(filepath.Join(l.Dataplane.Volume, ".slipway"))
		if err != nil {
			return false, err
		}
		left = nil
		for _, e := range entries {
			if e.Name() != ".lock" {
				left = append(left, e.Name())
			}
		}
		return len(left) == 0, nil
	})
	if err != nil {
		l.Oracle.Violate(nil, "all sessions are deleted, and the staging holds %v: %v", left, err)
	}
	return errors.Join(l.Oracle.Err(), ctx.Err())
}

// await asks again and again until it is so, there is an error, or it has
// taken too long.
func (l *Load) await(ctx context.Context, what string, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ok, err := is(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, ctx.Err())
		}
	}
}
