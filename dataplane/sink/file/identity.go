package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// markName is the extended attribute of staged data that has the ID of its
// session, so that the object has it too. No attribute of an object has the name.
const markName = "user.slipway-session"

// identity tells an object from every other that its volume has or had: the
// inode from all that are there at the same time, and the mark from those that
// have the inode before or after it. Where the filesystem keeps no marks the
// time of the last write does, see passTick. Whoever writes to an object, or puts
// a copy in its place, makes it another one.
type identity struct {
	inode    uint64
	size     int64
	modified int64  // Unix nanoseconds
	mark     string // a session's ID; empty where there is none
}

// String is the identity as it is recorded.
func (i identity) String() string { return fmt.Sprintf("2-%s-%s", i.unmarked(), i.mark) }

// unmarked is the identity as earlier versions recorded it, which knew of no marks. Two objects
// may have the same one, if they were written within one tick of the volume's clock.
func (i identity) unmarked() string { return fmt.Sprintf("%d-%d-%d", i.inode, i.size, i.modified) }

// like compares an object with what was recorded of one. None that has a mark
// is an earlier version's.
func (i identity) like(recorded string) session.Likeness {
	switch {
	case recorded == i.String():
		return session.Same
	case recorded == i.unmarked() && i.mark == "":
		return session.Alike
	}
	return session.Other
}

func identityOf(f *os.File, info fs.FileInfo) (identity, error) {
	mark, err := markOf(f)
	inode := info.Sys().(*syscall.Stat_t).Ino //nolint:errcheck // Linux only
	return identity{inode: inode, size: info.Size(), modified: info.ModTime().UnixNano(), mark: mark}, err
}

// markOf reads the mark of a file; empty where it has none.
func markOf(f *os.File) (string, error) {
	b := make([]byte, 2*maxMark)
	var n int
	err := onDescriptor(f, func(fd int) (err error) {
		n, err = unix.Fgetxattr(fd, markName, b)
		return err
	})
	switch {
	case err == nil:
		return string(b[:n]), nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ERANGE):
		return "", nil // it is not one of ours
	}
	return "", &fs.PathError{Op: "fgetxattr", Path: f.Name(), Err: err}
}

// maxMark is how long an ID is at most.
const maxMark = 64

// mark gives staged data the mark of its session, if the filesystem keeps one,
// and reports whether it has it. Why it could not be set does not matter: what counts is
// what can be read back.
func (s *Sink) mark(f *os.File, id session.ID) (bool, error) {
	mark, err := markOf(f)
	if err != nil || mark == string(id) || s.unmarked {
		return mark == string(id), err
	}
	_ = onDescriptor(f, func(fd int) error { return unix.Fsetxattr(fd, markName, []byte(id), 0) })
	mark, err = markOf(f)
	return mark == string(id), err
}

const (
	// tickPause is how often passTick looks at the volume's clock.
	tickPause = 2 * time.Millisecond
	// longestTick is how long a tick of a volume's clock takes at most.
	longestTick = 10 * time.Second
)

// passTick returns once the volume's clock shows a later time than that of the
// data's last write. Data without a mark is not published before: a session
// whose data gets the same inode later, because this object is gone by then, is
// then written at another time. Where that clock went back the data is written now.
func (s *Sink) passTick(ctx context.Context, h *handle) error {
	clock, err := openOrCreate(h.dir, tickName)
	if err != nil {
		return err
	}
	defer release(clock)
	for waited := time.Duration(0); waited < longestTick; waited += tickPause {
		now, err := touch(clock)
		if err != nil {
			return err
		}
		info, err := h.data.Stat()
		if err != nil {
			return err
		}
		if info.ModTime().Before(now) {
			return removeFile(h.dir, tickName)
		}
		if info.ModTime().After(now) {
			if _, err := touch(h.data); err != nil {
				return err
			}
		}
		select {
		case <-time.After(tickPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the volume's clock shows the same time for %s", longestTick)
}

// touch makes a file one that was written now, by the volume's clock, and returns that time.
func touch(f *os.File) (time.Time, error) {
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	err := onDescriptor(f, func(fd int) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), now, 0)
	})
	if err != nil {
		return time.Time{}, &fs.PathError{Op: "utimensat", Path: f.Name(), Err: err}
	}
	info, err := f.Stat()
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}
