package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

var (
	// ErrChanged is returned where a file is no longer the one that the upload began with.
	ErrChanged = errors.New("the file has changed while it was sent")
	// ErrSize is returned where a source has fewer or more bytes than the session.
	ErrSize = errors.New("the source does not have the size of the session")
)

// Source is the bytes of an object. One Source serves one Send at a time.
type Source struct {
	size int64
	at   io.ReaderAt
	// stream is read once, from front to back; position is how far.
	stream   io.Reader
	position int64
	// unchanged returns ErrChanged where the bytes may be others than at first; nil where they cannot be.
	unchanged func() error
}

// At is the source of the first size bytes of r, which must not change. It is never closed.
func At(r io.ReaderAt, size int64) *Source { return &Source{size: size, at: r} }

// Stream is the source of the size bytes that r gives. It can be sent once: after a failure a new stream is needed,
// of which what is held already is read and not sent.
func Stream(r io.Reader, size int64) *Source { return &Source{size: size, stream: r} }

// File is the source of a regular file. A file whose size, time of the last write or identity changes before Send
// returns is refused with ErrChanged. The caller closes f.
func File(f *os.File) (*Source, error) {
	first, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !first.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", f.Name())
	}
	name := f.Name()
	return &Source{size: first.Size(), at: f, unchanged: func() error {
		// By its name too: many programs write a new file and rename it over the old one.
		now, err := f.Stat()
		named, errNamed := os.Stat(name)
		switch {
		case err != nil:
			return err
		case now.Size() != first.Size(), !now.ModTime().Equal(first.ModTime()):
			return fmt.Errorf("%w: %s", ErrChanged, name)
		case errNamed == nil && !os.SameFile(named, first):
			return fmt.Errorf("%w: another file is at %s now", ErrChanged, name)
		}
		return nil
	}}, nil
}

// Size is how many bytes there are.
func (s *Source) Size() int64 { return s.size }

// readable reports whether the bytes from offset on can still be read.
func (s *Source) readable(offset int64) bool { return s.at != nil || offset >= s.position }

// read fills p with the bytes from offset on. Of a stream, what lies between is skipped by the caller.
func (s *Source) read(p []byte, offset int64) error {
	var n int
	var err error
	if s.at != nil {
		n, err = s.at.ReadAt(p, offset)
	} else {
		n, err = io.ReadFull(s.stream, p)
		s.position += int64(n)
	}
	if n == len(p) {
		return s.check()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil {
		if changed := s.check(); changed != nil {
			return changed
		}
		return fmt.Errorf("%w: it ends after %d of %d bytes", ErrSize, offset+int64(n), s.size)
	}
	return fmt.Errorf("cannot read the source: %w", err)
}

// atEnd fails where a stream goes on after its last byte.
func (s *Source) atEnd() error {
	if s.stream == nil {
		return nil
	}
	if n, _ := io.ReadFull(s.stream, make([]byte, 1)); n > 0 {
		return fmt.Errorf("%w: it goes on after %d bytes", ErrSize, s.size)
	}
	return nil
}

func (s *Source) check() error {
	if s.unchanged == nil {
		return nil
	}
	return s.unchanged()
}

// fits fails where the source cannot be what the session expects.
func (s *Source) fits(ctx context.Context, st *Status) error {
	if s.size != st.SizeBytes {
		return fmt.Errorf("%w: it has %d bytes, the session %d", ErrSize, s.size, st.SizeBytes)
	}
	return context.Cause(ctx)
}
