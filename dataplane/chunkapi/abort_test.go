package chunkapi

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
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

// What was aborted already is aborted, whoever did it and wherever it was held.
func TestAbortOfWhatWasCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.accepted("cancelled", 4, 4)
	st, err := w.uploads.Status(t.Context(), upload.Name{Namespace: "ml", Name: "cancelled"})
	if err == nil {
		_, err = w.uploads.Cancel(t.Context(), st.Meta.ID, upload.Cancelled, "desiredState is Cancelled")
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, state := range map[string]session.State{"over": session.Aborted, "late": session.Expired} {
		w.directory.set(upload.Name{Namespace: "ml", Name: name}, &session.EndedError{Meta: session.Meta{ID: session.ID("uid-" + name), State: state}})
	}
	for range 2 {
		w.do(http.MethodDelete, base("cancelled"), nil).want(t, http.StatusNoContent)
		w.do(http.MethodDelete, base("over"), nil).want(t, http.StatusNoContent)
	}
	if p := w.do(http.MethodDelete, base("late"), nil).want(t, http.StatusConflict).problem(t); p.Code != CodeAlreadyEnded {
		t.Errorf("what expired before it was held here: %+v", p)
	}
	if got := w.do(http.MethodGet, base("cancelled"), nil).want(t, http.StatusOK).status(t); got.Result.Reason != upload.Cancelled {
		t.Errorf("it ended by %s", got.Result.Reason)
	}
}
