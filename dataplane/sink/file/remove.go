package file

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Free removes the data of a session and gives back the room of its ledger. Bytes
// that were published stay, under their public name. That they are gone is not made durable: a loss
// of power may bring them back, and then they are freed again. ErrNotFound where the session is not there.
func (s *Sink) Free(ctx context.Context, id session.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return failure("free session "+string(id), s.free(id))
}

func (s *Sink) free(id session.ID) error {
	dir, done, err := s.directory(id)
	if err != nil {
		return err
	}
	defer done()
	// The data last: a session whose data is gone looks freed, and nobody would look for the rest.
	err = errors.Join(removeFile(dir, objectName), freeLedger(dir, id), removeFile(dir, dataName))
	s.handles.drop(id)
	return err
}

// freeLedger gives back the room of a session's ledger. That there is none must not keep the data.
func freeLedger(dir *os.Root, id session.ID) error {
	l, err := openLedger(dir, id, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release(l.file)
	return l.free()
}

// Remove takes the session its name in one step, which is durable, and then
// removes what is left of it.
func (s *Sink) Remove(ctx context.Context, id session.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := session.ParseID(string(id)); err != nil {
		return err
	}
	if err := s.remove(id); err != nil {
		return failure("remove session "+string(id), err)
	}
	s.broken.Delete(id)
	s.unsure.Delete(id)
	return nil
}

func (s *Sink) remove(id session.ID) error {
	gone := string(id) + goneSuffix
	// An earlier removal that was cut short would be in the way of the rename.
	if err := s.staging.RemoveAll(gone); err != nil {
		return err
	}
	err := rename(s.staging, string(id), gone)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.handles.drop(id)
	// Also where it is not there: it may have been renamed by a call that could not sync.
	if err := s.syncStaging(); err != nil {
		return err
	}
	return s.staging.RemoveAll(gone)
}

// syncStaging makes the names of sessions durable.
func (s *Sink) syncStaging() error {
	return s.durable.names(s.staging)
}

// removeFile removes what is under an element of dir, if anything is.
func removeFile(dir *os.Root, element string) error {
	if err := dir.Remove(element); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
