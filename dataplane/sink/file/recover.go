package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Recover yields the sessions in the order of their IDs. It first writes again what can be read of their
// ledgers and records, and syncs it, so that nothing is reported as held or ended that a loss of power could
// still take: a process that is killed between a write and its sync leaves such bytes behind, which the
// kernel may have failed to write since. An error without an ID concerns the volume, and so does every one
// of that sync. Of a session whose bytes are not written again for want of room nothing is reported.
//
// A session whose record, ledger or data can't be read or has the wrong size is
// yielded as an error and stays as it is; so does one whose record is of a
// newer format. LastCommit is when the ledger was last written.
func (s *Sink) Recover(ctx context.Context) iter.Seq2[session.Recovered, error] {
	return func(yield func(session.Recovered, error) bool) {
		names, err := namesIn(s.staging)
		var doubtful map[session.ID]error
		if err == nil {
			doubtful, err = s.renew(ctx, names)
		}
		if err != nil {
			yield(session.Recovered{}, failure("recover the volume", err))
			return
		}
		if !s.tellTwice(yield) {
			return
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				yield(session.Recovered{}, failure("recover the volume", err))
				return
			}
			id, err := session.ParseID(name)
			switch {
			case err == nil:
				r, err := session.Recovered{Record: session.Record{ID: id}}, doubtful[id]
				if err == nil {
					r, err = s.recoverSession(id)
				}
				if !yield(r, failure("recover session "+name, err)) {
					return
				}
			case isLeftover(name):
				err := s.staging.RemoveAll(name)
				leftover := session.Recovered{Record: session.Record{ID: session.ID(name)}} // it concerns nothing else
				if err != nil && !yield(leftover, failure("clear "+name+" away", err)) {
					return
				}
			}
		}
	}
}

// tellTwice yields an error for each session that two layouts have. It is not
// about the session that this one has, which is recovered like any other.
func (s *Sink) tellTwice(yield func(session.Recovered, error) bool) bool {
	names, err := s.twice()
	if err != nil {
		return yield(session.Recovered{}, failure("look for sessions of an earlier version", err))
	}
	for _, name := range names {
		other := session.Recovered{Record: session.Record{ID: session.ID(stagingName + "/" + name)}}
		if !yield(other, fmt.Errorf("session %s: an earlier version, started after a later one, has it too; what that one took is left in %s", name, other.ID)) {
			return false
		}
	}
	return true
}

// isLeftover reports whether a name is that of a session which was being made or removed.
func isLeftover(name string) bool {
	for _, suffix := range []string{newSuffix, goneSuffix} {
		id, cut := strings.CutSuffix(name, suffix)
		if _, err := session.ParseID(id); cut && err == nil {
			return true
		}
	}
	return false
}

// recoverSession reads one session. What it returns has the ID, also with an error.
func (s *Sink) recoverSession(id session.ID) (session.Recovered, error) {
	unknown := session.Recovered{Record: session.Record{ID: id}}
	dir, err := s.session(id)
	if err != nil {
		return unknown, err
	}
	defer release(dir)

	r := session.Recovered{}
	if r.Record, err = readRecord(dir, id); err != nil {
		return unknown, err
	}
	if r.HasBytes, err = hasData(dir, r.Spec.Size); err != nil {
		return unknown, err
	}
	l, err := openLedger(dir, id, os.O_RDWR)
	if err != nil {
		return unknown, err
	}
	defer release(l.file)
	if r.State.Ended() && l.slots == 0 {
		l.slots = r.Spec.Chunks() // cut short while it was freed
	}
	if l.slots != r.Spec.Chunks() {
		return unknown, fmt.Errorf("the ledger has %d slots and the session %d chunks", l.slots, r.Spec.Chunks())
	}
	held, some, err := l.held()
	if err != nil {
		return unknown, err
	}
	r.Held = held
	switch freed := r.State.Ended() && !r.HasBytes; {
	case freed && some:
		r.HasBytes = true // the version before kept the ledger, or the loss of power brought it back
	case freed && l.room:
		if err := l.free(); err != nil { // nobody misses what it says
			return unknown, err
		}
	}
	if some {
		r.LastCommit = l.modified
	}
	// A publication that was cut short, which would keep the bytes when they are freed, and a save.
	if err := errors.Join(removeFile(dir, objectName), removeFile(dir, spareName), removeFile(dir, tickName)); err != nil {
		return unknown, err
	}
	return r, nil
}

// hasData reports whether the data of a session is there; an error where it is not as it must be.
func hasData(dir *os.Root, size int64) (bool, error) {
	info, err := dir.Lstat(dataName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("the data is %w", errNotRegular)
	case info.Size() != size:
		return false, fmt.Errorf("the data is %d bytes long, not %d", info.Size(), size)
	}
	return true, nil
}
