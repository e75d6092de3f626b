package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// noteName is the extended attribute of staged data that has the note of its session, so that the
// object has it too. No attribute of an object has the name.
const noteName = "user.slipway-note"

// maxNote bounds the attribute: a note and an identity.
const maxNote = session.MaxNote + 256

// Note writes the note beside the identity that the data has, which says whom it is of: a file with
// another identity has no note. That it could not be written is no error, as the volume need not keep it.
func (s *Sink) Note(ctx context.Context, id session.ID, note string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(note) > session.MaxNote {
		return fmt.Errorf("%w: a note of %d bytes", session.ErrInvalid, len(note))
	}
	defer s.guards.lock(id)()
	return failure("note something of session "+string(id), s.note(id, note))
}

func (s *Sink) note(id session.ID, note string) error {
	h, err := s.open(id)
	if err != nil {
		return err
	}
	defer s.handles.giveBack(h)
	if _, err := s.mark(h.data, id); err != nil {
		return err
	}
	info, err := h.data.Stat()
	if err != nil {
		return err
	}
	is, err := identityOf(h.data, info)
	if err != nil {
		return err
	}
	_ = onDescriptor(h.data, func(fd int) error {
		return unix.Fsetxattr(fd, noteName, []byte(is.String()+"\n"+note), 0)
	})
	return nil
}

// noteOf reads the note of a file with an identity; empty where it has none, or that of a file with another one.
func noteOf(f *os.File, is identity) (note string, others bool, err error) {
	b := make([]byte, maxNote)
	var n int
	err = onDescriptor(f, func(fd int) (err error) {
		n, err = unix.Fgetxattr(fd, noteName, b)
		return err
	})
	switch {
	case err == nil:
		of, note, _ := strings.Cut(string(b[:n]), "\n")
		if of != is.String() || len(note) > session.MaxNote {
			return "", true, nil
		}
		return note, false, nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ERANGE):
		return "", false, nil
	}
	return "", false, &fs.PathError{Op: "fgetxattr", Path: f.Name(), Err: err}
}
