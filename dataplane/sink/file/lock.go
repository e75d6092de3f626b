package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxHolder bounds what is read of the note that a lock's holder leaves.
const maxHolder = 256

// sweepNote begins the note of a lock that is held for a moment only, to sweep. Notes are for people: there
// is a moment after a lock is taken when it has none, or the last one's.
const sweepNote = "a sweep by "

// A replica that starts while it is being swept waits so long for that to end,
// and looks so often.
const (
	sweepPatience = 30 * time.Second
	sweepLook     = 20 * time.Millisecond
)

// acquire takes the lock of a directory, for itself (unix.LOCK_EX) or together
// with others (unix.LOCK_SH). It is held until the file is closed, by the
// kernel at the latest when the process dies. ErrLocked with the holder's note.
func acquire(dir *os.Root, how int, note string) (_ *os.File, err error) {
	f, err := openOrCreate(dir, lockName)
	if err != nil {
		return nil, refusal("the lock can't be opened", err)
	}
	defer func() {
		if err != nil {
			release(f)
		}
	}()
	err = onDescriptor(f, func(fd int) error { return unix.Flock(fd, how|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &lockedError{holder(f)}
	}
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		_ = dir.Remove(lockName) // where nobody can lock it nobody has
	}
	if err != nil {
		return nil, refusal("it can't be locked", err)
	}
	// An Open that refused the volume may have removed the file before it was locked here.
	if err := stillNamed(dir, lockName, f); err != nil {
		return nil, fmt.Errorf("%w: its lock was replaced meanwhile: %w", ErrLocked, err)
	}
	leaveNote(f, note)
	return f, nil
}

// A process that runs a replica has .lock of its area for as long as it lives; one that sweeps it has
// that for a moment, and .sweep before and after. So whoever has .sweep and can't get .lock knows that a
// process runs the replica, and whoever can't get .sweep only waits.

// acquirePatiently takes the lock of a replica's own directory, and waits where
// another replica holds it to sweep.
func acquirePatiently(dir *os.Root, note string) (*os.File, error) {
	for end := time.Now().Add(sweepPatience); ; time.Sleep(sweepLook) {
		f, err := acquire(dir, unix.LOCK_EX, note)
		if !errors.Is(err, ErrLocked) {
			return f, err
		}
		sweep, sweepErr := lockSweep(dir)
		if sweepErr == nil {
			f, err = acquire(dir, unix.LOCK_EX, note)
			release(sweep)
			return f, err
		}
		if !errors.Is(sweepErr, ErrLocked) || time.Now().After(end) {
			return nil, err
		}
	}
}

// acquireToSweep takes the lock of another replica's directory, and letGo gives it back. ErrLocked
// where a process runs that replica, starts to, or sweeps it as well.
func acquireToSweep(dir *os.Root, note string) (letGo func() error, err error) {
	sweep, err := lockSweep(dir)
	if err != nil && !isFull(err) { // on a full volume it is better to sweep than to be polite
		return nil, err
	}
	lock, err := acquire(dir, unix.LOCK_EX, note)
	if err != nil {
		if sweep != nil {
			release(sweep)
		}
		return nil, err
	}
	return func() error {
		err := lock.Close()
		if sweep != nil {
			release(sweep)
		}
		return err
	}, nil
}

// lockSweep opens and locks the file that is locked around every lock to sweep. ErrLocked where somebody has it.
func lockSweep(dir *os.Root) (*os.File, error) {
	f, err := openOrCreate(dir, sweepName)
	if err != nil {
		return nil, err
	}
	err = onDescriptor(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		release(f)
		return nil, err
	}
	return f, nil
}

// lockedError is ErrLocked with the holder's note.
type lockedError struct{ holder string }

// Error says who has the lock.
func (e *lockedError) Error() string { return fmt.Sprintf("%s: %s", ErrLocked, e.holder) }

// Is makes the error an ErrLocked.
func (e *lockedError) Is(target error) bool { return target == ErrLocked }

// processNote tells which process holds a lock.
func processNote(replica string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("process %d on %s, replica %s, since %s\n", os.Getpid(), host, replica, time.Now().UTC().Format(time.RFC3339))
}

// leaveNote tells who holds the lock. It only helps people, so that a full volume may refuse it.
func leaveNote(f *os.File, note string) {
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(note), 0)
	}
}

func holder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxHolder))
	if note := strings.TrimSpace(string(b)); err == nil && note != "" {
		return note
	}
	return "by a process that left no note"
}
