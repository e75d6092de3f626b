package file

import (
	"errors"
	"fmt"
	"slices"
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

// unusable is what the kernel says of a name itself, whoever asks and whenever. That somebody may not
// do something, as after a change of permissions or a server's restart, is no such thing: it may pass.
var unusable = []error{
	unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EILSEQ,
	unix.EINVAL, // a character that the filesystem refuses
	unix.EXDEV,  // another filesystem is mounted on a parent
}

// ofName adds to the error of a step that does nothing but look up, make or give a public name what it says of that
// name: ErrUnusableName, where it says anything. The same error of another step, such as a sync, says nothing of it.
func ofName(err error) error {
	if errors.Is(err, session.ErrUnusableName) {
		return err
	}
	if slices.ContainsFunc(unusable, func(one error) bool { return errors.Is(err, one) }) {
		return fmt.Errorf("%w: %w", session.ErrUnusableName, err)
	}
	return err
}

// failure says what failed and wraps both its meaning and its cause; nil for nil.
func failure(doing string, err error) error {
	if err == nil {
		return nil
	}
	for _, m := range meanings {
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
