package forward

import (
	"errors"
	"io"
	"time"
)

// errStalled is why a request ended in which no byte moved.
var errStalled = errors.New("no byte moved for too long")

// watch ends a request in which nothing moves, on whichever side.
type watch struct {
	timer *time.Timer
	stall time.Duration
}

func newWatch(stall time.Duration, end func()) *watch {
	return &watch{timer: time.AfterFunc(stall, end), stall: stall}
}

// moved takes note that something moved. It may be called at any time.
func (w *watch) moved() { w.timer.Reset(w.stall) }

func (w *watch) stop() { w.timer.Stop() }

// watchedBody tells a watch of each read.
type watchedBody struct {
	io.ReadCloser
	watch *watch
}

// Read reads.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.watch.moved()
	return n, err
}
