package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The lock on names is tried again after so long, at first and at last.
const (
	firstNamingPause = time.Millisecond
	lastNamingPause  = 50 * time.Millisecond
)

// lockNames keeps every replica from taking a public name away (unix.LOCK_SH),
// or from giving or taking one (unix.LOCK_EX), until unlock is called. It waits
// for as long as the context lets it: another machine may hold the lock.
func (s *Sink) lockNames(ctx context.Context, how int) (unlock func(), err error) {
	// The kernel's lock belongs to an open file, so each caller opens its own.
	for pause := firstNamingPause; ; pause = min(2*pause, lastNamingPause) {
		f, err := s.tryNames(how)
		if isFull(err) {
			return nil, failure("lock public names", err)
		}
		if err != nil {
			return nil, fmt.Errorf("lock public names: %v", err) //nolint:errorlint // the cause says nothing of the name
		}
		if f != nil {
			return func() { release(f) }, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// makeNames makes the file that lockNames locks, so that a full volume can't be in the way later.
func (s *Sink) makeNames() error {
	f, err := openOrCreate(s.reserved, namesName)
	if err == nil {
		release(f)
	}
	return err
}

// tryNames returns the locked file; nil where somebody else has the lock, or had it removed.
func (s *Sink) tryNames(how int) (*os.File, error) {
	f, err := openOrCreate(s.reserved, namesName)
	if err != nil {
		return nil, err
	}
	err = onDescriptor(f, func(fd int) error { return unix.Flock(fd, how|unix.LOCK_NB) })
	if err == nil && stillNamed(s.reserved, namesName, f) == nil {
		return f, nil
	}
	release(f)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = nil
	}
	return nil, err
}
