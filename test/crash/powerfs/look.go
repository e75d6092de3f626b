package powerfs

import (
	"bytes"
	"io/fs"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Files is what the system sees, or would see if it were mounted now, read past
// the mount: no fault hits it and no count tells of it, and it goes on over a
// cut and all that follows. Without power nothing can be read.
func (f *FS) Files() fs.FS { return files{f} }

type files struct{ of *FS }

// Open opens a file or a directory as it is now; what happens to it later is not seen.
func (l files) Open(name string) (fs.File, error) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	fail := func(err error) (fs.File, error) { return nil, &fs.PathError{Op: "open", Path: name, Err: err} }
	switch {
	case !fs.ValidPath(name):
		return fail(fs.ErrInvalid)
	case l.of.left != nil:
		return fail(unix.EIO)
	}
	n := l.of.volume.root()
	if name != "." {
		for element := range strings.SplitSeq(name, "/") {
			if n = n.names[element]; n == nil {
				return fail(fs.ErrNotExist)
			}
		}
	}
	opened := &look{info: n.info(path.Base(name))}
	for _, below := range sorted(n.names) {
		opened.entries = append(opened.entries, fs.FileInfoToDirEntry(n.names[below].info(below)))
	}
	b := make([]byte, n.content.size)
	n.content.read(0, b)
	opened.Reader = bytes.NewReader(b)
	return opened, nil
}

// Remove removes a file, as a user does whom no fault hits.
func (l files) Remove(name string) error {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.of.left != nil {
		return unix.EIO
	}
	n := l.of.volume.root()
	above, base := path.Split(name)
	for element := range strings.SplitSeq(strings.TrimSuffix(above, "/"), "/") {
		if element == "" {
			continue
		}
		if n = n.names[element]; n == nil {
			return fs.ErrNotExist
		}
	}
	if n.names[base] == nil {
		return fs.ErrNotExist
	}
	return l.of.volume.unlink(n, base, time.Now())
}

// look is an open file or directory.
type look struct {
	*bytes.Reader

	info    info
	entries []fs.DirEntry
}

// Stat tells what the file was when it was opened.
func (l *look) Stat() (fs.FileInfo, error) { return l.info, nil }

// Close does nothing.
func (l *look) Close() error { return nil }

// ReadDir returns all entries, whatever the number.
func (l *look) ReadDir(int) ([]fs.DirEntry, error) { return l.entries, nil }

// info is what stat tells.
type info struct {
	name     string
	inode    uint64
	size     int64
	mode     fs.FileMode
	modified time.Time
}

func (n *inode) info(name string) info {
	mode := fs.FileMode(n.attributes.mode & 0o777)
	if n.isDir {
		mode |= fs.ModeDir
	}
	return info{name, n.id, n.content.size, mode, n.attributes.modified}
}

// Name is the last element of the path.
func (i info) Name() string { return i.name }

// Size is the length in bytes.
func (i info) Size() int64 { return i.size }

// Mode is the mode.
func (i info) Mode() fs.FileMode { return i.mode }

// ModTime is when the bytes or names were changed last.
func (i info) ModTime() time.Time { return i.modified }

// IsDir reports whether it is a directory.
func (i info) IsDir() bool { return i.mode.IsDir() }

// Sys has the number of the inode.
func (i info) Sys() any { return &syscall.Stat_t{Ino: i.inode} }
