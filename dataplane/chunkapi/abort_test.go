package chunkapi

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// An end that has begun is stored, however long that takes: only a completion is waited for no longer than that.
func TestAbortWhileTheDiskIsSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{CompleteWait: time.Millisecond}})
	abc(w)
	slow := func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
			return nil
		}
	}
	w.volume.save.Store(&slow)
	w.do(http.MethodDelete, base("abc"), nil).want(t, http.StatusNoContent)
}

// A chunk that hangs is told that the session is ending, or how it ended where
// that is durable by then, and its connection is closed.
func TestAbortWhileAChunkHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	name := abc(w)
	c := w.dial()
	c.send(http.MethodPut, chunkPath("abc", 0), 4, []byte("xx"))
	w.inFlight(name, 1)
	w.do(http.MethodDelete, base("abc"), nil).want(t, http.StatusNoContent)
	a := c.receive(http.MethodPut)
	p := a.problem(t)
	ending := a.StatusCode == http.StatusServiceUnavailable && p.Code == CodeCompleting
	ended := a.StatusCode == http.StatusGone && p.Code == CodeSessionEnded
	if !ending && !ended {
		t.Errorf("got %d %s", a.StatusCode, p.Code)
	}
	closes(t, w, a, p)
}
