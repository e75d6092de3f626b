package session

import (
	"bytes"
	"context"
	"fmt"
	"hash"
	"io"
)

// compare receives a chunk that is held already and says whether it is the same.
func (s *Service) compare(ctx context.Context, l *live, w *writer, in Incoming, offset int64) error {
	staged, slot, err := s.openHeld(ctx, l, in.Index)
	if h := l.head.Load(); err != nil && h.state == Finished {
		return &EndedError{Meta: l.metaOf(h)} // a moment ago, and it was freed
	}
	if err != nil {
		return err
	}
	defer func() { _ = staged.Close() }() // it is only read
	same := s.comparing(io.NewSectionReader(staged, offset, in.Length))
	defer same.end()
	if err := s.receive(ctx, w, in, nil, same.block); err != nil {
		return err
	}
	// Whoever sends bytes can choose them so that they have this checksum: it tells bytes that rot
	// on the volume, and nothing of who sent what.
	if same.sum.Sum64() != slot.Checksum {
		return fmt.Errorf("the bytes of chunk %d of session %s are damaged on the volume", in.Index, l.id)
	}
	return same.verdict(in.Index)
}

// openHeld opens the bytes of a session with a chunk that it holds; the caller closes them.
func (s *Service) openHeld(ctx context.Context, l *live, index int) (Staged, Slot, error) {
	staged, err := s.sink.Open(ctx, l.id)
	if err != nil {
		return nil, Slot{}, err
	}
	slot, ok, err := s.sink.Slot(ctx, l.id, index)
	if err == nil && !ok {
		err = fmt.Errorf("chunk %d of session %s is held, but its slot in the ledger is damaged", index, l.id)
	}
	if err != nil {
		_ = staged.Close() // it was only opened
		return nil, Slot{}, err
	}
	return staged, slot, nil
}

// Compare receives a chunk and returns nil where it is the same as what held
// yields, byte by byte: ErrConflict where it is not. It is for chunks of a
// session that is Finished, of which another place has the bytes. Follow is
// not called. ErrLength, ErrBody, ErrMismatch, the context's error, or held's.
func (s *Service) Compare(ctx context.Context, in Incoming, held io.Reader) error {
	same := s.comparing(held)
	defer same.end()
	if err := s.receive(ctx, &writer{}, in, nil, same.block); err != nil {
		return err
	}
	return same.verdict(in.Index)
}

// comparison compares the blocks of a chunk with what is held, all of it: that
// a first byte differs is nothing that the sender should be able to time.
type comparison struct {
	held    io.Reader
	buffer  *[]byte
	end     func()
	sum     hash.Hash64 // of what is held
	differs bool
}

// comparing begins a comparison; the caller ends it.
func (s *Service) comparing(held io.Reader) *comparison {
	buffer := s.blocks.Get().(*[]byte) //nolint:errcheck // the pool holds nothing else
	return &comparison{held: held, buffer: buffer, end: func() { s.blocks.Put(buffer) }, sum: s.checksum()}
}

// block compares the next block, which is no longer than the buffer.
func (c *comparison) block(sent []byte, _ int64) error {
	held := (*c.buffer)[:len(sent)]
	if _, err := io.ReadFull(c.held, held); err != nil {
		return fmt.Errorf("read what is held: %w", err)
	}
	c.sum.Write(held) // a hash.Hash never returns an error
	c.differs = c.differs || !bytes.Equal(sent, held)
	return nil
}

func (c *comparison) verdict(index int) error {
	if c.differs {
		return fmt.Errorf("%w: chunk %d is held with other bytes", ErrConflict, index)
	}
	return nil
}
