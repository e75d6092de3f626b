package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// PutChunk takes a chunk of an upload; see session.Service.PutChunk, but in.Follow is set here.
// On nil the chunk is durable, and it reports whether it is new. It waits until the digest of the
// whole does not lag too far behind, for as long as ctx lasts, so that little is left to do for
// completion. Once the upload is published its chunks are compared with its object, and the same
// bytes are held still. Besides that method's errors: ErrComparing, what Directory.Lookup returns, and ErrReplaced
// or ErrKeptApart where there is nothing to compare with.
//
// An upload of no bytes has no chunk, and takes an empty one at 0 all the same, which is always
// held: whoever sends objects in one request each need not tell which of them are empty.
func (s *Service) PutChunk(ctx context.Context, name Name, in session.Incoming) (bool, error) {
	id, err := s.resolve(ctx, name)
	if err != nil {
		return false, err
	}
	if err := s.comparing(id); err != nil {
		return false, err
	}
	if in.Index == 0 && in.Length == 0 {
		st, err := s.statusByID(id)
		if err != nil {
			return false, err
		}
		if st.Grant.Size == 0 {
			return false, s.takeEmpty(ctx, st, in)
		}
	}
	f, added, err := s.put(ctx, id, in)
	if ended, ok := errors.AsType[*session.EndedError](err); ok && ended.Meta.State == session.Finished {
		return false, s.compareWithObject(ctx, id, in, err)
	}
	if err != nil || !added {
		return added, err
	}
	if f != nil {
		f.follow(s.ctx, &s.running, s.hashing)
		defer f.keepUp(ctx, s.ctx) // once completion, which needs the digest too, is under way
	}
	s.changed(name)
	s.completeIfDue(id)
	return true, nil
}

// put takes a chunk and adds it to the digest of the whole while it arrives,
// where that is possible. The frontier is nil where there is none to go on.
func (s *Service) put(ctx context.Context, id session.ID, in session.Incoming) (f *frontier, added bool, err error) {
	var along strand
	in.Follow = func() func([]byte) {
		// While a chunk is written its session is not settled, so that what is made here is dropped then.
		// Where it can't be made completion says why.
		if f, _ = s.frontier(id); f == nil {
			return nil
		}
		if along = f.begin(in.Index); along == nil {
			return nil
		}
		return func(block []byte) { _, _ = along.Write(block) } // a strand never fails
	}
	defer func() { // also where the body panics
		if along != nil {
			f.end(in.Index, along, added)
		}
	}()
	added, err = s.core.PutChunk(ctx, id, in)
	return f, added, err
}

// takeEmpty takes the one chunk of an upload of no bytes.
func (s *Service) takeEmpty(ctx context.Context, st Status, in session.Incoming) error {
	switch {
	case st.Meta.State.Ended() && st.Meta.State != session.Finished:
		return &session.EndedError{Meta: st.Meta}
	case st.Meta.Paused && !st.Meta.State.Ended():
		return session.ErrPaused
	}
	return s.core.Compare(ctx, in, strings.NewReader(""))
}

// compareWithObject compares a chunk of an upload with the object that it published; ended is the
// error where it published none.
func (s *Service) compareWithObject(ctx context.Context, id session.ID, in session.Incoming, ended error) error {
	st, err := s.statusByID(id)
	if err != nil {
		return err
	}
	if st.Result == nil || !st.Result.HasObject() {
		return ended
	}
	offset, _, err := st.Meta.Spec.Extent(in.Index) // the length was checked
	if err != nil {
		return err
	}
	object, err := s.openPublished(ctx, st)
	if err != nil {
		return err
	}
	defer func() { _ = object.Close() }() // it is only read
	if _, err := object.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	return s.core.Compare(ctx, in, object)
}

// Status returns what is known of an upload now, without waiting for a writer.
// An end that is not durable yet is not told: the upload is Sealed until it is.
// Errors are those of Directory.Lookup.
func (s *Service) Status(ctx context.Context, name Name) (Status, error) {
	id, err := s.resolve(ctx, name)
	if err != nil {
		return Status{}, err
	}
	st, err := s.statusByID(id)
	return st.durable(), err
}

// durable is the status without an end that is not durable yet: until it is, the upload is Sealed.
func (st Status) durable() Status {
	if st.Result != nil && !st.Meta.Recorded {
		st.Meta.State, st.Meta.Ended, st.Meta.Outcome, st.Result = session.Sealed, time.Time{}, nil, nil
	}
	return st
}

// Known returns the status of an upload that is known here by its ID, and
// asks nobody. session.ErrNotFound.
func (s *Service) Known(id session.ID) (Status, error) { return s.statusByID(id) }

// Find returns the status of the upload that has the name here, and asks
// nobody. session.ErrNotFound.
func (s *Service) Find(name Name) (Status, error) {
	s.mu.Lock()
	id, ok := s.names[name]
	s.mu.Unlock()
	if !ok {
		return Status{}, fmt.Errorf("%w: upload %s", session.ErrNotFound, name)
	}
	return s.statusByID(id)
}

// All returns the IDs of all uploads that are known here, ended ones too.
func (s *Service) All() []session.ID {
	var ids []session.ID
	for m := range s.core.All(session.Everyone) {
		ids = append(ids, m.ID)
	}
	return ids
}

// Missing is Status of an upload that is known here by its ID, with the first ranges of chunks that are to be sent
// as the status has it, at most limit of them: none where it has ended, or is about to. session.ErrNotFound.
func (s *Service) Missing(id session.ID, limit int) (Status, []session.Range, error) {
	m, ranges, err := s.core.Missing(id, limit)
	if err != nil {
		return Status{}, nil, err
	}
	st, err := s.statusOf(m)
	return st.durable(), ranges, err
}

// Abort ends an upload at a client's wish; aborting what was aborted, by
// whomever and for whatever reason, is no error. session.ErrEnded where it was
// published, failed or expired.
func (s *Service) Abort(ctx context.Context, name Name) error {
	id, err := s.resolve(ctx, name)
	if ended, ok := errors.AsType[*session.EndedError](err); ok && ended.Meta.State == session.Aborted {
		return nil // before it was ever held here
	}
	if err != nil {
		return err
	}
	st, err := s.Cancel(ctx, id, ClientAborted, "a client aborted the upload")
	if err != nil {
		return err
	}
	if st.Meta.State != session.Aborted {
		return &session.EndedError{Meta: st.Meta}
	}
	return nil
}

// Open opens the object that an upload published; the caller closes it.
// ErrNotPublished where it published none, ErrReplaced where something else
// is under the key by now, ErrKeptApart.
func (s *Service) Open(ctx context.Context, name Name) (session.Object, Status, error) {
	id, err := s.resolve(ctx, name)
	if err != nil {
		return nil, Status{}, err
	}
	st, err := s.statusByID(id)
	if err != nil {
		return nil, Status{}, err
	}
	if st.Result == nil || !st.Result.HasObject() {
		return nil, st, ErrNotPublished
	}
	object, err := s.openPublished(ctx, st)
	return object, st, err
}
