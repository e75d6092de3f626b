package upload_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestAcceptIsIdempotent(t *testing.T) {
	base := grant("id", explicit, func(g *upload.Grant) {
		g.Digest, g.Attributes = digestOf(nil), map[string]string{"a": "1", "b": "2"}
		g.IdleTimeout, g.Deadline = time.Hour, time.Date(2026, time.April, 1, 0, 0, 0, 0, time.UTC)
	})
	for _, test := range []struct {
		what   string
		change func(*upload.Grant)
		want   error
	}{
		{"the same", func(*upload.Grant) {}, nil},
		{"another idle timeout", func(g *upload.Grant) { g.IdleTimeout = 2 * time.Hour }, nil},
		{"no idle timeout", func(g *upload.Grant) { g.IdleTimeout = 0 }, nil},
		{"another deadline", func(g *upload.Grant) { g.Deadline = g.Deadline.Add(time.Hour) }, nil},
		{"no deadline", func(g *upload.Grant) { g.Deadline = time.Time{} }, nil},
		{"suspended", func(g *upload.Grant) { g.Suspended = true }, nil},

		{"another key", func(g *upload.Grant) { g.Key = "other" }, session.ErrConflict},
		{"another size", func(g *upload.Grant) { g.Size++ }, session.ErrConflict},
		{"another chunk size", func(g *upload.Grant) { g.ChunkSize++ }, session.ErrConflict},
		{"another digest", func(g *upload.Grant) { g.Digest = digestOf([]byte("x")) }, session.ErrConflict},
		{"no digest", func(g *upload.Grant) { g.Digest = "" }, session.ErrConflict},
		{"replacing", replace, session.ErrConflict},
		{"automatic", func(g *upload.Grant) { g.Explicit = false }, session.ErrConflict},
		{"other attributes", func(g *upload.Grant) { g.Attributes = map[string]string{"a": "1"} }, session.ErrConflict},
		{"a negative idle timeout", func(g *upload.Grant) { g.IdleTimeout = -1 }, session.ErrInvalid},
		{"a digest that is none", func(g *upload.Grant) { g.Digest = "md5:00" }, session.ErrInvalid},
		{"a key that can't be", func(g *upload.Grant) { g.Key = "../other" }, session.ErrUnusableName},
		{"another ID with the name", func(g *upload.Grant) { g.ID = "other" }, upload.ErrNameTaken},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", test.what, restart), func(t *testing.T) {
				r := newRig(t)
				r.accept(base)
				if restart {
					r.crash()
				}
				again := base
				again.Attributes = maps.Clone(base.Attributes)
				test.change(&again)
				st, err := r.Accept(r.ctx, again)
				expect(t, "again", err, test.want)
				if err != nil {
					again = base
					st = r.known("id")
				}
				for range 2 {
					g := st.Grant
					if g.ID != again.ID || g.Name != again.Name || g.Key != again.Key || g.Size != again.Size || g.ChunkSize != again.ChunkSize ||
						g.Digest != again.Digest || g.Replace != again.Replace || g.Explicit != again.Explicit ||
						!maps.Equal(g.Attributes, again.Attributes) || g.IdleTimeout != again.IdleTimeout ||
						!g.Deadline.Equal(again.Deadline) || g.Suspended != again.Suspended || st.Result != nil {
						t.Errorf("want %+v\ngot %+v", again, st)
					}
					r.crash()
					st = r.known("id")
				}
				if all := r.All(); !slices.Equal(all, []session.ID{"id"}) {
					t.Errorf("known are %v", all)
				}
			})
		}
	}
}

func TestWhatCanNotBeGrantedLeavesNothing(t *testing.T) {
	for _, test := range []struct {
		what   string
		change func(*upload.Grant)
		want   error
	}{
		{"no key", func(g *upload.Grant) { g.Key = "" }, session.ErrUnusableName},
		{"a key out of the store", func(g *upload.Grant) { g.Key = "a/../../b" }, session.ErrUnusableName},
		{"the key of what is staged", func(g *upload.Grant) { g.Key = ".slipway/x" }, session.ErrUnusableName},
		{"no ID", func(g *upload.Grant) { g.ID = "" }, session.ErrInvalid},
		{"no chunk size", func(g *upload.Grant) { g.ChunkSize = 0 }, session.ErrInvalid},
		{"attributes too large", func(g *upload.Grant) {
			g.Attributes = map[string]string{"a": strings.Repeat("x", session.MaxPayload)}
		}, session.ErrInvalid},
		{"no room", sized(session.MaxSize, session.MaxSize), session.ErrNoSpace},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			_, err := r.Accept(r.ctx, grant("id", test.change))
			expect(t, "accept", err, test.want)
			if all := r.All(); len(all) != 0 {
				t.Errorf("known are %v", all)
			}
			r.accept(grant("other")) // its name is free
		})
	}
}

func TestAFailureToAcceptGivesTheNameBack(t *testing.T) {
	r := newRig(t)
	r.volume.fail("Create", 1)
	_, err := r.Accept(r.ctx, grant("first"))
	expect(t, "while the volume fails", err, errBroken)
	_, err = r.Find(grant("first").Name)
	expect(t, "by its name", err, session.ErrNotFound)
	r.accept(grant("second"))
	_, err = r.Accept(r.ctx, grant("first"))
	var taken *upload.NameTakenError
	if !errors.As(err, &taken) || taken.ID != "second" || taken.Name != grant("").Name {
		t.Errorf("want to be told that second has the name, got %v", err)
	}
}

func TestManyAcceptOneGrant(t *testing.T) {
	r := newRig(t)
	var accepting sync.WaitGroup
	for range 20 {
		accepting.Go(func() {
			if st, err := r.Accept(r.ctx, grant("id")); err != nil || st.Meta.ID != "id" {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
	accepting.Wait()
	if n := r.volume.count("Create"); n != 1 {
		t.Errorf("%d sessions were created", n)
	}
}

func TestSuspendedUploadsTakeNoChunk(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id", func(g *upload.Grant) { g.Suspended, g.IdleTimeout = true, time.Hour })
	r.accept(g)
	_, err := r.put(g, 0, object)
	expect(t, "a chunk", err, session.ErrPaused)
	r.clock.Advance(24 * time.Hour)
	if err := r.Tend(r.ctx); err != nil {
		t.Fatal(err)
	}
	g.Suspended = false
	r.accept(g)
	if st := r.known("id"); st.Grant.Suspended || st.Result != nil {
		t.Errorf("after it was resumed: %+v", st)
	}
	r.send(g, object)
	r.expectPublished(g, object)
}

// What is suspended is not published, even when its last chunk arrives.
func TestASuspendedUploadIsPublishedWhenItIsResumed(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id")
	r.accept(g)
	for _, index := range []int{0, 1} {
		if _, err := r.put(g, index, object); err != nil {
			t.Fatal(err)
		}
	}
	storing := r.volume.hold("Commit")
	last := make(chan error, 1)
	go func() {
		_, err := r.put(g, 2, object)
		last <- err
	}()
	receive(t, "the commit", storing.arrived)
	g.Suspended = true
	r.accept(g)
	storing.open()
	expect(t, "the last chunk", receive(t, "its end", last), nil)
	if err := r.Tend(r.ctx); err != nil {
		t.Fatal(err)
	}
	_, err := r.Complete(r.ctx, g.Name, "")
	expect(t, "complete", err, session.ErrPaused)
	if st := r.known("id"); st.Meta.State != session.Open || !st.Meta.Complete() {
		t.Errorf("while it is suspended it is %s", st.Meta.State)
	}
	r.expectNothingUnder(g.Key)
	g.Suspended = false
	r.accept(g)
	r.expectPublished(g, object)
}

func TestKeysThatCanNotBePublishedUnderEndTheUploadEarly(t *testing.T) {
	for _, test := range []struct {
		what  string
		key   string
		there string // a file that is there, or with a slash at its end a directory
		also  func(*upload.Grant)
		want  upload.Reason
	}{
		{"an object is there", "dir/object", "dir/object", explicit, upload.KeyExists},
		{"an object is there, to be replaced", "dir/object", "dir/object", replace, ""},
		{"a directory is there", "dir/object", "dir/object/", explicit, upload.KeyUnusable},
		{"a directory is there, to be replaced", "dir/object", "dir/object/", replace, upload.KeyUnusable},
		{"a parent is an object", "dir/object", "dir", explicit, upload.KeyUnusable},
		{"a parent is an object, to be replaced", "dir/object", "dir", replace, upload.KeyUnusable},
		{"the parent is there", "dir/object", "dir/", explicit, ""},
		{"another object is there", "dir/object", "dir/objects", explicit, ""},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			if strings.HasSuffix(test.there, "/") {
				if err := os.MkdirAll(r.path(test.there), 0o755); err != nil {
					t.Fatal(err)
				}
			} else {
				r.place(test.there, "there before")
			}
			g := grant("id", test.also)
			st := r.accept(g)
			for range 2 {
				if test.want == "" {
					if st.Result != nil {
						t.Errorf("it ended: %+v", st.Result)
					}
					if added, err := r.put(g, 0, content(1, 25)); err != nil {
						t.Errorf("a chunk: added %v, %v", added, err)
					}
				} else {
					if st.Result == nil || st.Result.Reason != test.want || st.Meta.State != session.Failed ||
						!strings.Contains(st.Result.Message, test.key) {
						t.Errorf("want %s, got %+v in state %s", test.want, st.Result, st.Meta.State)
					}
					_, err := r.put(g, 0, content(1, 25))
					expect(t, "a chunk", err, session.ErrEnded)
					_, err = r.Complete(r.ctx, g.Name, "")
					expect(t, "complete", err, session.ErrEnded)
				}
				r.crash()
				st = r.accept(g)
			}
			if !strings.HasSuffix(test.there, "/") && string(r.under(test.there)) != "there before" {
				t.Error("what was there changed")
			}
		})
	}
}

func TestTheDirectoryIsAskedOnceForAName(t *testing.T) {
	const callers = 50
	r := newRig(t)
	g := grant("id")
	let := make(chan struct{})
	asked := make(chan struct{})
	r.directory.set(g.Name, func(context.Context) (upload.Grant, error) {
		close(asked)
		<-let
		return g, nil
	})
	var calling sync.WaitGroup
	for caller := range callers {
		calling.Go(func() {
			var err error
			switch caller % 3 {
			case 0:
				_, err = r.Status(r.ctx, g.Name)
			case 1:
				if _, err = r.Complete(r.ctx, g.Name, ""); errors.Is(err, session.ErrIncomplete) {
					err = nil
				}
			case 2:
				_, err = r.put(g, 0, content(1, 25))
			}
			if err != nil {
				t.Errorf("caller %d: %v", caller, err)
			}
		})
	}
	receive(t, "the question", asked)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Status(impatient, g.Name)
	expect(t, "who does not wait", err, context.Canceled)
	close(let)
	calling.Wait()
	if n := r.directory.count(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// What one caller asks serves others, so it does not end when that caller goes.
func TestTheQuestionOutlivesWhoAsked(t *testing.T) {
	r := newRig(t)
	g := grant("id")
	asked, let := make(chan struct{}), make(chan struct{})
	r.directory.set(g.Name, func(ctx context.Context) (upload.Grant, error) {
		close(asked)
		<-let
		return g, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := r.Status(ctx, g.Name)
		first <- err
	}()
	receive(t, "the question", asked)
	go func() {
		_, err := r.Status(r.ctx, g.Name)
		second <- err
	}()
	cancel()
	close(let)
	if err := receive(t, "the first", first); err != nil {
		expect(t, "the first", err, context.Canceled)
	}
	expect(t, "the second", receive(t, "its answer", second), nil)
}

func TestAQuestionEndsWithTheService(t *testing.T) {
	r := newRig(t)
	g := grant("id")
	asked := make(chan struct{})
	r.directory.set(g.Name, func(ctx context.Context) (upload.Grant, error) {
		close(asked)
		<-ctx.Done()
		return upload.Grant{}, ctx.Err()
	})
	done := make(chan error, 1)
	go func() {
		_, err := r.Status(r.ctx, g.Name)
		done <- err
	}()
	receive(t, "the question", asked)
	r.Close()
	expect(t, "the question", receive(t, "its end", done), context.Canceled)
}

func TestWhatTheDirectorySaysPasses(t *testing.T) {
	name := grant("").Name
	for _, says := range []error{upload.ErrUnknown, upload.ErrNotReady, upload.ErrElsewhere, upload.ErrUnavailable} {
		r := newRig(t)
		r.directory.set(name, func(context.Context) (upload.Grant, error) { return upload.Grant{}, says })
		for what, call := range map[string]func() error{
			"PutChunk": func() error { _, err := r.put(grant(""), 0, content(1, 25)); return err },
			"Status":   func() error { _, err := r.Status(r.ctx, name); return err },
			"Complete": func() error { _, err := r.Complete(r.ctx, name, ""); return err },
			"Abort":    func() error { return r.Abort(r.ctx, name) },
			"Open":     func() error { _, _, err := r.Open(r.ctx, name); return err },
		} {
			asked := r.directory.count()
			err := call()
			expect(t, what, err, says)
			if err == nil || !strings.Contains(err.Error(), name.String()) {
				t.Errorf("%s does not say whose: %v", what, err)
			}
			if n := r.directory.count() - asked; n != 1 {
				t.Errorf("%s asked %d times", what, n)
			}
		}
		r.directory.grant(grant("id"))
		if _, err := r.put(grant("id"), 0, content(1, 25)); err != nil {
			t.Errorf("once it is granted: %v", err)
		}
	}
}

// The name of a deleted upload may belong to another by now, and only the
// directory knows.
func TestTheNameOfADeletedUploadIsAskedForAnew(t *testing.T) {
	for what, remove := range map[string]func(r *rig) error{
		"deleted":   func(r *rig) error { _, err := r.Cancel(r.ctx, "first", upload.Deleted, ""); return err },
		"forgotten": func(r *rig) error { return r.Forget(r.ctx, "first") },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			first, second := grant("first"), grant("second", sized(10, 10))
			r.accept(first)
			if _, err := r.put(first, 0, content(1, 25)); err != nil {
				t.Fatal(err)
			}
			if err := remove(r); err != nil {
				t.Fatal(err)
			}
			_, err := r.Status(r.ctx, first.Name)
			expect(t, "the name", err, upload.ErrUnknown)
			r.directory.grant(second)
			r.send(second, content(2, 10))
			r.expectPublished(second, content(2, 10))
			if n := r.directory.count(); n != 2 {
				t.Errorf("the directory was asked %d times", n)
			}
			_, err = r.Known("first")
			expect(t, "the first", err, session.ErrNotFound)
			left, err := filepath.Glob(r.path(".slipway/first*"))
			if err != nil || len(left) != 0 {
				t.Errorf("of the first is left %v, %v", left, err)
			}
		})
	}
}

func TestANameIsFoundWithoutAsking(t *testing.T) {
	r := newRig(t)
	_, err := r.Find(grant("").Name)
	expect(t, "before", err, session.ErrNotFound)
	r.accept(grant("id"))
	for range 2 {
		if st, err := r.Find(grant("").Name); err != nil || st.Meta.ID != "id" {
			t.Errorf("found %s, %v", st.Meta.ID, err)
		}
		if n := r.directory.count(); n != 0 {
			t.Errorf("the directory was asked %d times", n)
		}
		r.crash()
	}
	if err := r.Forget(r.ctx, "id"); err != nil {
		t.Fatal(err)
	}
	_, err = r.Find(grant("").Name)
	expect(t, "afterwards", err, session.ErrNotFound)
}

// Calls about one upload leave alone whatever has its name by now.
func TestOnlyKeepsAwayFromNamesakes(t *testing.T) {
	r := newRig(t)
	first := grant("first", explicit)
	r.accept(first)
	mine := upload.Only(r.ctx, "first")
	if _, err := r.Status(mine, first.Name); err != nil {
		t.Fatal(err)
	}
	if err := r.Abort(r.ctx, first.Name); err != nil {
		t.Fatal(err)
	}
	if err := r.Forget(r.ctx, "first"); err != nil {
		t.Fatal(err)
	}
	second := first
	second.ID = "second"
	r.accept(second)
	object := content(1, second.Size)
	_, err := r.Status(mine, second.Name)
	expect(t, "status", err, upload.ErrUnknown)
	_, err = r.PutChunk(mine, second.Name, incoming(second, 0, object))
	expect(t, "a chunk", err, upload.ErrUnknown)
	_, err = r.Complete(mine, second.Name, "")
	expect(t, "completion", err, upload.ErrUnknown)
	_, _, err = r.Open(mine, second.Name)
	expect(t, "the object", err, upload.ErrUnknown)
	expect(t, "abort", r.Abort(mine, second.Name), upload.ErrUnknown)
	if st := r.known("second"); st.Meta.HeldChunks != 0 || st.Meta.State.Ended() {
		t.Errorf("the namesake became %+v", st.Meta)
	}
}
