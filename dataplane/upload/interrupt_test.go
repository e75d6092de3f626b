package upload_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// blocks is how many reads it takes to verify what newUnverifiedRig has.
const blocks = 4

// newUnverifiedRig returns a rig that has all chunks of an upload, and has to read all of them
// back to verify it, because it was started since.
func newUnverifiedRig(t *testing.T) (*rig, upload.Grant, []byte) {
	t.Helper()
	r := newRig(t)
	object := content(1, blocks<<18)
	g := grant("id", explicit, sized(int64(len(object)), int64(len(object))))
	r.accept(g)
	r.send(g, object)
	r.crash()
	return r, g, object
}

func TestCancelInterruptsAVerification(t *testing.T) {
	r, g, _ := newUnverifiedRig(t)
	reading := r.volume.hold("ReadAt")
	completed, cancelled := make(chan error, 1), make(chan error, 1)
	go func() { _, err := r.Complete(r.ctx, g.Name, ""); completed <- err }()
	receive(t, "the verification", reading.arrived)
	go func() { _, err := r.Cancel(r.ctx, g.ID, upload.Cancelled, "enough"); cancelled <- err }()
	receive(t, "the wait for it", r.clock.set)
	reading.open()
	expect(t, "cancel", receive(t, "its end", cancelled), nil)
	expect(t, "complete", receive(t, "its end", completed), session.ErrEnded)
	if st := r.expectEnd(g.ID, upload.Cancelled); st.Meta.State != session.Aborted || st.Result.Message != "enough" {
		t.Errorf("it is %s: %s", st.Meta.State, st.Result.Message)
	}
	r.expectNothingUnder(g.Key)
	if n := r.volume.count("ReadAt"); n > 1 {
		t.Errorf("%d blocks were read, want the one that was being read", n)
	}
	if told := r.told(); len(told) != 1 {
		t.Errorf("%d ends were told", len(told))
	}
	r.crash()
	r.expectEnd(g.ID, upload.Cancelled)
}

// Who cancels many uploads does not wait for each, however long its publication takes.
func TestCancelDoesNotWaitForLong(t *testing.T) {
	r := newRig(t)
	object := content(1, 25)
	g := grant("id", explicit)
	r.accept(g)
	r.send(g, object)
	publishing := r.volume.hold("Publish")
	completed := make(chan error, 1)
	go func() { _, err := r.Complete(r.ctx, g.Name, ""); completed <- err }()
	receive(t, "the publication", publishing.arrived)
	for what, end := range map[string]func() error{
		"cancel": func() error { _, err := r.Cancel(r.ctx, g.ID, upload.Cancelled, "enough"); return err },
		"forget": func() error { return r.Forget(r.ctx, g.ID) },
	} {
		ended := make(chan error, 1)
		go func() { ended <- end() }()
		receive(t, "the wait", r.clock.set)
		r.clock.Advance(time.Second)
		expect(t, what, receive(t, "its end", ended), session.ErrSealed)
	}
	publishing.open()
	expect(t, "complete", receive(t, "its end", completed), nil)
	r.expectPublished(g, object)
	if _, err := r.Cancel(r.ctx, g.ID, upload.Cancelled, "enough"); err != nil {
		t.Errorf("cancel again: %v", err)
	}
}

// An upload whose object is under its key is completed and nothing else, however often somebody
// cancels it while it is verified again.
func TestCancelDoesNotInterruptWhatMayBePublished(t *testing.T) {
	r, g, object := newUnverifiedRig(t)
	r.volume.fail("Identify", forEver)
	_, err := r.Complete(r.ctx, g.Name, "")
	expect(t, "complete", err, errBroken)
	var reading *gate
	r.opened = func(v *volume) { reading = v.hold("ReadAt") }
	r.crash()
	receive(t, "the verification", reading.arrived)
	cancelled := make(chan error, 1)
	go func() { _, err := r.Cancel(r.ctx, g.ID, upload.Cancelled, "enough"); cancelled <- err }()
	receive(t, "the wait for it", r.clock.set)
	r.clock.Advance(time.Second)
	expect(t, "cancel", receive(t, "its end", cancelled), session.ErrSealed)
	reading.open()
	r.expectPublished(g, object)
}

// However many uploads are to be completed at once, such as after a restart, few are verified
// and published at the same time.
func TestCompletionsAreBounded(t *testing.T) {
	const uploads = upload.PublishAtOnce + 8
	r := newRig(t)
	object := content(1, 1000)
	var grants []upload.Grant
	r.volume.fail("Publish", forEver)
	for i := range uploads {
		g := grant(fmt.Sprintf("id-%d", i), named(fmt.Sprintf("up-%d", i)), sized(1000, 1000))
		r.accept(g)
		r.send(g, object)
		grants = append(grants, g)
	}
	var reading, publishing *gate
	r.opened = func(v *volume) { reading, publishing = v.holdAll("ReadAt"), v.holdAll("Publish") }
	r.crash()
	receive(t, "a verification", reading.arrived)
	reading.open()
	receive(t, "a publication", publishing.arrived)
	publishing.open()
	for _, g := range grants {
		r.expectPublished(g, object)
	}
	if n := r.volume.atOnce("Publish"); n > upload.PublishAtOnce {
		t.Errorf("%d were published at once", n)
	}
	if n := r.volume.atOnce("ReadAt"); n > r.HashAtOnce() {
		t.Errorf("%d were read at once", n)
	}
}
