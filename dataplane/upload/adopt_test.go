package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

var adopted = content(7, 25)

// adopting is an upload that adopts what is under the key, if that is the object.
func adopting(id string, change ...func(*upload.Grant)) upload.Grant {
	return grant(id, append([]func(*upload.Grant){func(g *upload.Grant) {
		g.Name.Name, g.Adopt, g.Digest = id, true, digestOf(adopted)
	}}, change...)...)
}

// publishFirst has another upload publish what others adopt.
func (r *rig) publishFirst(change ...func(*upload.Grant)) upload.Grant {
	r.tb.Helper()
	first := grant("first", append(change, func(g *upload.Grant) { g.Name.Name = "first" })...)
	r.accept(first)
	r.send(first, adopted)
	r.expectPublished(first, adopted)
	return first
}

// expectAdopted waits until an upload has adopted the object, and fails unless it serves that.
func (r *rig) expectAdopted(g upload.Grant) {
	r.tb.Helper()
	st := r.expectEnd(g.ID, upload.Adopted)
	if st.Meta.State != session.Finished || st.Result.Digest != digestOf(adopted) || st.Result.Published.IsZero() {
		r.tb.Errorf("it ended as %+v in state %s", st.Result, st.Meta.State)
	}
	object, _, err := r.Open(r.ctx, g.Name)
	if err != nil {
		r.tb.Fatalf("open what was adopted: %v", err)
	}
	if got := readAll(r.tb, object); !bytes.Equal(got, adopted) {
		r.tb.Errorf("it serves %d bytes that are not the object", len(got))
	}
}

func TestTheSameContentAgainIsAdoptedWithoutAByte(t *testing.T) {
	r := newRig(t)
	r.publishFirst()
	g := adopting("again", explicit)
	st := r.accept(g)
	if st.Result == nil || st.Result.Reason != upload.Adopted || st.Meta.HeldBytes != 0 {
		t.Fatalf("once it is accepted it stands as %+v, %+v", st.Meta, st.Result)
	}
	if n := r.volume.count("ReadObject"); n != 0 {
		t.Errorf("the object, whose digest is recorded, was read %d times", n)
	}
	r.expectAdopted(g)
	for _, want := range []upload.Digest{"", digestOf(adopted)} {
		if _, err := r.Complete(r.ctx, g.Name, want); err != nil {
			t.Errorf("complete with digest %q: %v", want, err)
		}
	}
	// Who sends all the same is told that it is held, or that it is not.
	if added, err := r.put(g, 1, adopted); added || err != nil {
		t.Errorf("a chunk of what was adopted: added %v, %v", added, err)
	}
	_, err := r.put(g, 1, content(8, 25))
	expect(t, "a chunk of something else", err, session.ErrConflict)
	r.crash()
	r.accept(g)
	r.expectAdopted(g)
}

// A digest is no secret, and where a store keeps its users apart it is no key to what others have sent.
func TestWhatIsAdoptedIsNotReadByWhoSentNothing(t *testing.T) {
	r := newRig(t)
	r.publishFirst(func(g *upload.Grant) { g.Users = []string{"alice"} })
	bobs := func(g *upload.Grant) { g.Users = []string{"bob"} }
	g := adopting("again", bobs)
	r.accept(g)
	r.expectEnd(g.ID, upload.Adopted)
	_, _, err := r.Open(r.ctx, g.Name)
	expect(t, "open what another has sent", err, upload.ErrKeptApart)
	_, err = r.put(g, 1, adopted)
	expect(t, "guess a chunk of it", err, upload.ErrKeptApart)
	r.crash()
	r.accept(g)
	_, _, err = r.Open(r.ctx, g.Name)
	expect(t, "open it after a restart", err, upload.ErrKeptApart)
}

// An object is that of the upload which published it, and goes with no other.
func TestWhatIsAdoptedStaysItsPublishers(t *testing.T) {
	r := newRig(t)
	first := r.publishFirst(reclaimed)
	early, late := adopting("early", reclaimed), adopting("late", reclaimed)
	r.accept(early)
	r.accept(late)
	r.expectAdopted(early)
	if err := r.Reclaim(r.ctx, early.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Forget(r.ctx, early.ID); err != nil {
		t.Fatal(err)
	}
	r.expectAdopted(late)
	if object, _, err := r.Open(r.ctx, first.Name); err != nil {
		t.Errorf("the publisher's object: %v", err)
	} else {
		readAll(t, object)
	}
	if err := r.Forget(r.ctx, first.ID); err != nil {
		t.Fatal(err)
	}
	r.expectNothingUnder(first.Key)
	_, _, err := r.Open(r.ctx, late.Name)
	expect(t, "open what its publisher took away", err, upload.ErrReplaced)
}

func TestAnotherObjectIsNotAdopted(t *testing.T) {
	for _, test := range []struct {
		what  string
		there func(*rig)
		says  string
	}{
		{"of another size", func(r *rig) { r.place("dir/object", "short") }, "has 5 bytes, not 25"},
		{"with other bytes", func(r *rig) { r.place("dir/object", string(content(8, 25))) }, "does not have digest " + string(digestOf(adopted))},
		{"whose recorded digest is another", func(r *rig) {
			other := grant("other", named("other"), func(g *upload.Grant) { g.Key = "dir/object" })
			r.accept(other)
			r.send(other, content(8, 25))
			r.expectPublished(other, content(8, 25))
		}, "does not have digest " + string(digestOf(adopted))},
		{"that was written to since it was published", func(r *rig) {
			first := r.publishFirst()
			if err := os.Chmod(r.path(first.Key), 0o644); err != nil {
				r.tb.Fatal(err)
			}
			r.place(first.Key, string(content(8, 25)))
			later := time.Now().Add(time.Hour)
			if err := os.Chtimes(r.path(first.Key), later, later); err != nil {
				r.tb.Fatal(err)
			}
		}, "does not have digest " + string(digestOf(adopted))},
		{"that is a link", func(r *rig) {
			r.place("dir/target", string(adopted))
			if err := os.Symlink("target", r.path("dir/object")); err != nil {
				r.tb.Fatal(err)
			}
		}, "is no regular file"},
	} {
		t.Run(test.what, func(t *testing.T) {
			r := newRig(t)
			test.there(r)
			g := adopting("id")
			r.accept(g)
			st := r.expectEnd(g.ID, upload.KeyExists)
			if st.Meta.State != session.Failed || !strings.Contains(st.Result.Message, test.says) {
				t.Errorf("it is %s: %s", st.Meta.State, st.Result.Message)
			}
		})
	}
}

// notRecorded takes from an object what says which digest it has, as a copy or an earlier version's has none.
func (r *rig) notRecorded(key string) {
	r.tb.Helper()
	if err := syscall.Removexattr(r.path(key), "user.slipway-note"); err != nil {
		r.tb.Fatal(err)
	}
}

func TestWithoutARecordedDigestTheObjectIsRead(t *testing.T) {
	r := newRig(t)
	r.notRecorded(r.publishFirst().Key)
	reading := r.volume.hold("ReadObject")
	g := adopting("id", func(g *upload.Grant) { g.IdleTimeout = time.Minute })
	r.accept(g)
	receive(t, "the reading", reading.arrived)
	_, err := r.put(g, 0, adopted)
	expect(t, "a chunk meanwhile", err, upload.ErrComparing)
	r.clock.Advance(time.Hour)
	if err := r.Tend(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.accept(g) // once more, as whenever its resource changes
	reading.open()
	r.expectAdopted(g)
	if n := r.volume.count("ReadObject"); n > 4 { // once to adopt it and once by the test, to its end
		t.Errorf("it was read %d times", n)
	}
}

func TestComparingStartsAnewAfterARestart(t *testing.T) {
	r := newRig(t)
	r.notRecorded(r.publishFirst().Key)
	reading := r.volume.hold("ReadObject")
	g := adopting("id")
	r.accept(g)
	receive(t, "the reading", reading.arrived)
	r.volume.cut() // what is read from now on is lost with the process
	reading.open()
	r.crash()
	r.accept(g)
	r.expectAdopted(g)
}

func TestComparingEndsWithTheUpload(t *testing.T) {
	for name, end := range map[string]func(*rig, upload.Grant) upload.Reason{
		"cancelled": func(r *rig, g upload.Grant) upload.Reason {
			if _, err := r.Cancel(r.ctx, g.ID, upload.Cancelled, "the test has had enough"); err != nil {
				r.tb.Fatal(err)
			}
			return upload.Cancelled
		},
		"at its deadline": func(r *rig, g upload.Grant) upload.Reason {
			r.clock.Advance(2 * time.Hour)
			if err := r.Tend(r.ctx); err != nil {
				r.tb.Fatal(err)
			}
			return upload.DeadlineExceeded
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			first := r.publishFirst()
			r.notRecorded(first.Key)
			reading := r.volume.hold("ReadObject")
			g := adopting("id", reclaimed, func(g *upload.Grant) { g.Deadline = r.clock.Now().Add(time.Hour) })
			r.accept(g)
			receive(t, "the reading", reading.arrived)
			reason := end(r, g)
			reading.open()
			r.expectEnd(g.ID, reason)
			if err := r.Forget(r.ctx, g.ID); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(r.under(first.Key), adopted) {
				t.Error("the object that it did not adopt is not there any more")
			}
		})
	}
}

func TestAnObjectThatGoesWhileItIsComparedIsSent(t *testing.T) {
	r := newRig(t)
	first := r.publishFirst()
	r.notRecorded(first.Key)
	reading := r.volume.hold("ReadObject")
	g := adopting("id")
	r.accept(g)
	receive(t, "the reading", reading.arrived)
	if err := os.Remove(r.path(first.Key)); err != nil {
		t.Fatal(err)
	}
	reading.open()
	for index := range chunks(g) {
		timeout := time.After(patience)
		for {
			_, err := r.put(g, index, adopted)
			if err == nil {
				break
			}
			expect(t, "a chunk", err, upload.ErrComparing)
			select {
			case <-timeout:
				t.Fatal("no chunk is taken")
			case <-time.After(time.Millisecond):
			}
		}
	}
	r.expectPublished(g, adopted)
}

func TestAnObjectThatCanNotBeReadIsReadAgain(t *testing.T) {
	r := newRig(t)
	r.notRecorded(r.publishFirst().Key)
	r.volume.fail("ReadObject", 1)
	g := adopting("id")
	r.accept(g)
	timeout := time.After(patience)
	for r.known(g.ID).Result == nil {
		r.clock.Advance(10 * time.Second)
		select {
		case <-r.changed:
		case <-r.clock.set:
		case <-timeout:
			t.Fatal("it is not read again")
		case <-time.After(time.Millisecond):
		}
	}
	r.expectAdopted(g)
}

// Of uploads of the same content at the same time one publishes it, and all others have it.
func TestUploadsOfTheSameContentAtOnce(t *testing.T) {
	r := newRig(t)
	var all []upload.Grant
	for i := range 8 {
		g := adopting(fmt.Sprintf("id-%d", i), reclaimed)
		all = append(all, g)
		r.accept(g)
		for index := range chunks(g) - 1 {
			if _, err := r.put(g, index, adopted); err != nil {
				t.Fatal(err)
			}
		}
	}
	errs := make(chan error)
	for _, g := range all {
		go func() {
			_, err := r.put(g, chunks(g)-1, adopted)
			errs <- err
		}()
	}
	for range all {
		expect(t, "the last chunk", receive(t, "its reply", errs), nil)
	}
	var publisher upload.Grant
	for _, g := range all {
		st := r.await(g.ID)
		switch {
		case st.Result.Reason != upload.Published:
			r.expectAdopted(g)
		case publisher.ID != "":
			t.Errorf("%s and %s were both published", publisher.ID, g.ID)
		default:
			publisher = g
		}
	}
	if publisher.ID == "" {
		t.Fatal("nobody published it")
	}
	for _, g := range all {
		if g.ID == publisher.ID {
			continue
		}
		if err := r.Forget(r.ctx, g.ID); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(r.under(publisher.Key), adopted) {
		t.Error("the object went with a session that had adopted it")
	}
}

// What appears under the key while an upload sends is compared once all is there, also where it has to be read.
func TestAnObjectThatAppearsMeanwhileIsAdopted(t *testing.T) {
	for name, there := range map[string]string{"the same": string(adopted), "another": string(content(8, 25))} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			g := adopting("id")
			r.accept(g)
			if _, err := r.put(g, 0, adopted); err != nil {
				t.Fatal(err)
			}
			r.place(g.Key, there)
			r.accept(g)
			for index := 1; index < chunks(g); index++ {
				if _, err := r.put(g, index, adopted); err != nil {
					t.Fatal(err)
				}
			}
			if there == string(adopted) {
				r.expectAdopted(g)
			} else {
				r.expectEnd(g.ID, upload.KeyExists)
			}
			if string(r.under(g.Key)) != there {
				t.Error("what was under the key is not what it was")
			}
		})
	}
}

func TestASuspendedUploadAdoptsNothingUntilItGoesOn(t *testing.T) {
	r := newRig(t)
	r.publishFirst()
	g := adopting("id", func(g *upload.Grant) { g.Suspended = true })
	if st := r.accept(g); st.Result != nil {
		t.Fatalf("it ended as %+v", st.Result)
	}
	g.Suspended = false
	r.accept(g)
	r.expectAdopted(g)
}

func TestNothingIsAdoptedWithoutADigest(t *testing.T) {
	r := newRig(t)
	_, err := r.Accept(context.Background(), adopting("id", withDigest("")))
	if !errors.Is(err, session.ErrInvalid) {
		t.Errorf("it is accepted: %v", err)
	}
}
