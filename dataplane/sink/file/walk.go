package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// errNotRegular means that something else is where a regular file should be.
var errNotRegular = errors.New("not a regular file")

// os.Root follows symbolic links that stay within it, also where O_NOFOLLOW is
// asked for. The functions here follow none: each looks at what is under a
// single element, opens it, and makes sure that it opened what it looked at.

// enter opens the directory under one element of dir. ENOTDIR where anything
// else is there, a link to a directory too.
func enter(dir *os.Root, element string) (*os.Root, error) {
	refused := &fs.PathError{Op: "enter", Path: element, Err: unix.ENOTDIR}
	before, err := dir.Lstat(element)
	if err != nil {
		return nil, err
	}
	if !before.IsDir() {
		return nil, refused
	}
	sub, err := dir.OpenRoot(element)
	if err != nil {
		return nil, err
	}
	after, err := sub.Stat(".")
	if err == nil && !os.SameFile(before, after) {
		err = refused
	}
	if err != nil {
		release(sub)
		return nil, err
	}
	return sub, nil
}

// openAttempts bounds how often a file is opened again because another one
// took its place between the look and the opening.
const openAttempts = 100

// openRegular opens the regular file under one element of dir. errNotRegular
// where anything else is there, a link to a regular file too.
func openRegular(dir *os.Root, element string, flag int) (*os.File, fs.FileInfo, error) {
	for range openAttempts {
		before, err := dir.Lstat(element)
		if err != nil {
			return nil, nil, err
		}
		if !before.Mode().IsRegular() {
			break
		}
		// Of a pipe that took its place meanwhile nobody may ever open the other end.
		f, err := dir.OpenFile(element, flag|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, nil, err
		}
		after, err := f.Stat()
		if err == nil && after.Mode().IsRegular() && os.SameFile(before, after) {
			return f, after, nil
		}
		release(f)
		if err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, &fs.PathError{Op: "open", Path: element, Err: errNotRegular}
}

// openOrCreate opens the regular file under one element of dir for reading and
// writing, and makes it where it is missing. What is in it stays.
func openOrCreate(dir *os.Root, element string) (*os.File, error) {
	f, err := dir.OpenFile(element, os.O_RDWR|os.O_CREATE|os.O_EXCL, stagedMode)
	if errors.Is(err, fs.ErrExist) {
		f, _, err = openRegular(dir, element, os.O_RDWR)
	}
	return f, err
}

// stillNamed returns nil when f is what is under the element.
func stillNamed(dir *os.Root, element string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := dir.Lstat(element)
	if err != nil {
		return err
	}
	if !os.SameFile(info, named) {
		return &fs.PathError{Op: "find", Path: element, Err: fs.ErrNotExist}
	}
	return nil
}

// parent opens the directory that holds a name, or would hold it. Each element
// above is first passed to before, when that is given, with the directory it is in.
//
// ErrUnusableName where one of them is the staging directory under another
// name: a filesystem that ignores case, normalises Unicode or drops characters
// has such, and so has one that is mounted on itself.
func (s *Sink) parent(name string, before func(dir *os.Root, element string) error) (dir *os.Root, base string, err error) {
	dir, err = s.root.OpenRoot(".")
	if err != nil {
		return nil, "", err
	}
	above, base := path.Split(name)
	for element := range strings.SplitSeq(strings.TrimSuffix(above, "/"), "/") {
		if element == "" {
			break // no directory is above the name
		}
		var next *os.Root
		if before != nil {
			err = before(dir, element)
		}
		if err == nil {
			next, err = s.enterPublic(dir, element)
			err = ofName(err)
		}
		release(dir)
		if err != nil {
			return nil, "", err
		}
		dir = next
	}
	return dir, base, nil
}

// enterPublic is enter, but not into the staging directory.
func (s *Sink) enterPublic(dir *os.Root, element string) (*os.Root, error) {
	sub, err := enter(dir, element)
	if err != nil {
		return nil, err
	}
	if err := s.notStaging(sub); err != nil {
		release(sub)
		return nil, err
	}
	return sub, nil
}

func (s *Sink) notStaging(dir *os.Root) error {
	public, err := dir.Stat(".")
	if err != nil {
		return err
	}
	own, err := s.staging.Stat(".")
	if err != nil {
		return err
	}
	staging, err := s.reserved.Stat(".")
	if err != nil {
		return err
	}
	if os.SameFile(public, staging) || os.SameFile(public, own) {
		return fmt.Errorf("%w: a directory above it is reserved", session.ErrUnusableName)
	}
	return nil
}

// release closes what was only read or is durable already, so that an error says nothing.
func release(c io.Closer) { _ = c.Close() }
