package file

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// ErrLocked means that another Sink has the replica's part of the volume open. It comes with what is
// known of the holder.
var ErrLocked = errors.New("the volume is in use")

// meaning is what an error of the kernel tells the caller.
type meaning struct {
	errno syscall.Errno
	is    error
}

// meanings hold for every call.
var meanings = []meaning{
	{unix.ENOSPC, session.ErrNoSpace},
	{unix.EDQUOT, session.ErrNoSpace},
	{unix.EFBIG, session.ErrNoSpace}, // larger than the filesystem can hold in one file
	{unix.ENOENT, session.ErrNotFound},
}

// nameMeanings hold where a name is given to what is published.
var nameMeanings = append([]meaning{
	{unix.ENOTDIR, session.ErrUnusableName},
	{unix.EISDIR, session.ErrUnusableName},
	{unix.ELOOP, session.ErrUnusableName},
	{unix.ENAMETOOLONG, session.ErrUnusableName},
	{unix.EINVAL, session.ErrUnusableName}, // a character that the filesystem refuses
	{unix.EILSEQ, session.ErrUnusableName},
	{unix.EXDEV, session.ErrUnusableName}, // another filesystem is mounted on a parent
	{unix.EACCES, session.ErrUnusableName},
	{unix.EPERM, session.ErrUnusableName},
}, meanings...)

// failure says what failed and wraps both its meaning and its cause; nil for nil.
func failure(doing string, err error) error { return explain(doing, err, meanings) }

// nameFailure is failure for what concerns a public name.
func nameFailure(doing string, err error) error { return explain(doing, err, nameMeanings) }

func explain(doing string, err error, table []meaning) error {
	if err == nil {
		return nil
	}
	for _, m := range table {
		if errors.Is(err, m.errno) && !errors.Is(err, m.is) {
			return fmt.Errorf("%s: %w: %w", doing, m.is, err)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// refusal says why a volume can't be used. That it is full is no such reason.
func refusal(why string, err error) error {
	if isFull(err) {
		return failure(why, err)
	}
	return fmt.Errorf("%w: %s: %w", session.ErrUnsupported, why, err)
}

// isFull reports whether the volume, or a quota on it, had no room.
func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
