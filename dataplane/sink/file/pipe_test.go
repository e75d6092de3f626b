package file_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAPipeThatComesAndGoesHoldsNobodyUp has a pipe take the place of an object
// between the look at it and its opening, sooner or later.
func TestAPipeThatComesAndGoesHoldsNobodyUp(t *testing.T) {
	dir := t.TempDir()
	sink := mustOpen(t, dir)
	object, pipe := filepath.Join(dir, "object"), filepath.Join(dir, "pipe")
	must(t, os.WriteFile(object, []byte("object"), 0o600))
	must(t, unix.Mkfifo(pipe, 0o600))

	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, object, unix.AT_FDCWD, pipe, unix.RENAME_EXCHANGE); err != nil {
				stopped <- err
				return
			}
		}
	}()
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		for range 2000 {
			o, err := sink.OpenObject(background, "object")
			if err == nil {
				_ = o.Close()
			}
		}
	}()
	select {
	case <-opened:
	case <-time.After(time.Minute):
		t.Error("somebody waits for the other end of a pipe")
	}
	close(stop)
	must(t, <-stopped)
}
