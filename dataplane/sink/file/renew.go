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

// What a process that was killed has written the kernel writes out later, when nobody waits for it. Where
// that fails, it tells whoever syncs next, once, and from then on has in memory what is not on the disk and
// takes it for written: no sync tries it again. So what is read of ledgers and records when a volume is
// recovered is first written again, byte for byte, and synced.
//
// The data need not be. A slot is written after its chunk was synced, through a descriptor that was open
// before the chunk was written and so heard of every failure: where a slot can be read its chunk is on the disk.

// renew makes durable whatever can be read of the sessions with these names. It returns those of which
// nothing may be believed, each with the reason; an error where that is the whole volume.
func (s *Sink) renew(ctx context.Context, names []string) (map[session.ID]error, error) {
	doubtful := map[session.ID]error{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		id, err := session.ParseID(name)
		if err != nil {
			continue
		}
		switch err := s.renewSession(id); {
		case isFull(err):
			doubtful[id] = fmt.Errorf("there is no room to write again what was read: %w", err) // others may have room
		case err != nil:
			return nil, fmt.Errorf("session %s: what was read can't be written again: %w", id, err)
		}
	}
	return doubtful, s.syncFound()
}

// syncFound makes durable whatever can be read from the volume, as far as that can be done at once.
func (s *Sink) syncFound() error {
	if s.durable.volume == nil {
		return s.syncStaging()
	}
	return s.durable.syncfs()
}

// renewSession writes a session's ledger and record again, and syncs all of it where the volume is not
// synced as a whole. What can't be read is left alone: whoever recovers the session tells why.
func (s *Sink) renewSession(id session.ID) error {
	dir, err := s.session(id)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	defer release(dir)
	ledger, err := openLedger(dir, id, os.O_RDWR)
	if err == nil {
		defer release(ledger.file)
		if err := rewrite(ledger.file, ledger.written); err != nil {
			return err
		}
	}
	record, err := openRecord(dir, os.O_RDWR)
	if err == nil {
		defer release(record.file)
		if err := rewrite(record.file, record.newestHalf); err != nil {
			return err
		}
	}
	if s.durable.volume != nil {
		return nil
	}
	return syncSession(dir)
}

// syncSession makes durable what can be read of one session.
func syncSession(dir *os.Root) error {
	for _, name := range []string{dataName, ledgerName, recordName} {
		f, _, err := openRegular(dir, name, os.O_RDWR)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
			continue // the data was freed; who reads the others will say so
		}
		if err != nil {
			return err
		}
		if err := errors.Join(syncFile(f), f.Close()); err != nil {
			return err
		}
	}
	return syncDirectory(dir)
}

// rewrite writes to a file the bytes that read finds in it, and leaves the time of its last write as it was.
func rewrite(f *os.File, read func() (b []byte, at int64, err error)) error {
	info, err := f.Stat()
	if err != nil {
		return nil //nolint:nilerr // whoever recovers the session tells why it can't be read
	}
	b, at, err := read()
	if err != nil || len(b) == 0 {
		return nil //nolint:nilerr // the same
	}
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	// It tells people when the last chunk came; a wrong time harms nothing.
	_ = onDescriptor(f, func(fd int) error {
		written := unix.NsecToTimespec(info.ModTime().UnixNano())
		return unix.UtimesNanoAt(fd, "", []unix.Timespec{{Nsec: unix.UTIME_OMIT}, written}, unix.AT_EMPTY_PATH)
	})
	return nil
}
