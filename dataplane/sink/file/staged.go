package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Open opens the data and the ledger of a session. Both descriptors are held
// until Close of what it returns, so that their number is bounded by that of
// the operations at work.
func (s *Sink) Open(ctx context.Context, id session.ID) (session.Staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	opened, err := s.open(id)
	if err != nil {
		return nil, failure("open session "+string(id), err)
	}
	return opened, nil
}

func (s *Sink) open(id session.ID) (*staged, error) {
	dir, err := s.session(id)
	if err != nil {
		return nil, err
	}
	defer release(dir)
	data, info, err := openRegular(dir, dataName, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	l, err := openLedger(dir, id, os.O_RDWR)
	if err != nil {
		release(data)
		return nil, err
	}
	return &staged{sink: s, id: id, data: data, size: info.Size(), ledger: l}, nil
}

// staged is the open files of one session. Reads and writes go straight to the
// kernel; nothing is kept here.
type staged struct {
	sink   *Sink
	id     session.ID
	data   *os.File
	size   int64
	ledger *ledger
}

// ReadAt reads staged bytes, those that were not written as zeros.
func (f *staged) ReadAt(b []byte, offset int64) (int, error) {
	n, err := f.data.ReadAt(b, offset)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, failure("read session "+string(f.id), err)
}

// WriteAt writes staged bytes. ErrInvalid where they lie outside of the session.
func (f *staged) WriteAt(b []byte, offset int64) (int, error) {
	if err := f.within(offset, int64(len(b))); err != nil {
		return 0, err
	}
	// A slot that reached the disk although its sync failed must not vouch for other bytes.
	if err := f.sink.failed(f.id); err != nil {
		return 0, failure("write session "+string(f.id), err)
	}
	n, err := f.data.WriteAt(b, offset)
	return n, failure("write session "+string(f.id), err)
}

// Commit syncs the data before it writes the slot, and then the ledger. An
// error of either sync stays with the session: see Sink.
func (f *staged) Commit(ctx context.Context, index int, offset int64, slot session.Slot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.within(offset, slot.Length); err != nil {
		return err
	}
	return failure(fmt.Sprintf("commit chunk %d of session %s", index, f.id), f.commit(index, slot))
}

func (f *staged) commit(index int, slot session.Slot) error {
	if err := f.sink.failed(f.id); err != nil {
		return err
	}
	if err := f.ledger.has(index); err != nil {
		return err
	}
	if err := syncBytes(f.data); err != nil {
		return f.sink.fail(f.id, err)
	}
	if err := f.ledger.write(index, slot); err != nil {
		return err
	}
	if err := syncBytes(f.ledger.file); err != nil {
		// The slot can be read although it may not be durable; nobody may rely on it.
		return f.sink.fail(f.id, errors.Join(err, f.ledger.clear(index)))
	}
	return nil
}

func (f *staged) within(offset, length int64) error {
	if offset < 0 || length < 0 || offset > f.size-length {
		return fmt.Errorf("%w: %d bytes at %d are not within the %d of session %s", session.ErrInvalid, length, offset, f.size, f.id)
	}
	return nil
}

// Close closes the files. It makes nothing durable.
func (f *staged) Close() error { return errors.Join(f.data.Close(), f.ledger.file.Close()) }
