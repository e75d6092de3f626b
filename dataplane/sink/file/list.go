package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// listBounds are what a part of a listing may cost. A directory has no order: to tell which names come first all of
// them are read, and those that come first are kept.
type listBounds struct {
	// names bounds those that are kept at once, over all directories from the root down, but for a few in each.
	names int
	// looks bounds the files and directories that are opened. The part ends early there.
	looks int
	// reads bounds the names that are read: beyond them no further directory is, once the part has got anywhere.
	reads int
}

func defaultListBounds() listBounds {
	return listBounds{names: 16 << 10, looks: 10_000, reads: 1 << 20}
}

const (
	// minListNames is how many names are kept of a directory at least.
	minListNames = 16
	// listBatch is how many names are read at a time.
	listBatch = 1024
)

var (
	// errPartEnds ends the walk: where the next part begins is known.
	errPartEnds = errors.New("the part ends here")
	// errBelow ends the walk of a directory whose names are told of as one: there is an object.
	errBelow = errors.New("an object is below it")
)

// List walks the public directories. Those that can't be entered, such as the lost+found of a filesystem, have
// nothing in them.
func (s *Sink) List(ctx context.Context, q session.ListQuery) (session.Listing, error) {
	return s.listWithin(ctx, q, defaultListBounds())
}

func (s *Sink) listWithin(ctx context.Context, q session.ListQuery, bounds listBounds) (session.Listing, error) {
	if err := ctx.Err(); err != nil {
		return session.Listing{}, err
	}
	if err := q.Check(); err != nil {
		return session.Listing{}, err
	}
	l := &lister{sink: s, query: q, bounds: bounds}
	if err := l.list(ctx); err != nil {
		return session.Listing{}, failure("list what begins with "+q.Prefix, err)
	}
	return l.listing, nil
}

// lister is one part of a listing. A path here is a name, or a directory's with a slash at its end, so that the order
// of their bytes is that of the names.
type lister struct {
	sink    *Sink
	query   session.ListQuery
	bounds  listBounds
	top     string // the path of the directory that has all names with the prefix
	listing session.Listing

	bytes    int  // of the names that are listed
	kept     int  // names, over all directories that are being walked
	read     int  // names
	looks    int  // at files and directories
	advanced bool // beyond where the part began
}

func (l *lister) list(ctx context.Context) error {
	dir, base, err := l.sink.parent(l.query.Prefix, nil)
	if isNoParent(err) || isClosed(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release(dir)
	l.top = strings.TrimSuffix(l.query.Prefix, base)
	if err := l.walk(ctx, dir, l.top); !errors.Is(err, errPartEnds) {
		return err
	}
	return nil
}

// walk lists what is below a directory with a path.
func (l *lister) walk(ctx context.Context, dir *os.Root, at string) error {
	for from := l.query.From; ; {
		if l.advanced && l.read >= l.bounds.reads {
			l.listing.Next = max(at, from)
			return errPartEnds
		}
		paths, more, err := l.paths(ctx, dir, at, from)
		if err != nil {
			return err
		}
		l.kept += len(paths)
		for _, path := range paths {
			if err := l.look(ctx, dir, at, path); err != nil {
				return err
			}
		}
		l.kept -= len(paths)
		if !more {
			return nil
		}
		from = after(paths[len(paths)-1])
	}
}

// paths returns those in a directory that come first, beginning at from, in their order, and whether others come
// after them. A directory that is gone or can't be read has none.
func (l *lister) paths(ctx context.Context, dir *os.Root, at, from string) (first []string, more bool, err error) {
	f, err := dir.Open(".")
	if isNoParent(err) || isClosed(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer release(f)
	room := max(minListNames, (l.bounds.names-l.kept)/2)
	last := "" // what comes after it has no room; empty where there is room
	for {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		entries, err := f.ReadDir(listBatch)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, false, err
		}
		l.read += len(entries)
		for _, entry := range entries {
			path, ok := l.pathOf(at, entry)
			switch {
			case !ok || isBefore(path, from):
			case last != "" && path > last:
				more = true
			case session.CheckName(strings.TrimSuffix(path, "/")) == nil:
				first = append(first, path)
			}
		}
		if end := len(entries) == 0 || err != nil; end || len(first) >= room+listBatch {
			slices.Sort(first)
			first = slices.Compact(first) // a directory that changes may tell of a name twice
			if len(first) > room {
				first, more, last = first[:room], true, first[room-1]
			}
			if end {
				return slices.Clone(first), more, nil // without the room for what was dropped
			}
		}
	}
}

// pathOf is the path of an entry of a directory, if it is a file or a directory and has the prefix.
func (l *lister) pathOf(at string, entry fs.DirEntry) (string, bool) {
	path := at + entry.Name()
	if entry.IsDir() {
		path += "/"
	} else if !entry.Type().IsRegular() {
		return "", false
	}
	return path, strings.HasPrefix(path, l.query.Prefix)
}

// isBefore reports whether all names of a path come before from.
func isBefore(path, from string) bool {
	return path < from && (!strings.HasSuffix(path, "/") || !strings.HasPrefix(from, path))
}

// after is where what comes after all names of a path begins.
func after(path string) string {
	if directory, ok := strings.CutSuffix(path, "/"); ok {
		return directory + "0" // the byte after the slash
	}
	return path + "\x00"
}

// look lists what is under a path.
func (l *lister) look(ctx context.Context, dir *os.Root, at, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.advanced && l.looks >= l.bounds.looks {
		l.listing.Next = max(path, l.query.From)
		return errPartEnds
	}
	l.looks++
	element := path[len(at):]
	directory, ok := strings.CutSuffix(element, "/")
	if !ok {
		l.advanced = true
		return l.file(dir, element, path)
	}
	l.advanced = l.advanced || path > l.query.From
	sub, err := l.sink.enterPublic(dir, directory)
	if isNoParent(err) || isClosed(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release(sub)
	kept := l.kept
	if err = l.walk(ctx, sub, path); errors.Is(err, errBelow) && at == l.top {
		l.kept = kept
		if err = l.room(path); err == nil {
			l.listing.Prefixes = append(l.listing.Prefixes, path)
		}
	}
	return err
}

// file lists the file under an element of a directory. What is no regular file any more is not there.
func (l *lister) file(dir *os.Root, element, path string) error {
	info, err := dir.Lstat(element)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	if l.query.Grouped && strings.Contains(path[len(l.query.Prefix):], "/") {
		return errBelow
	}
	if err := l.room(path); err != nil {
		return err
	}
	one, err := listed(dir, element, info)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
		return nil
	}
	if err != nil {
		return err
	}
	one.Name = path
	l.listing.Objects = append(l.listing.Objects, one)
	return nil
}

// room makes room for a name in the listing, or ends the part before it.
func (l *lister) room(name string) error {
	l.bytes += len(name)
	if len(l.listing.Objects)+len(l.listing.Prefixes) >= l.query.Limit || l.bytes > session.MaxListBytes {
		l.listing.Next = name
		return errPartEnds
	}
	return nil
}

// listed is what is told of the file under an element. Of one that may not be read it is what a look at it tells.
func listed(dir *os.Root, element string, look fs.FileInfo) (session.Listed, error) {
	f, info, err := openRegular(dir, element, os.O_RDONLY)
	if isClosed(err) {
		return session.Listed{Size: look.Size(), ModTime: look.ModTime()}, nil
	}
	if err != nil {
		return session.Listed{}, err
	}
	defer release(f)
	is, err := identityOf(f, info)
	if err != nil {
		return session.Listed{}, err
	}
	o := &object{file: f, size: info.Size(), modified: info.ModTime(), identity: is}
	return session.Listed{
		Size: o.size, ModTime: o.modified, Identity: o.Identity(), Published: o.IsPublished(), Note: o.Note(),
	}, nil
}

// isClosed reports whether something is not open to this process.
func isClosed(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }
