package rig

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Retire checks to the end what has ended and is reported, deletes it, and waits until the
// dataplane has heard of it: of what is deleted while it is away it knows minutes later. An
// abandoned session is deleted at times as it is.
func (l *Load) Retire(ctx context.Context) error {
	statuses, err := l.World.Statuses(ctx)
	if err != nil {
		return err
	}
	var retired []*Session
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
		retired = append(retired, s)
	}
	if err := l.awaitGone(ctx, slices.Clone(retired)); err != nil {
		return errors.Join(err, l.Oracle.Err())
	}
	l.Oracle.reclaimed(retired)
	l.checkReclaimed()
	return l.Oracle.Err()
}

// checkReclaimed checks that no object is there that went with its session.
func (l *Load) checkReclaimed() {
	for _, key := range l.Oracle.gone() {
		if _, err := fs.Stat(l.Dataplane.Files, key); !errors.Is(err, fs.ErrNotExist) {
			l.Oracle.Violate(nil, "the object under %s went with its session, and may be there again: %v", key, err)
		}
	}
}

// awaitGone waits until nothing is staged of sessions whose resources are deleted.
func (l *Load) awaitGone(ctx context.Context, sessions []*Session) error {
	return l.await(ctx, "what is staged of deleted sessions to be gone", func() (bool, error) {
		sessions = slices.DeleteFunc(sessions, func(s *Session) bool {
			_, err := fs.Stat(l.Dataplane.Files, path.Join(staging, s.UID))
			return errors.Is(err, fs.ErrNotExist)
		})
		return len(sessions) == 0, nil
	})
}

// Delete deletes a session's resource, whatever it is about, and forgets the session.
func (l *Load) Delete(ctx context.Context, s *Session) error {
	if s.Reclaim { // its object may go from now on
		l.Oracle.retire(s)
		return l.World.Delete(ctx, s)
	}
	if err := l.World.Delete(ctx, s); err != nil {
		return err
	}
	if !l.Oracle.retire(s) {
		return nil
	}
	// Nobody wants the key any more: its user removes what is there.
	err := l.Dataplane.remove(s.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
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
// the object of one that was published, and nothing where none was. A session that
// was deleted before anybody was told of its end may have been published too.
func (l *Load) checkKeys() {
	for key, sessions := range l.Oracle.keys() {
		var published, perhaps []*Session
		for _, s := range sessions {
			if s.End() == upload.Published {
				published = append(published, s)
			} else if s.deletedUntold() {
				perhaps = append(perhaps, s)
			}
		}
		b, err := sessions[0].ReadKey(l.Dataplane.Files)
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(published) == 0:
			if i := slices.IndexFunc(sessions, func(s *Session) bool { return s.End() == upload.KeyExists }); i >= 0 {
				l.Oracle.Violate(sessions[i], "it ended as %s, and nothing is or was under its key", upload.KeyExists)
			}
		case err != nil:
			l.Oracle.Violate(sessions[0], "what is under the key: %v", err)
		default:
			if err := checkWhole(key, b, append(perhaps, published...)); err != nil {
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
	sessions := l.Oracle.Sessions()
	l.forEach(sessions, func(s *Session) {
		if err := l.Delete(ctx, s); err != nil {
			l.Oracle.Violate(s, "it can't be deleted: %v", err)
		}
	})
	var left []string
	err := l.await(ctx, "the staging to be empty", func() (bool, error) {
		entries, err := fs.ReadDir(l.Dataplane.Files, staging)
		if err != nil {
			return false, err
		}
		left = nil
		for _, e := range entries {
			if e.Name() != ".lock" && e.Name() != ".sweep" {
				left = append(left, e.Name())
			}
		}
		return len(left) == 0, nil
	})
	if err != nil {
		l.Oracle.Violate(nil, "all sessions are deleted, and the staging holds %v: %v", left, err)
	}
	l.Oracle.reclaimed(sessions)
	l.checkReclaimed()
	l.checkStrays()
	return errors.Join(l.Oracle.Err(), ctx.Err())
}

// checkStrays checks that there is no file on the volume that no session wanted.
func (l *Load) checkStrays() {
	err := fs.WalkDir(l.Dataplane.Files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".slipway", name == "lost+found":
			return fs.SkipDir
		case !entry.IsDir() && !l.Oracle.wasKey(name):
			l.Oracle.Violate(nil, "%s is on the volume, which is no session's key", name)
		}
		return nil
	})
	if err != nil {
		l.Oracle.Violate(nil, "the volume can't be looked at: %v", err)
	}
}
