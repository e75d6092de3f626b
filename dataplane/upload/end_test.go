package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestCancelEndsAnUpload(t *testing.T) {
	for _, reason := range []upload.Reason{upload.Cancelled, upload.Deleted, upload.ClientAborted} {
		r := newRig(t)
		g := grant("id")
		r.accept(g)
		if _, err := r.put(g, 0, content(1, 25)); err != nil {
			t.Fatal(err)
		}
		for _, again := range []string{"enough", "another message"} {
			st, err := r.Cancel(r.ctx, "id", reason, again)
			if err != nil || st.Result.Reason != reason || st.Result.Message != "enough" || st.Meta.State != session.Aborted {
				t.Errorf("%s: %+v, %v", reason, st.Result, err)
			}
			r.expectEnd("id", reason)
			r.crash()
		}
		r.expectNothingUnder(g.Key)
	}
	r := newRig(t)
	_, err := r.Cancel(r.ctx, "id", upload.Cancelled, "")
	expect(t, "what is not known", err, session.ErrNotFound)
}

func TestAClientAborts(t *testing.T) {
	r := newRig(t)
	g := grant("id", explicit)
	r.accept(g)
	for range 2 {
		if err := r.Abort(r.ctx, g.Name); err != nil {
			t.Errorf("abort: %v", err)
		}
		r.expectEnd("id", upload.ClientAborted)
		_, err := r.put(g, 0, content(1, 25))
		expect(t, "a chunk", err, session.ErrEnded)
		_, err = r.Complete(r.ctx, g.Name, "")
		expect(t, "complete", err, session.ErrEnded)
		r.crash()
	}
	published := grant("published", named("published"))
	r.accept(published)
	r.send(published, content(1, 25))
	r.expectPublished(published, content(1, 25))
	err := r.Abort(r.ctx, published.Name)
	var ended *session.EndedError
	if !errors.As(err, &ended) || ended.Meta.State != session.Finished {
		t.Errorf("abort of what is published: %v", err)
	}
	r.expectPublished(published, content(1, 25))
}

func TestForgetLeavesTheObjectOnly(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	active, published, aborted := grant("active", named("active")), grant("published", named("published")), grant("aborted", named("aborted"))
	for _, g := range []upload.Grant{active, published, aborted} {
		r.accept(g)
	}
	if _, err := r.put(active, 0, object); err != nil {
		t.Fatal(err)
	}
	r.send(published, object)
	r.expectPublished(published, object)
	if err := r.Abort(r.ctx, aborted.Name); err != nil {
		t.Fatal(err)
	}
	for _, g := range []upload.Grant{active, published, aborted} {
		for range 2 {
			if err := r.Forget(r.ctx, g.ID); err != nil {
				t.Errorf("forget %s: %v", g.ID, err)
			}
		}
		_, err := r.Known(g.ID)
		expect(t, "the upload", err, session.ErrNotFound)
	}
	if err := r.Forget(r.ctx, "never-known"); err != nil {
		t.Errorf("forget what was never known: %v", err)
	}
	left, err := filepath.Glob(r.path(".slipway/models-0.replica/[a-z0-9]*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if !bytes.Equal(r.under(published.Key), object) {
		t.Error("the object changed")
	}
	r.crash()
	if all := r.All(); len(all) != 0 {
		t.Errorf("after a restart known are %v", all)
	}
	again := grant("again", named("active"))
	r.accept(again)
}

func TestForgetIsTriedAgainAfterAFailure(t *testing.T) {
	for _, method := range []string{"SaveRecord", "Free", "Remove"} {
		r := newRig(t)
		r.accept(grant("id"))
		r.volume.fail(method, 1)
		expect(t, "the first time", r.Forget(r.ctx, "id"), errBroken)
		if err := r.Forget(r.ctx, "id"); err != nil {
			t.Errorf("the second time: %v", err)
		}
		_, err := r.Known("id")
		expect(t, "the upload", err, session.ErrNotFound)
		_, err = r.Find(grant("").Name)
		expect(t, "its name", err, session.ErrNotFound)
	}
}

func TestManyForgetOneUpload(t *testing.T) {
	for range 10 {
		r := newRig(t)
		g := grant("id")
		r.accept(g)
		var forgetting sync.WaitGroup
		for range 8 {
			forgetting.Go(func() {
				if err := r.Forget(r.ctx, "id"); err != nil {
					t.Errorf("forget: %v", err)
				}
			})
		}
		forgetting.Wait()
		_, err := r.Known("id")
		expect(t, "the upload", err, session.ErrNotFound)
	}
}

func TestUploadsRunIntoTheirTimeouts(t *testing.T) {
	for _, test := range []struct {
		what   string
		change func(*upload.Grant)
		want   upload.Reason
		says   string
	}{
		{"idle", func(g *upload.Grant) { g.IdleTimeout = time.Hour }, upload.IdleTimeout, "1h0m0s"},
		{"deadline", func(g *upload.Grant) {
			g.Deadline = time.Date(2026, time.March, 1, 13, 0, 0, 0, time.UTC)
		}, upload.DeadlineExceeded, "2026-03-01T13:00:00Z"},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", test.change)
			r.accept(g)
			r.clock.Advance(time.Hour - 1)
			if err := r.Tend(r.ctx); err != nil {
				t.Fatal(err)
			}
			if st := r.known("id"); st.Result != nil {
				t.Errorf("too early: %+v", st.Result)
			}
			r.clock.Advance(1)
			if err := r.Tend(r.ctx); err != nil {
				t.Fatal(err)
			}
			st := r.expectEnd("id", test.want)
			if st.Meta.State != session.Expired || !strings.Contains(st.Result.Message, test.says) {
				t.Errorf("it is %s: %s", st.Meta.State, st.Result.Message)
			}
		})
	}
}

func TestRunTends(t *testing.T) {
	r := newRig(t)
	r.accept(grant("id", func(g *upload.Grant) { g.IdleTimeout = time.Hour }))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		r.Run(ctx)
		close(done)
	}()
	receive(t, "the first round", r.clock.set)
	r.clock.Advance(time.Hour)
	r.expectEnd("id", upload.IdleTimeout)
	cancel()
	receive(t, "the end of Run", done)
}

func TestTendSettlesWhatEndedWhileTheVolumeFailed(t *testing.T) {
	object := content(1, 25)
	for _, method := range []string{"SaveRecord", "Free"} {
		for _, test := range []struct {
			what string
			end  func(r *rig, g upload.Grant) error
			want upload.Reason
		}{
			{"canceled", func(r *rig, g upload.Grant) error {
				_, err := r.Cancel(r.ctx, g.ID, upload.Cancelled, "")
				return err
			}, upload.Cancelled},
			{"expired", func(r *rig, _ upload.Grant) error {
				r.clock.Advance(time.Hour)
				return r.Tend(r.ctx)
			}, upload.IdleTimeout},
			{"published", func(r *rig, g upload.Grant) error {
				r.send(g, object)
				if _, err := r.Complete(r.ctx, g.Name, ""); err != nil {
					return err
				}
				return errBroken // nobody is told, because the object is published durably
			}, upload.Published},
		} {
			t.Run(test.what+", "+method+" fails", func(t *testing.T) {
				r := newRig(t)
				g := grant("id", explicit, func(g *upload.Grant) { g.IdleTimeout = time.Hour })
				r.accept(g)
				r.volume.fail(method, forEver)
				expect(t, "the end", test.end(r, g), errBroken)
				if st := r.known("id"); st.Result == nil || st.Result.Reason != test.want || st.Meta.Settled {
					t.Errorf("it ended as %+v, settled %v", st.Result, st.Meta.Settled)
				}
				if st, err := r.Status(r.ctx, g.Name); err != nil || (st.Result != nil) != (method == "Free") {
					t.Errorf("told is %+v, %v: an end is told once it is durable, whether or not the bytes are freed", st.Result, err)
				}
				expect(t, "tend while it still fails", r.Tend(r.ctx), errBroken)
				r.volume.heal()
				for range 2 {
					if err := r.Tend(r.ctx); err != nil {
						t.Errorf("tend: %v", err)
					}
					r.expectEnd("id", test.want)
				}
				r.crash()
				r.expectEnd("id", test.want)
			})
		}
	}
}

// The process dies after the object appeared and before the volume says that
// the upload ended.
func TestAPublicationThatWasCutShortIsFinished(t *testing.T) {
	object := content(1, 25)
	for _, test := range []struct {
		what  string
		way   func(*upload.Grant)
		after func(r *rig) // the restart, at once
	}{
		{"automatic", func(*upload.Grant) {}, func(*rig) {}},
		{"explicit", explicit, func(*rig) {}},
		{"replacing", replace, func(*rig) {}},
		{"its deadline has passed", func(g *upload.Grant) {
			g.Deadline = time.Date(2026, time.March, 1, 13, 0, 0, 0, time.UTC)
		}, func(r *rig) {
			if err := r.Tend(r.ctx); err != nil {
				r.tb.Error(err)
			}
		}},
		{"it is canceled", explicit, func(r *rig) {
			if _, err := r.Cancel(r.ctx, "id", upload.Cancelled, "enough"); err != nil {
				r.tb.Error(err)
			}
		}},
		{"it is suspended", explicit, func(r *rig) { r.accept(grant("id", explicit, func(g *upload.Grant) { g.Suspended = true })) }},
	} {
		t.Run(test.what, func(t *testing.T) {
			for range 5 {
				r := newRig(t)
				g := grant("id", test.way, withDigest(""))
				r.accept(g)
				saving := r.volume.hold("SaveRecord")
				r.send(g, object)
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = r.Complete(r.ctx, g.Name, "") // nobody learns how it ended
				}()
				receive(t, "the record", saving.arrived)
				before, err := os.Stat(r.path(g.Key))
				if err != nil {
					t.Fatalf("the object is not there: %v", err)
				}
				r.volume.cut()
				saving.open()
				receive(t, "the end", done)
				r.crashed()
				r.clock.Advance(2 * time.Hour)

				r.start()
				test.after(r)
				r.expectPublished(g, object)
				after, err := os.Stat(r.path(g.Key))
				if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
					t.Errorf("the object was touched: %v", err)
				}
			}
		})
	}
}

func TestWhatWasCompleteIsPublishedAfterARestart(t *testing.T) {
	object := content(1, 25)
	for _, way := range []string{"automatic", "explicit"} {
		t.Run(way, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", func(g *upload.Grant) { g.Explicit = way == "explicit" })
			r.accept(g)
			r.volume.fail("Publish", forEver)
			r.send(g, object)
			r.crash()
			if !g.Explicit {
				r.expectPublished(g, object)
				return
			}
			if err := r.Tend(r.ctx); err != nil {
				t.Fatal(err)
			}
			if st := r.known("id"); st.Meta.State != session.Open {
				t.Errorf("it is %s before anybody asked", st.Meta.State)
			}
			r.expectNothingUnder(g.Key)
			if _, err := r.Complete(r.ctx, g.Name, ""); err != nil {
				t.Fatal(err)
			}
			r.expectPublished(g, object)
		})
	}
}

func TestUploadsGoOnAfterARestart(t *testing.T) {
	r := newRig(t)
	object := content(1, 100)
	g := grant("id", sized(100, 10), withDigest(digestOf(object)))
	r.accept(g)
	for index := range 10 {
		if index%2 == 0 {
			r.crash()
		}
		if added, err := r.put(g, index, object); err != nil || !added {
			t.Errorf("chunk %d: added %v, %v", index, added, err)
		}
	}
	r.expectPublished(g, object)
	if n := r.directory.count(); n != 0 {
		t.Errorf("the directory was asked %d times", n)
	}
}

func TestADamagedUploadDoesNotHideTheOthers(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "damaged", "z"} {
		r.accept(grant(name, named(name)))
	}
	r.crashed()
	records, err := filepath.Glob(r.path(".slipway/models-0.replica/damaged/record"))
	if err != nil || len(records) != 1 {
		t.Fatalf("records are %v, %v", records, err)
	}
	if err := os.WriteFile(records[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.tryStart(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("want an error that names it, got %v", err)
	}
	for _, name := range []string{"a", "z"} {
		if _, err := r.Find(grant("", named(name)).Name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAVolumeThatCanNotTellKeepsTheUpload(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id", explicit)
	r.accept(g)
	r.send(g, object)
	r.crashed()
	r.volume = openVolume(t, r.root)
	r.volume.fail("Published", 1)
	r.core = session.NewService(session.Config{Sink: r.volume, Clock: r.clock})
	r.Service = upload.NewService(upload.Config{Core: r.core, Publisher: r.volume, Directory: r.directory, Clock: r.clock})
	expect(t, "recover", r.Recover(r.ctx), errBroken)
	if _, err := r.Complete(r.ctx, g.Name, ""); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestNothingRunsAfterClose(t *testing.T) {
	r := newRig(t)
	for n := range 10 {
		g := grant(fmt.Sprintf("id-%d", n), named(fmt.Sprintf("up-%d", n)), sized(50, 10))
		r.accept(g)
		if n%2 == 0 {
			r.volume.fail("Publish", 1)
		}
		r.send(g, content(n, 50))
	}
	r.Close()
	var stacks string
	for range 100 {
		b := make([]byte, 1<<20)
		stacks = string(b[:runtime.Stack(b, true)])
		if !strings.Contains(stacks, "upload.(*") {
			return
		}
		runtime.Gosched() // what has told its end may still be on its way out
	}
	t.Errorf("still running:\n%s", stacks)
}

// What completion is about when the service closes is not lost.
func TestCloseCutsCompletionShort(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id")
	r.accept(g)
	publishing := r.volume.hold("Publish")
	r.send(g, object)
	receive(t, "the publication", publishing.arrived)
	var opened atomic.Bool
	go func() {
		for range 1000 {
			runtime.Gosched() // so that a Close which does not wait returns before
		}
		opened.Store(true)
		publishing.open()
	}()
	r.Close()
	if !opened.Load() {
		t.Error("Close did not wait")
	}
	r.crash()
	r.expectPublished(g, object)
}

// An end is told once it is durable: a session that somebody was told has
// ended never goes on after a crash.
func TestAnEndIsToldOnceItIsDurable(t *testing.T) {
	r := newRig(t)
	g := grant("id")
	r.accept(g)
	r.volume.fail("SaveRecord", 1)
	_, err := r.Cancel(r.ctx, "id", upload.Cancelled, "enough")
	expect(t, "cancel", err, errBroken)
	st, err := r.Status(r.ctx, g.Name)
	if err != nil || st.Meta.State != session.Sealed || st.Result != nil {
		t.Errorf("before it is durable the status is %s, %v, %v", st.Meta.State, st.Result, err)
	}
	if err := r.Tend(r.ctx); err != nil {
		t.Fatal(err)
	}
	st, err = r.Status(r.ctx, g.Name)
	if err != nil || st.Result == nil || st.Result.Reason != upload.Cancelled {
		t.Errorf("afterwards the status is %s, %v, %v", st.Meta.State, st.Result, err)
	}
}
