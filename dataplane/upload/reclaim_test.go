package upload_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func reclaimed(g *upload.Grant) { g.Reclaim = true }

// publish takes an upload from its grant to its end.
func (r *rig) publish(g upload.Grant, object []byte) {
	r.tb.Helper()
	r.accept(g)
	r.send(g, object)
	r.expectPublished(g, object)
}

func TestReclaimRemovesTheObjectOfWhoWantsIt(t *testing.T) {
	object := content(1, 25)
	for _, test := range []struct {
		what   string
		change func(*upload.Grant)
		gone   bool
	}{
		{"it is to be reclaimed", reclaimed, true},
		{"it is to stay", func(*upload.Grant) {}, false},
	} {
		for what, remove := range map[string]func(r *rig) error{
			"reclaimed": func(r *rig) error { return r.Reclaim(r.ctx, "id") },
			"forgotten": func(r *rig) error { return r.Forget(r.ctx, "id") },
		} {
			t.Run(test.what+", "+what, func(t *testing.T) {
				r := newRig(t)
				g := grant("id", test.change)
				r.publish(g, object)
				r.crash() // what is needed is on the volume
				for range 2 {
					if err := remove(r); err != nil && !errors.Is(err, session.ErrNotFound) {
						t.Fatal(err)
					}
					if test.gone {
						r.expectNothingUnder(g.Key)
					} else if !bytes.Equal(r.under(g.Key), object) {
						t.Error("the object changed")
					}
					r.crash()
				}
				if what == "forgotten" {
					_, err := r.Known("id")
					expect(t, "the upload", err, session.ErrNotFound)
					return
				}
				_, _, err := r.Open(r.ctx, g.Name)
				if test.gone {
					expect(t, "its content", err, upload.ErrReplaced)
				} else if err != nil {
					t.Errorf("its content: %v", err)
				}
			})
		}
	}
}

func TestReclaimLeavesWhatIsAnothers(t *testing.T) {
	object := content(1, 25)
	for what, replaceIt := range map[string]func(r *rig, g upload.Grant){
		"another upload's": func(r *rig, _ upload.Grant) {
			r.publish(grant("other", replace, func(g *upload.Grant) { g.Name.Name = "other" }), object) // the same bytes
		},
		"another writer's": func(r *rig, g upload.Grant) { r.place(g.Key, string(object)) },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", reclaimed)
			r.publish(g, object)
			replaceIt(r, g)
			if err := r.Forget(r.ctx, "id"); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(r.under(g.Key), object) {
				t.Error("the object changed")
			}
		})
	}
}

func TestReclaimOfWhatWasNeverPublishedTouchesNothing(t *testing.T) {
	r := newRig(t)
	g := grant("id", reclaimed)
	r.accept(g)
	expect(t, "reclaim of an active upload", r.Reclaim(r.ctx, "id"), session.ErrInvalid)
	r.place(g.Key, "of somebody else")
	if _, err := r.put(g, 0, content(1, 25)); err != nil {
		t.Fatal(err)
	}
	if err := r.Forget(r.ctx, "id"); err != nil {
		t.Fatal(err)
	}
	if got := r.under(g.Key); string(got) != "of somebody else" {
		t.Errorf("under the key is %q", got)
	}
	expect(t, "reclaim of what is not known", r.Reclaim(r.ctx, "id"), session.ErrNotFound)
	if n := r.volume.count("Withdraw"); n != 0 {
		t.Errorf("%d withdrawals", n)
	}
}

// What says whose the object is goes after the object, whatever fails in between.
func TestReclaimIsTriedAgainAfterAFailure(t *testing.T) {
	object := content(1, 25)
	for what, fail := range map[string]func(v *volume){
		"nothing was withdrawn":             func(v *volume) { v.fail("Withdraw", 1) },
		"it was withdrawn, nobody was told": func(v *volume) { v.failAfter("Withdraw", 1) },
		"it was withdrawn, and is recorded": func(v *volume) { v.fail("Remove", 1) },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			g := grant("id", reclaimed)
			r.publish(g, object)
			fail(r.volume)
			expect(t, "the first time", r.Forget(r.ctx, "id"), errBroken)
			r.crash()
			if _, err := r.Known("id"); err != nil {
				t.Fatalf("the record is gone: %v", err)
			}
			if err := r.Forget(r.ctx, "id"); err != nil {
				t.Fatal(err)
			}
			r.expectNothingUnder(g.Key)
			_, err := r.Known("id")
			expect(t, "the upload", err, session.ErrNotFound)
		})
	}
}

// An upload that is withdrawn before its end is durable would be published again.
func TestReclaimComesAfterADurableEnd(t *testing.T) {
	r := newRig(t)
	g := grant("id", explicit, reclaimed)
	r.accept(g)
	r.send(g, content(1, 25))
	r.volume.fail("SaveRecord", forEver)
	_, err := r.Complete(r.ctx, g.Name, "")
	expect(t, "complete", err, errBroken)
	expect(t, "reclaim", r.Reclaim(r.ctx, "id"), errBroken)
	if !bytes.Equal(r.under(g.Key), content(1, 25)) {
		t.Error("the object changed")
	}
	r.volume.heal()
	if err := r.Reclaim(r.ctx, "id"); err != nil {
		t.Fatal(err)
	}
	r.expectNothingUnder(g.Key)
	r.crash()
	r.expectNothingUnder(g.Key)
	r.expectEnd("id", upload.Published)
}

// Two that publish under one key at once: each knows its own object.
func TestAnObjectThatWasReplacedAtOnceIsNotTheUploads(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	first := grant("first", explicit, replace, reclaimed)
	second := grant("second", replace, func(g *upload.Grant) { g.Name.Name = "second" })
	r.accept(first)
	r.send(first, object)
	opening := r.volume.hold("OpenObject")
	done := make(chan error, 1)
	go func() {
		_, err := r.Complete(r.ctx, first.Name, "")
		done <- err
	}()
	receive(t, "the look at the object", opening.arrived)
	r.publish(second, object)
	opening.open()
	if err := receive(t, "the end", done); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.Open(r.ctx, first.Name)
	expect(t, "the content of the first", err, upload.ErrReplaced)
	if err := r.Forget(r.ctx, "first"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.under(second.Key), object) {
		t.Error("the second's object changed")
	}
}
