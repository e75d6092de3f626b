package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

const (
	// attributePrefix comes before an attribute's name in the extended attributes of an object.
	attributePrefix = "user.slipway."

	// publishAttempts bounds how often the parents of a name are made again
	// because somebody removed them before the object was in.
	publishAttempts = 5
)

// Publish links the staged data to the name, without replace, or moves a link
// to it over the name. Parents are directories on the volume: missing ones are
// made, and stay when the publication fails after that. A symbolic link is
// never followed: a parent that is one makes the name unusable, and one under
// the name itself is something under the name. What somebody else put in the
// place of the staged data is not published.
//
// The object has mode 0644 and the attributes as extended attributes
// user.slipway.*; those that the filesystem can't keep are left out.
func (s *Sink) Publish(ctx context.Context, id session.ID, name string, replace bool, attributes map[string]string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := session.CheckName(name); err != nil {
		return err
	}
	defer s.guards.lock(id)()

	doing := fmt.Sprintf("publish session %s as %s", id, name)
	// Once a sync of names failed, this session's or another's, there is no going on: they may
	// share a parent that is not durable.
	if err := s.durable.failed(); err != nil {
		return failure(doing, err)
	}
	h, err := s.open(id)
	if err != nil {
		return failure(doing, err) // whatever it is, it is not the name
	}
	defer s.handles.giveBack(h)
	if err := s.mayPublish(h); err != nil {
		return failure(doing, err)
	}
	if err := s.tellApart(ctx, h); err != nil {
		return failure(doing, err)
	}
	return failure(doing, s.publish(ctx, h, name, replace, attributes))
}

// errNotAsStaged means that somebody else put something else in the place of
// bytes that are staged, or took them away.
var errNotAsStaged = errors.New("what is staged was replaced or removed by somebody else")

// mayPublish returns nil where what was staged is as it was.
func (s *Sink) mayPublish(h *handle) error {
	if err := s.failed(h.id); err != nil {
		return err
	}
	err := stillNamed(h.dir, dataName, h.data)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %v", errNotAsStaged, err) //nolint:errorlint // the cause would mean ErrNotFound
	}
	return err
}

// tellApart sees to it that the data of a session has an identity of its own.
func (s *Sink) tellApart(ctx context.Context, h *handle) error {
	marked, err := s.mark(h.data, h.id)
	if marked || err != nil {
		return err
	}
	return s.passTick(ctx, h)
}

func (s *Sink) publish(ctx context.Context, h *handle, name string, replace bool, attributes map[string]string) error {
	for attempt := 1; ; attempt++ {
		err := s.place(ctx, h, name, replace, attributes)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if attempt == publishAttempts {
			return fmt.Errorf("its parents vanish as they are made: %v", err) //nolint:errorlint // the cause would mean ErrNotFound
		}
	}
}

// place makes the parents and puts the object into the last of them. The bytes
// are durable already; what else is known of the file, and the name, are made
// so together, in either order: whoever finds the name after a crash publishes again.
func (s *Sink) place(ctx context.Context, h *handle, name string, replace bool, attributes map[string]string) error {
	into, base, err := s.parent(name, s.makeParent)
	if err != nil {
		return err
	}
	defer release(into)

	published, err := isUnder(into, base, h.data)
	if err != nil {
		return ofName(err)
	}
	if !published {
		if err := occupied(into, base); err != nil && (!replace || !errors.Is(err, session.ErrExists)) {
			return err
		}
	}
	if err := dress(h.data, attributes); err != nil {
		return err
	}
	if !published {
		err = s.linkObject(ctx, h, into, base, replace)
	}
	if errors.Is(err, fs.ErrExist) {
		return cmp.Or(occupied(into, base), session.ErrExists)
	}
	if err != nil {
		return err
	}
	return s.durable.do(func() error { return s.syncPublished(h.id, h.data, into) })
}

// syncPublished makes durable what place has done. Where that fails the object is under its name already, so
// that its session can neither be published nor ended: as after the sync of names, only the next process
// knows what holds, and the volume says that it needs one.
func (s *Sink) syncPublished(id session.ID, data *os.File, into *os.Root) error {
	if err := syncFile(data); err != nil {
		return s.durable.fail(s.fail(id, err))
	}
	return s.durable.ownNames(into)
}

// ofLink is ofName of the error of a step that gives f the name; but a name that f has is usable.
func ofLink(err error, into *os.Root, base string, f *os.File) error {
	if err == nil {
		return nil
	}
	if given, lookErr := isUnder(into, base, f); given || lookErr != nil {
		return err
	}
	return ofName(err)
}

// linkObject gives the data the name. No object is withdrawn meanwhile, by any replica.
func (s *Sink) linkObject(ctx context.Context, h *handle, into *os.Root, base string, replace bool) error {
	unlock, err := s.lockNames(ctx, unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	if replace {
		return replaceBy(h, into, base)
	}
	return ofLink(linkBetween(h.dir, dataName, into, base), into, base, h.data)
}

// makeParent makes one of the directories above a name, durably. One that was
// there may have been made by somebody who did not come to that.
func (s *Sink) makeParent(dir *os.Root, element string) error {
	if err := dir.Mkdir(element, directoryMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return ofName(err)
	}
	return s.durable.names(dir)
}

// replaceBy moves a second link to the data over the name.
func replaceBy(h *handle, into *os.Root, base string) error {
	if err := removeFile(h.dir, objectName); err != nil {
		return err
	}
	if err := linkBetween(h.dir, dataName, h.dir, objectName); err != nil {
		return err
	}
	err := ofLink(renameBetween(h.dir, objectName, into, base), into, base, h.data)
	// A rename that failed leaves the link, and so does one between two links to the same file.
	return errors.Join(err, removeFile(h.dir, objectName))
}

// dress gives the data the attributes of an object; it has the mode already.
func dress(data *os.File, attributes map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		err := onDescriptor(data, func(fd int) error {
			return unix.Fsetxattr(fd, attributePrefix+name, []byte(attributes[name]), 0)
		})
		if err != nil && !isLimit(err) {
			return fmt.Errorf("attribute %q: %w", name, err)
		}
	}
	return nil
}

// isLimit reports whether an attribute was refused because of what the
// filesystem can keep: none, or not so much.
func isLimit(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOTSUP, unix.ENOSYS, unix.ENOSPC, unix.EDQUOT, unix.E2BIG, unix.ERANGE},
		func(limit error) bool { return errors.Is(err, limit) })
}

// Published compares the file under the name with the staged data. ErrNotFound
// where the session is not there or its bytes were freed: then nobody can tell.
func (s *Sink) Published(ctx context.Context, id session.ID, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := session.CheckName(name); err != nil {
		return false, err
	}
	published, err := s.published(id, name)
	return published, failure(fmt.Sprintf("compare session %s with %s", id, name), err)
}

func (s *Sink) published(id session.ID, name string) (bool, error) {
	h, err := s.open(id)
	if err != nil {
		return false, err
	}
	defer s.handles.giveBack(h)
	into, base, err := s.parent(name, nil)
	if isNoParent(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer release(into)
	return isUnder(into, base, h.data)
}

// Lookup looks at the name and what is above it. The answer may be out of date
// when it arrives.
func (s *Sink) Lookup(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := session.CheckName(name); err != nil {
		return err
	}
	return failure("look up "+name, s.lookup(name))
}

func (s *Sink) lookup(name string) error {
	into, base, err := s.parent(name, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release(into)
	return occupied(into, base)
}

// isUnder reports whether f is the file under the element.
func isUnder(dir *os.Root, element string, f *os.File) (bool, error) {
	err := stillNamed(dir, element, f)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// occupied returns nil where nothing is under the element, ErrUnusableName
// where a directory is, and ErrExists where anything else is.
func occupied(dir *os.Root, element string) error {
	switch info, err := dir.Lstat(element); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return ofName(err)
	case info.IsDir():
		return fmt.Errorf("%w: it is a directory", session.ErrUnusableName)
	default:
		return session.ErrExists
	}
}

// isNoParent reports whether there can be nothing under a name because of what is above it.
func isNoParent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, session.ErrUnusableName)
}
