package upload_test

import (
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// An end is told once, whatever fails when it is stored, and nothing is kept of what has ended.
func TestEachEndIsToldOnce(t *testing.T) {
	object := content(1, 25)
	for _, test := range []struct {
		what string
		end  func(r *rig, g upload.Grant)
		want upload.Reason
	}{
		{"cancelled", func(r *rig, g upload.Grant) {
			_, _ = r.Cancel(r.ctx, g.ID, upload.Cancelled, "enough")
		}, upload.Cancelled},
		{"forgotten", func(r *rig, g upload.Grant) { _ = r.Forget(r.ctx, g.ID) }, upload.Deleted},
		{"expired", func(r *rig, _ upload.Grant) {
			r.clock.Advance(time.Hour)
			_ = r.Tend(r.ctx)
		}, upload.IdleTimeout},
		{"published", func(r *rig, g upload.Grant) {
			for index := 1; index < chunks(g); index++ {
				_, _ = r.put(g, index, object)
			}
			_, _ = r.Complete(r.ctx, g.Name, "")
		}, upload.Published},
		{"refused early", func(r *rig, g upload.Grant) {
			g.ID, g.Name.Name, g.Key = "other", "other", "taken"
			r.place(g.Key, "here")
			_, _ = r.Accept(r.ctx, g)
		}, upload.KeyExists},
	} {
		for _, method := range []string{"", "SaveRecord", "Free"} {
			t.Run(test.what+" "+method, func(t *testing.T) {
				r := newRig(t)
				g := grant("id", func(g *upload.Grant) { g.IdleTimeout = time.Minute })
				r.accept(g)
				if _, err := r.put(g, 0, object); err != nil {
					t.Fatal(err)
				}
				if method != "" {
					r.volume.fail(method, 1)
				}
				for range 2 {
					test.end(r, g)
				}
				if err := r.Tend(r.ctx); err != nil {
					t.Error(err)
				}
				told := r.told()
				if len(told) != 1 || told[0].Result.Reason != test.want {
					t.Fatalf("told were %d ends: %+v", len(told), told)
				}
				if open := r.core.CountActive(session.Everyone); r.Frontiers() > open {
					t.Errorf("%d digests are kept of %d uploads", r.Frontiers(), open)
				}
			})
		}
	}
}

// Whoever removes an upload just after it has ended does not take its end from who is to hear of it.
func TestAnEndIsToldAlsoWhereTheUploadIsRemovedAtOnce(t *testing.T) {
	for range 50 {
		r := newRig(t)
		r.accept(grant("id"))
		var ending sync.WaitGroup
		for range 4 {
			ending.Go(func() { _ = r.Forget(r.ctx, "id") })
			ending.Go(func() { _, _ = r.Cancel(r.ctx, "id", upload.Cancelled, "enough") })
		}
		ending.Wait()
		if told := r.told(); len(told) != 1 {
			t.Fatalf("told were %d ends", len(told))
		}
	}
}
