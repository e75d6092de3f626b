package rig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Watch reads what is under the keys of a volume, past the dataplane, until the
// function that it returns was called: whatever appears there is a whole object of
// one of the key's sessions, and what was told to be published stays there. A
// volume that can't be read tells nothing.
func (o *Oracle) Watch(volume fs.FS) (stop func()) {
	w := &watcher{oracle: o, volume: volume, seen: map[string]identity{}}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			w.look()
			select {
			case <-done:
				return
			case <-time.After(watchPause):
			}
		}
	})
	return sync.OnceFunc(func() { close(done); running.Wait() })
}

// watchPause leaves the cores to those who are watched.
const watchPause = 3 * time.Millisecond

type watcher struct {
	oracle *Oracle
	volume fs.FS
	seen   map[string]identity // by key, what was read and found right
}

// identity tells whether a file was looked at before.
type identity struct {
	inode   uint64
	changed time.Time
}

// lookAgain is how rarely a file is read again that did not change.
const lookAgain = 20

func (w *watcher) look() {
	for key, sessions := range w.oracle.keys() {
		// What was told before the look must be seen.
		promised := promisedOf(sessions)
		err := w.lookAt(key)
		if len(w.oracle.sessionsOf(key)) == 0 {
			continue // it was given up meanwhile
		}
		if errors.Is(err, fs.ErrNotExist) && promised != nil {
			w.oracle.Violate(promised, "it was published, and nothing is under its key")
		}
		if wrong := (*wrongObjectError)(nil); errors.As(err, &wrong) {
			w.oracle.Violate(sessions[0], "%v", wrong)
		}
	}
}

// promisedOf is a session whose object, or one that replaced it, must be under the key.
func promisedOf(sessions []*Session) *Session {
	for _, s := range sessions {
		if s.End() == upload.Published {
			return s
		}
	}
	return nil
}

func (w *watcher) lookAt(key string) error {
	f, err := w.volume.Open(key)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	now := identity{inode: info.Sys().(*syscall.Stat_t).Ino, changed: info.ModTime()} //nolint:errcheck // Linux only
	if w.seen[key] == now && rand.IntN(lookAgain) > 0 {
		return nil
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	// Whoever has published it was known before.
	if err := checkWhole(key, b, w.oracle.sessionsOf(key)); err != nil {
		return err
	}
	w.seen[key] = now
	return nil
}

// wrongObjectError means that something is under a key that may never be there.
type wrongObjectError struct {
	key  string
	errs []error
}

// Error says what is there, for each session of which it is not the object.
func (e *wrongObjectError) Error() string {
	return fmt.Sprintf("what is under key %s is no whole object: %v", e.key, errors.Join(e.errs...))
}

// checkWhole returns a *wrongObjectError unless the bytes are the object of
// one of the sessions.
func checkWhole(key string, b []byte, sessions []*Session) error {
	errs := []error{fmt.Errorf("%d bytes of none of %d sessions", len(b), len(sessions))}
	for _, s := range sessions {
		err := s.CheckObject(b)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return &wrongObjectError{key, errs}
}

// ReadKey reads what is under a session's key, past the dataplane.
func (s *Session) ReadKey(volume fs.FS) ([]byte, error) { return fs.ReadFile(volume, s.Key) }
