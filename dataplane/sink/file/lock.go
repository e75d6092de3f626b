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

// acquire takes the volume's lock. It is held until the file is closed, by the
// kernel at the latest when the process dies.
func acquire(staging *os.Root) (_ *os.File, err error) {
	f, err := openOrCreate(staging, lockName)
	if err != nil {
		return nil, refusal("the lock can't be opened", err)
	}
	defer func() {
		if err != nil {
			release(f)
		}
	}()
	err = onDescriptor(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, holder(f))
	}
	if err != nil {
		_ = staging.Remove(lockName) // where nobody can lock it nobody has
		return nil, refusal("it can't be locked", err)
	}
	// An Open that refused the volume may have removed the file before it was locked here.
	if err := stillNamed(staging, lockName, f); err != nil {
		return nil, fmt.Errorf("%w: its lock was replaced meanwhile: %w", ErrLocked, err)
	}
	leaveNote(f)
	return f, nil
}

// leaveNote tells who holds the lock. It only helps people, so that a full volume may refuse it.
func leaveNote(f *os.File) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	note := fmt.Sprintf("process %d on %s since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
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
