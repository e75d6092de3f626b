package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// OpenObject opens a regular file that no symbolic link leads to; ErrNotFound
// where anything else or nothing is under the name. What it returns is an
// io.ReaderAt too.
func (s *Sink) OpenObject(ctx context.Context, name string) (session.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := session.CheckName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrNotFound, err)
	}
	o, err := s.openObject(name)
	if isNoParent(err) || errors.Is(err, errNotRegular) || errors.Is(err, unix.ENAMETOOLONG) {
		err = fmt.Errorf("%w: %w", session.ErrNotFound, err)
	}
	if err != nil {
		return nil, failure("open object "+name, err)
	}
	return o, nil
}

func (s *Sink) openObject(name string) (*object, error) {
	in, base, err := s.parent(name, nil)
	if err != nil {
		return nil, err
	}
	defer release(in)
	f, info, err := openRegular(in, base, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	is, err := identityOf(f, info)
	if err != nil {
		release(f)
		return nil, err
	}
	return &object{file: f, size: info.Size(), modified: info.ModTime(), identity: is}, nil
}

// object is an open published file, for reading only.
type object struct {
	file     *os.File
	size     int64
	modified time.Time
	identity identity
}

var _ interface {
	session.Object
	io.ReaderAt
} = (*object)(nil)

// Read reads on from where the last Read or Seek ended.
func (o *object) Read(b []byte) (int, error) { return o.file.Read(b) }

// ReadAt reads from an offset and leaves where Read goes on.
func (o *object) ReadAt(b []byte, offset int64) (int, error) { return o.file.ReadAt(b, offset) }

// Seek sets where Read goes on.
func (o *object) Seek(offset int64, whence int) (int64, error) { return o.file.Seek(offset, whence) }

// Close closes the file.
func (o *object) Close() error { return o.file.Close() }

// Size is its size in bytes.
func (o *object) Size() int64 { return o.size }

// ModTime is when its bytes were last written.
func (o *object) ModTime() time.Time { return o.modified }

// Identity tells it from every other object that the volume has or had.
func (o *object) Identity() string { return o.identity.String() }

// Like compares it with what was recorded of an object.
func (o *object) Like(recorded string) session.Likeness { return o.identity.like(recorded) }

// Note reads what was noted of it. What can't be read is not there.
func (o *object) Note() string {
	note, _, err := noteOf(o.file, o.identity)
	if err != nil {
		return ""
	}
	return note
}

// IsPublished reports whether it has a mark, and no note of another file.
func (o *object) IsPublished() bool {
	_, others, err := noteOf(o.file, o.identity)
	return o.identity.mark != "" && !others && err == nil
}
