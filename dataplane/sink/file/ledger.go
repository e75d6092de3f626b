package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

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
	return &ledger{id: id, file: f, slots: int(info.Size() / session.SlotSize), modified: info.ModTime()}, nil
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
