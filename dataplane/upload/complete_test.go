package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestUploadsArePublishedWhole(t *testing.T) {
	for _, test := range []struct {
		what            string
		size, chunkSize int64
	}{
		{"nothing", 0, 10},
		{"one byte", 1, 10},
		{"a single chunk", 10, 10},
		{"a short last chunk", 25, 10},
		{"many chunks", 1000, 7},
		{"large chunks", 300_000, 100_000},
	} {
		for _, way := range []string{"automatic", "explicit"} {
			t.Run(test.what+", "+way, func(t *testing.T) {
				r := newRig(t)
				object := content(1, test.size)
				g := grant("id", sized(test.size, test.chunkSize), func(g *upload.Grant) {
					g.Explicit = way == "explicit"
					g.Attributes = map[string]string{"by": "test"}
					g.Digest = digestOf(object)
				})
				r.accept(g)
				var sending sync.WaitGroup
				for _, index := range rand.Perm(chunks(g)) {
					sending.Go(func() {
						if added, err := r.put(g, index, object); err != nil || !added {
							t.Errorf("chunk %d: added %v, %v", index, added, err)
						}
					})
				}
				sending.Wait()
				if g.Explicit {
					if err := r.Tend(r.ctx); err != nil {
						t.Fatal(err)
					}
					if st := r.known("id"); st.Result != nil || !st.Meta.Complete() {
						t.Errorf("before it was asked for: %+v", st)
					}
					r.expectNothingUnder(g.Key)
					if st, err := r.Complete(r.ctx, g.Name, ""); err != nil || st.Result.Reason != upload.Published {
						t.Errorf("complete: %+v, %v", st.Result, err)
					}
				}
				st := r.expectPublished(g, object)
				if !st.Result.Published.Equal(r.clock.Now()) {
					t.Errorf("published at %s", st.Result.Published)
				}
				got, _, err := r.Open(r.ctx, g.Name)
				if err != nil {
					t.Fatal(err)
				}
				if got.Size() != test.size || !bytes.Equal(readAll(t, got), object) {
					t.Error("the object that is opened is another")
				}
				again, err := r.Complete(r.ctx, g.Name, digestOf(object))
				if err != nil || *again.Result != *st.Result {
					t.Errorf("complete again: %+v, %v", again.Result, err)
				}
				before := *st.Result
				r.crash()
				after := r.expectPublished(g, object).Result
				if after.Digest != before.Digest || !after.Published.Equal(before.Published) || !after.ModTime.Equal(before.ModTime) {
					t.Errorf("after a restart the result is %+v, before %+v", after, before)
				}
				if n := r.volume.count("Publish"); n != 0 {
					t.Error("it was published again")
				}
			})
		}
	}
}

func TestCompleteSaysWhatIsMissing(t *testing.T) {
	r := newRig(t)
	g := grant("id", explicit)
	r.accept(g)
	if _, err := r.put(g, 1, content(1, 25)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Complete(r.ctx, g.Name, "")
	var incomplete *session.IncompleteError
	if !errors.As(err, &incomplete) || incomplete.Chunks != 2 || len(incomplete.Missing) != 2 {
		t.Errorf("got %v", err)
	}
	if st, ranges, err := r.Missing("id", 1); err != nil || st.Meta.HeldChunks != 1 || len(ranges) != 1 {
		t.Errorf("missing are %v, %d are held, %v", ranges, st.Meta.HeldChunks, err)
	}
}

func TestTheDigestThatACallerWants(t *testing.T) {
	object := content(1, 25)
	right, wrong := digestOf(object), digestOf([]byte("other"))
	for _, test := range []struct {
		what string
		spec upload.Digest
	}{
		{"the spec says nothing", ""},
		{"the spec says it too", right},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", explicit, withDigest(test.spec))
			r.accept(g)
			r.send(g, object)
			for range 2 {
				_, err := r.Complete(r.ctx, g.Name, wrong)
				expect(t, "the wrong one", err, session.ErrMismatch)
				if err == nil || !strings.Contains(err.Error(), string(right)) || !strings.Contains(err.Error(), string(wrong)) {
					t.Errorf("the error does not say which: %v", err)
				}
				if st := r.known("id"); st.Result != nil || st.Meta.State != session.Open {
					t.Errorf("that changed it: %+v", st)
				}
				r.expectNothingUnder(g.Key)
			}
			if added, err := r.put(g, 0, object); err != nil || added {
				t.Errorf("a chunk again: added %v, %v", added, err)
			}
			if _, err := r.Complete(r.ctx, g.Name, right); err != nil {
				t.Errorf("the right one: %v", err)
			}
			r.expectPublished(g, object)
			for range 2 {
				_, err := r.Complete(r.ctx, g.Name, wrong)
				expect(t, "the wrong one afterwards", err, session.ErrMismatch)
				if _, err := r.Complete(r.ctx, g.Name, right); err != nil {
					t.Errorf("the right one afterwards: %v", err)
				}
				r.crash()
			}
		})
	}
}

func TestBytesWithAnotherDigestThanTheSpecAreNotPublished(t *testing.T) {
	for _, way := range []func(*upload.Grant){explicit, replace} {
		r := newRig(t)
		object, other := content(1, 25), content(2, 25)
		g := grant("id", way, withDigest(digestOf(other)))
		r.accept(g)
		r.send(g, object)
		if g.Explicit {
			_, err := r.Complete(r.ctx, g.Name, digestOf(object))
			expect(t, "the digest of the bytes", err, session.ErrMismatch)
			if st := r.known("id"); st.Result != nil {
				t.Errorf("what the caller wants ended it: %+v", st.Result)
			}
			_, err = r.Complete(r.ctx, g.Name, "")
			expect(t, "complete", err, session.ErrEnded)
		}
		for range 2 {
			st := r.expectEnd("id", upload.DigestMismatch)
			if st.Meta.State != session.Failed || st.Result.Digest != "" ||
				!strings.Contains(st.Result.Message, string(digestOf(object))) || !strings.Contains(st.Result.Message, string(g.Digest)) {
				t.Errorf("it ended as %+v in state %s", st.Result, st.Meta.State)
			}
			r.expectNothingUnder(g.Key)
			_, _, err := r.Open(r.ctx, g.Name)
			expect(t, "open", err, upload.ErrNotPublished)
			_, err = r.put(g, 0, object)
			expect(t, "a chunk", err, session.ErrEnded)
			r.crash()
		}
	}
}

func TestAKeyThatAppearsMeanwhileIsKept(t *testing.T) {
	for _, test := range []struct {
		what string
		way  func(*upload.Grant)
		want upload.Reason
	}{
		{"fail", explicit, upload.KeyExists},
		{"replace", func(g *upload.Grant) { g.Explicit, g.Replace = true, true }, upload.Published},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			object := content(1, 25)
			g := grant("id", test.way)
			r.accept(g)
			r.send(g, object)
			r.place(g.Key, "another's")
			_, err := r.Complete(r.ctx, g.Name, "")
			if test.want == upload.Published {
				expect(t, "complete", err, nil)
				r.expectPublished(g, object)
				return
			}
			expect(t, "complete", err, session.ErrEnded)
			r.expectEnd("id", test.want)
			if got := string(r.under(g.Key)); got != "another's" {
				t.Errorf("under the key is %q", got)
			}
		})
	}
}

func TestTwoUploadsOfOneKeyPublishOnce(t *testing.T) {
	r := newRig(t)
	var grants []upload.Grant
	for n := range 6 {
		g := grant(fmt.Sprintf("id-%d", n), named(fmt.Sprintf("up-%d", n)), explicit)
		g.Key = "one/key"
		r.accept(g)
		r.send(g, content(n, 25))
		grants = append(grants, g)
	}
	var completing sync.WaitGroup
	var mu sync.Mutex
	won := -1
	for n, g := range grants {
		completing.Go(func() {
			switch _, err := r.Complete(r.ctx, g.Name, ""); {
			case err == nil:
				mu.Lock()
				defer mu.Unlock()
				if won >= 0 {
					t.Errorf("%d and %d were published", won, n)
				}
				won = n
			case !errors.Is(err, session.ErrEnded):
				t.Errorf("upload %d: %v", n, err)
			}
		})
	}
	completing.Wait()
	if won < 0 {
		t.Fatal("none was published")
	}
	if !bytes.Equal(r.under("one/key"), content(won, 25)) {
		t.Error("under the key is not what was published")
	}
}

func TestManyCompleteOneUpload(t *testing.T) {
	const callers = 50
	object := content(1, 25)
	for _, way := range []string{"automatic", "explicit"} {
		t.Run(way, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", func(g *upload.Grant) { g.Explicit = way == "explicit" })
			r.accept(g)
			r.send(g, object)
			var completing sync.WaitGroup
			for caller := range callers {
				completing.Go(func() {
					want, is := digestOf(object), error(nil)
					switch caller % 5 {
					case 0:
						want = ""
					case 1:
						want, is = digestOf([]byte{byte(caller)}), session.ErrMismatch
					}
					st, err := r.Complete(r.ctx, g.Name, want)
					if !errors.Is(err, is) {
						t.Errorf("caller %d: want %v, got %v", caller, is, err)
					}
					if err == nil && (st.Result == nil || st.Result.Digest != digestOf(object)) {
						t.Errorf("caller %d: %+v", caller, st.Result)
					}
				})
			}
			completing.Wait()
			r.expectPublished(g, object)
			if n := r.volume.count("Publish"); n != 1 {
				t.Errorf("it was published %d times", n)
			}
		})
	}
}

// Who does not wait for the end does not end the attempt.
func TestCompletionGoesOnWithoutItsCaller(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id", explicit)
	r.accept(g)
	r.send(g, object)
	publishing := r.volume.hold("Publish")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.Complete(ctx, g.Name, "")
		done <- err
	}()
	receive(t, "the publication", publishing.arrived)
	cancel()
	expect(t, "complete", receive(t, "its end", done), context.Canceled)
	publishing.open()
	r.expectPublished(g, object)
}

// A failure of the volume ends nothing: completion is tried again, when a
// client asks or after a while.
func TestCompletionThatFailedIsTriedAgain(t *testing.T) {
	const completionRetry = 10 * time.Second
	object := content(1, 25)
	for _, method := range []string{"Publish", "ReadAt"} {
		t.Run(method+", a client asks", func(t *testing.T) {
			r := newRig(t)
			g := grant("id", explicit)
			r.accept(g)
			r.volume.fail(method, forEver)
			r.sendBackwards(g, object)
			for range 2 {
				_, err := r.Complete(r.ctx, g.Name, "")
				expect(t, "while the volume fails", err, errBroken)
				if st := r.known("id"); st.Meta.State != session.Open || st.Result != nil {
					t.Errorf("it is %s, %+v", st.Meta.State, st.Result)
				}
			}
			r.volume.heal()
			if _, err := r.Complete(r.ctx, g.Name, ""); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			r.expectPublished(g, object)
		})
		t.Run(method+", nobody asks", func(t *testing.T) {
			r := newRig(t)
			g := grant("id")
			r.accept(g)
			r.volume.fail(method, forEver)
			r.sendBackwards(g, object)
			_, err := r.Complete(r.ctx, g.Name, "")
			expect(t, "while the volume fails", err, errBroken)
			r.volume.heal()
			for range 3 {
				r.clock.Advance(completionRetry / 4)
				if err := r.Tend(r.ctx); err != nil {
					t.Fatal(err)
				}
				if st := r.known("id"); st.Meta.State != session.Open {
					t.Fatalf("it was tried again too early and is %s", st.Meta.State)
				}
			}
			r.clock.Advance(completionRetry / 4)
			if err := r.Tend(r.ctx); err != nil {
				t.Fatal(err)
			}
			r.expectPublished(g, object)
		})
	}
}

// The object is there although the volume said that it failed to publish it.
func TestAPublicationThatFailedAfterItsWorkIsFinished(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id", explicit)
	r.accept(g)
	r.send(g, object)
	r.volume.failAfter("Publish", 1)
	_, err := r.Complete(r.ctx, g.Name, "")
	expect(t, "the first time", err, errBroken)
	if _, err := r.Complete(r.ctx, g.Name, ""); err != nil {
		t.Errorf("the second time: %v", err)
	}
	r.expectPublished(g, object)
}

// The digest follows the chunks in whatever order they come, and starts anew
// when one could not be read.
func TestTheDigestIsThatOfTheObject(t *testing.T) {
	const chunk = 80_000
	for round := range 12 {
		r := newRig(t)
		size := int64(4*chunk + 1 + round)
		object := content(round, size)
		g := grant("id", sized(size, chunk), explicit)
		r.accept(g)
		if round%3 > 0 {
			// A chunk is read in several pieces: this is within one.
			r.volume.failOnceAfter("ReadAt", round)
		}
		var sending sync.WaitGroup
		for _, index := range rand.New(rand.NewPCG(1, uint64(round))).Perm(chunks(g)) {
			put := func() {
				if _, err := r.put(g, index, object); err != nil {
					t.Errorf("chunk %d: %v", index, err)
				}
			}
			if round%2 == 0 {
				sending.Go(put)
			} else {
				put()
			}
		}
		sending.Wait()
		st, err := r.Complete(r.ctx, g.Name, "")
		for tries := 0; errors.Is(err, errBroken) && tries < 3; tries++ {
			st, err = r.Complete(r.ctx, g.Name, "")
		}
		if err != nil || st.Result.Digest != digestOf(object) {
			t.Errorf("round %d: %+v, %v, want %s", round, st.Result, err, digestOf(object))
		}
	}
}

// Whoever wins: either the object is there and the upload says so, or neither.
func TestCancelAndCompleteNeverBothWin(t *testing.T) {
	const rounds = 40
	published := 0
	r := newRig(t)
	for round := range rounds {
		g := grant(fmt.Sprintf("id-%d", round), named(fmt.Sprintf("up-%d", round)), explicit)
		object := content(round, 25)
		r.accept(g)
		r.send(g, object)
		var racing sync.WaitGroup
		var completed, canceled, aborted error
		racing.Go(func() { _, completed = r.Complete(r.ctx, g.Name, "") })
		racing.Go(func() {
			for range round % 5 {
				r.known(g.ID) // at another moment each time
			}
			_, canceled = r.Cancel(r.ctx, g.ID, upload.Cancelled, "enough")
		})
		racing.Go(func() { aborted = r.Abort(r.ctx, g.Name) })
		racing.Wait()
		expect(t, "cancel", canceled, nil)
		switch st := r.await(g.ID); st.Result.Reason {
		case upload.Published:
			published++
			expect(t, "complete", completed, nil)
			expect(t, "abort", aborted, session.ErrEnded)
			r.expectPublished(g, object)
		case upload.Cancelled, upload.ClientAborted:
			expect(t, "complete", completed, session.ErrEnded)
			expect(t, "abort", aborted, nil)
			r.expectNothingUnder(g.Key)
		default:
			t.Errorf("it ended by %s", st.Result.Reason)
		}
	}
	t.Logf("%d of %d were published", published, rounds)
}

func TestCancelWaitsForAPublicationThatFails(t *testing.T) {
	for _, fails := range []bool{false, true} {
		r := newRig(t)
		object := content(1, 25)
		g := grant("id", explicit)
		r.accept(g)
		r.send(g, object)
		if fails {
			r.volume.fail("Publish", 1)
		}
		publishing := r.volume.hold("Publish")
		completed, canceled := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := r.Complete(r.ctx, g.Name, "")
			completed <- err
		}()
		receive(t, "the publication", publishing.arrived)
		impatient, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := r.Cancel(impatient, "id", upload.Cancelled, "")
		expect(t, "who does not wait", err, context.Canceled)
		go func() {
			_, err := r.Cancel(r.ctx, "id", upload.Cancelled, "enough")
			canceled <- err
		}()
		publishing.open()
		err = receive(t, "complete", completed)
		expect(t, "cancel", receive(t, "its end", canceled), nil)
		if fails {
			expect(t, "complete", err, session.ErrEnded)
			r.expectEnd("id", upload.Cancelled)
			r.expectNothingUnder(g.Key)
		} else {
			expect(t, "complete", err, nil)
			r.expectPublished(g, object)
		}
	}
}

// A chunk that is sent again after the object was published is held, for as long as there is the object to tell.
func TestChunksAreAnsweredAfterPublication(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id")
	r.accept(g)
	r.send(g, object)
	r.expectPublished(g, object)
	for range 2 {
		for index := range chunks(g) {
			if added, err := r.put(g, index, object); err != nil || added {
				t.Errorf("chunk %d again: added %v, %v", index, added, err)
			}
			for at := index * 10; at < min(index*10+10, len(object)); at++ {
				other := bytes.Clone(object)
				other[at] ^= 1
				_, err := r.put(g, index, other)
				expect(t, "another byte", err, session.ErrConflict)
			}
		}
		r.crash()
	}
	if err := os.Rename(r.path(g.Key), r.path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	_, err := r.put(g, 0, object)
	expect(t, "once the object is gone", err, upload.ErrReplaced)
	if err := os.WriteFile(r.path(g.Key), object, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = r.put(g, 0, object)
	expect(t, "once another is in its place", err, upload.ErrReplaced)
}

func TestOpenKnowsItsOwnObject(t *testing.T) {
	object := content(1, 25)
	for _, test := range []struct {
		what   string
		change func(r *rig, path string) error
		want   error
	}{
		{"untouched", func(*rig, string) error { return nil }, nil},
		{"removed", func(_ *rig, path string) error { return os.Remove(path) }, upload.ErrReplaced},
		{"removed with its parent", func(r *rig, _ string) error { return os.RemoveAll(r.path("dir")) }, upload.ErrReplaced},
		{"replaced by one of another size", func(_ *rig, path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, object[1:], 0o600))
		}, upload.ErrReplaced},
		{"replaced by one of the same size", func(_ *rig, path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, content(2, 25), 0o600),
				os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)))
		}, upload.ErrReplaced},
		{"replaced by a directory", func(_ *rig, path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o755))
		}, upload.ErrReplaced},
		{"replaced by another upload", func(r *rig, _ string) error {
			g := grant("other", named("other"), replace, sized(24, 24))
			g.Key = grant("").Key
			r.accept(g)
			r.send(g, content(3, 24))
			r.expectPublished(g, content(3, 24))
			return nil
		}, upload.ErrReplaced},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", explicit)
			r.accept(g)
			_, _, err := r.Open(r.ctx, g.Name)
			expect(t, "before it is published", err, upload.ErrNotPublished)
			r.send(g, object)
			if _, err := r.Complete(r.ctx, g.Name, ""); err != nil {
				t.Fatal(err)
			}
			if err := test.change(r, r.path(g.Key)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got, st, err := r.Open(r.ctx, g.Name)
				expect(t, "open", err, test.want)
				if st.Meta.ID != "id" {
					t.Errorf("the status is that of %q", st.Meta.ID)
				}
				if err == nil && !bytes.Equal(readAll(t, got), object) {
					t.Error("the object is another")
				}
				r.crash()
			}
		})
	}
}

func TestWhatWasOpenedStaysAsItIs(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id")
	r.accept(g)
	r.send(g, object)
	r.expectPublished(g, object)
	opened, _, err := r.Open(r.ctx, g.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Forget(r.ctx, "id"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.path(g.Key)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readAll(t, opened), object) {
		t.Error("the object changed")
	}
}

// A publication that failed after its object was there, as when the directory
// can't be synced: nothing but completion ends the upload, so that it never
// ends without an object while the object is there.
func TestWhatMayBePublishedIsOnlyCompleted(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(r *rig) error
	}{
		{"by another call", func(r *rig) error { _, err := r.Complete(r.ctx, grant("id").Name, ""); return err }},
		{"by cancelling", func(r *rig) error { _, err := r.Cancel(r.ctx, "id", upload.Cancelled, "enough"); return err }},
		{"by its deadline", func(r *rig) error { r.clock.Advance(24 * time.Hour); return r.Tend(r.ctx) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			object := content(1, 25)
			g := grant("id", explicit)
			g.Deadline = r.clock.Now().Add(time.Hour)
			r.accept(g)
			r.send(g, object)
			r.volume.failAfter("Publish", 1)
			_, err := r.Complete(r.ctx, g.Name, "")
			expect(t, "complete", err, errBroken)
			expect(t, "the end", test.end(r), nil)
			r.expectPublished(g, object)
		})
	}
}

// An object that can't be opened for a look at it was not removed for that.
func TestAnObjectThatCouldNotBeLookedAt(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id", explicit)
	r.accept(g)
	r.send(g, object)
	r.volume.fail("OpenObject", 1)
	_, err := r.Complete(r.ctx, g.Name, "")
	expect(t, "complete", err, errBroken)
	if _, err := r.Complete(r.ctx, g.Name, ""); err != nil {
		t.Fatal(err)
	}
	r.expectPublished(g, object)
	opened, _, err := r.Service.Open(r.ctx, g.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}

// The watch and a client may take the same session up at once; where one of
// them fails the name stays the session's.
func TestANameStaysWhereAnotherAcceptFails(t *testing.T) {
	r := newRig(t)
	g := grant("id")
	creating := r.volume.hold("Create")
	r.volume.fail("Create", 1)
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := r.Accept(r.ctx, g); first <- err }()
	receive(t, "the first", creating.arrived)
	again := r.volume.hold("Create")
	go func() { _, err := r.Accept(r.ctx, g); second <- err }()
	creating.open()
	expect(t, "the first", receive(t, "its end", first), errBroken)
	receive(t, "the second", again.arrived)
	again.open()
	expect(t, "the second", receive(t, "its end", second), nil)
	if st, err := r.Find(g.Name); err != nil || st.Meta.ID != "id" {
		t.Errorf("under the name is %q, %v", st.Meta.ID, err)
	}
}
