package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Open opens the data and the ledger of a session, or shares them with whoever
// has them open. Their number is bounded: by that of the operations at work,
// and of the sessions that are kept open for the next one.
func (s *Sink) Open(ctx context.Context, id session.ID) (session.Staged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h, err := s.open(id)
	if err != nil {
		return nil, failure("open session "+string(id), err)
	}
	return &staged{sink: s, handle: h}, nil
}

// open returns the handle of a session; the caller gives it back.
func (s *Sink) open(id session.ID) (*handle, error) {
	return s.handles.acquire(id, func() (*handle, error) { return s.newHandle(id) })
}

func (s *Sink) newHandle(id session.ID) (_ *handle, err error) {
	h := &handle{id: id}
	if h.dir, err = s.session(id); err != nil {
		return nil, err
	}
	data, info, err := openRegular(h.dir, dataName, os.O_RDWR)
	if err != nil {
		release(h.dir)
		return nil, err
	}
	h.data, h.size = data, info.Size()
	if h.ledger, err = openLedger(h.dir, id, os.O_RDWR); err != nil {
		release(data)
		release(h.dir)
		return nil, err
	}
	return h, nil
}

// staged is one user of a session's open files. Reads and writes go straight
// to the kernel; nothing is kept here.
type staged struct {
	sink *Sink
	*handle
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
	f.startWriteback(offset, n)
	return n, failure("write session "+string(f.id), err)
}

// writebackUnit is after how many bytes the disk gets to work, so that the sync
// at the end of a large chunk finds most of it written.
const writebackUnit = 8 << 20

// startWriteback has the kernel write out each unit that a write has completed. It
// promises nothing and its errors say nothing: the sync tells.
func (f *staged) startWriteback(offset int64, n int) {
	done := (offset + int64(n)) / writebackUnit
	if done == offset/writebackUnit {
		return
	}
	_ = onDescriptor(f.data, func(fd int) error {
		return unix.SyncFileRange(fd, (done-1)*writebackUnit, writebackUnit, unix.SYNC_FILE_RANGE_WRITE)
	})
}

// Commit syncs the data before it writes the slot, and then the ledger; each
// sync serves all who wait for it. An error of either stays: see Sink.
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
	if err := f.sink.syncShared(f.handle, &f.dataSyncs, f.data); err != nil {
		return err
	}
	if err := f.ledger.write(index, slot); err != nil {
		return err
	}
	if err := f.sink.syncShared(f.handle, &f.ledgerSyncs, f.ledger.file); err != nil {
		// The slot can be read although it may not be durable; nobody may rely on it.
		return errors.Join(err, f.ledger.clear(index))
	}
	return nil
}

// syncShared makes durable what was written to one of a session's files
// before, by a sync that all share who wait for it. Its failure is told once
// by the kernel, to whoever asks first: it is kept before anybody asks again.
func (s *Sink) syncShared(h *handle, syncs *rounds, file *os.File) error {
	return syncs.join(func(int) error {
		if err := s.failed(h.id); err != nil {
			return err
		}
		if err := s.durable.do(func() error { return syncBytes(file) }); err != nil {
			return s.fail(h.id, err)
		}
		return nil
	})
}

func (f *staged) within(offset, length int64) error {
	if offset < 0 || length < 0 || offset > f.size-length {
		return fmt.Errorf("%w: %d bytes at %d are not within the %d of session %s", session.ErrInvalid, length, offset, f.size, f.id)
	}
	return nil
}

// Close gives the files back. It makes nothing durable.
func (f *staged) Close() error {
	f.sink.handles.giveBack(f.handle)
	return nil
}
