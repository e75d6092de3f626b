package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Create reserves the bytes of the session with fallocate, so that no write to
// them meets a full volume, writes its ledger of absent slots and its record,
// and gives the whole its name in one step. Where the filesystem has no
// fallocate the bytes are only promised: Create checks that the room is there,
// and it may be gone when they are written.
//
// Besides what session.ByteSink says, ErrInvalid where the record breaks a bound.
func (s *Sink) Create(ctx context.Context, r session.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	record, err := encodeRecord(r)
	if err != nil {
		return err
	}
	defer s.guards.lock(r.ID)()

	return failure("create session "+string(r.ID), s.create(r, record))
}

func (s *Sink) create(r session.Record, record []byte) error {
	id := string(r.ID)
	switch _, err := s.staging.Lstat(id); {
	case err == nil:
		return session.ErrExists
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	building := id + newSuffix
	if err := s.staging.RemoveAll(building); err != nil {
		return err
	}
	if err := s.build(building, r, record); err != nil {
		return errors.Join(err, s.staging.RemoveAll(building))
	}
	err := rename(s.staging, building, id)
	if err == nil {
		err = s.syncStaging()
	}
	if err != nil {
		return errors.Join(err, s.staging.RemoveAll(building), s.remove(r.ID))
	}
	return nil
}

// build makes the directory of a session, whole and durable, but under a name of no session.
func (s *Sink) build(name string, r session.Record, record []byte) error {
	spec := r.Spec
	ledger := int64(spec.Chunks()) * session.SlotSize
	// A fallocate that fails takes the rest of the volume before it does, and others would feel it.
	if err := s.hasRoom(spec.Size + ledger + 2*recordHalf(record)); err != nil {
		return err
	}
	if err := makeNew(s.staging, name, stagingMode); err != nil {
		return err
	}
	dir, err := enter(s.staging, name)
	if err != nil {
		return err
	}
	defer release(dir)
	var files []*os.File
	defer func() {
		for _, f := range files {
			release(f)
		}
	}()
	for _, one := range []struct {
		name string
		fill func(f *os.File) error
	}{
		// Nobody gets to it before it is published, so that it can have the mode of an object now.
		{dataName, func(f *os.File) error {
			_, err := s.mark(f, r.ID) // without a mark it is published later, see tellApart
			return errors.Join(err, reserve(f, spec.Size), f.Chmod(objectMode))
		}},
		// Zeros are written, not only reserved: a commit then changes nothing but its slot.
		{ledgerName, func(f *os.File) error { return write(f, make([]byte, ledger)) }},
		{recordName, func(f *os.File) error { return writeFirstRecord(f, record) }},
	} {
		f, err := openOrCreate(dir, one.name)
		if err != nil {
			return err
		}
		files = append(files, f)
		if err := one.fill(f); err != nil {
			return err
		}
	}
	return s.durable.do(func() error {
		for _, f := range files {
			if err := syncFile(f); err != nil {
				return err
			}
		}
		return syncDirectory(dir)
	})
}

func write(f *os.File, b []byte) error {
	_, err := f.WriteAt(b, 0)
	return err
}

// hasRoom returns ErrNoSpace where the volume can't take so many bytes more.
func (s *Sink) hasRoom(need int64) error {
	space, err := space(s.root)
	if err != nil {
		return err
	}
	if space.Free < need {
		return fmt.Errorf("%w: %d bytes are needed and %d are free", session.ErrNoSpace, need, space.Free)
	}
	return nil
}

// reserve makes a new file size bytes long, all of them zero and their room its own.
func reserve(f *os.File, size int64) error {
	if size == 0 {
		return nil // fallocate refuses nothing
	}
	err := onDescriptor(f, func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	if err != nil {
		return &fs.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil
}
