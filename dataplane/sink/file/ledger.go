package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Slot reads one slot of the ledger.
func (s *Sink) Slot(ctx context.Context, id session.ID, index int) (session.Slot, bool, error) {
	if err := ctx.Err(); err != nil {
		return session.Slot{}, false, err
	}
	slot, held, err := s.slot(id, index)
	return slot, held, failure(fmt.Sprintf("read slot %d of session %s", index, id), err)
}

func (s *Sink) slot(id session.ID, index int) (session.Slot, bool, error) {
	dir, err := s.session(id)
	if err != nil {
		return session.Slot{}, false, err
	}
	defer release(dir)
	l, err := openLedger(dir, id, os.O_RDONLY)
	if err != nil {
		return session.Slot{}, false, err
	}
	defer release(l.file)
	return l.read(index)
}

// ledger is the open ledger of a session: one slot a chunk, each in its place.
type ledger struct {
	id       session.ID
	file     *os.File
	slots    int
	room     bool // it seems to take some; not every filesystem tells
	modified time.Time
}

func openLedger(dir *os.Root, id session.ID, flag int) (*ledger, error) {
	f, info, err := openRegular(dir, ledgerName, flag)
	if err != nil {
		return nil, err
	}
	if size := info.Size(); size%session.SlotSize != 0 || size > session.MaxChunks*session.SlotSize {
		release(f)
		return nil, fmt.Errorf("no ledger is %d bytes long", size)
	}
	room := info.Sys().(*syscall.Stat_t).Blocks > 0 //nolint:errcheck // Linux only
	return &ledger{id: id, file: f, slots: int(info.Size() / session.SlotSize), room: room, modified: info.ModTime()}, nil
}

// has returns nil when the ledger has the slot, so that no write makes it longer.
func (l *ledger) has(index int) error {
	if index < 0 || index >= l.slots {
		return fmt.Errorf("%w: no slot %d, the ledger has %d", session.ErrInvalid, index, l.slots)
	}
	return nil
}

func (l *ledger) read(index int) (session.Slot, bool, error) {
	if err := l.has(index); err != nil {
		return session.Slot{}, false, err
	}
	var b [session.SlotSize]byte
	if _, err := l.file.ReadAt(b[:], int64(index)*session.SlotSize); err != nil {
		return session.Slot{}, false, err
	}
	slot, held := session.DecodeSlot(l.id, index, b[:])
	return slot, held, nil
}

// all reads the whole ledger, which is at most 3.2 MB.
func (l *ledger) all() (b []byte, at int64, err error) {
	b = make([]byte, l.slots*session.SlotSize)
	if _, err := l.file.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	return b, 0, nil
}

// written reads what of the ledger is to be written again: nothing where it was freed, or it would take room anew.
func (l *ledger) written() (b []byte, at int64, err error) {
	b, at, err = l.all()
	if !l.room && !slices.ContainsFunc(b, func(of byte) bool { return of != 0 }) {
		return nil, at, err
	}
	return b, at, err
}

// largestBlock is no smaller than the unit in which a filesystem gives room out, in bytes.
const largestBlock = 1 << 20

// free leaves a ledger of absent slots that takes no room. It keeps its length: the version before takes a
// session whose ledger is shorter for a damaged one.
func (l *ledger) free() error {
	size := int64(l.slots) * session.SlotSize
	if size == 0 {
		return nil
	}
	// The last block is freed as well where the hole covers all of it.
	hole := (size + largestBlock - 1) / largestBlock * largestBlock
	err := onDescriptor(l.file, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, hole)
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = l.file.Truncate(0)
		if err == nil {
			err = l.file.Truncate(size)
		}
	}
	return err
}

// held tells for each slot of the ledger whether it is there.
func (l *ledger) held() (held []bool, some bool, err error) {
	b, _, err := l.all()
	if err != nil {
		return nil, false, err
	}
	held = make([]bool, l.slots)
	for i := range held {
		_, held[i] = session.DecodeSlot(l.id, i, b[i*session.SlotSize:(i+1)*session.SlotSize])
		some = some || held[i]
	}
	return held, some, nil
}

func (l *ledger) write(index int, slot session.Slot) error {
	return l.put(index, session.EncodeSlot(l.id, index, slot))
}

func (l *ledger) clear(index int) error { return l.put(index, [session.SlotSize]byte{}) }

func (l *ledger) put(index int, b [session.SlotSize]byte) error {
	_, err := l.file.WriteAt(b[:], int64(index)*session.SlotSize)
	return err
}
