package operator_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// deletionTakes is how long a deletion takes at most: what a silent replica is waited for.
const deletionTakes = 2 * time.Minute

// deleteAll deletes those of the objects that are there, in this order.
func deleteAll(ctx context.Context, objects ...client.Object) {
	GinkgoHelper()
	for _, obj := range objects {
		Expect(client.IgnoreNotFound(user.Delete(ctx, obj))).To(Succeed())
	}
}

// answer reports what the dataplane does when it sees that a session is being deleted.
func (w *world) answer(ctx context.Context, s *v1alpha1.UploadSession) {
	GinkgoHelper()
	result := s.Status.Result
	switch {
	case s.Status.Admission.Replica == "":
	case result.Outcome == "":
		report(ctx, s, w.abortion(v1alpha1.ReasonDeleted))
	case s.Spec.ReclaimPolicy == v1alpha1.ReclaimPolicyDelete && result.Outcome == v1alpha1.UploadOutcomePublished:
		status := w.publication().WithReclaimedTime(metav1.NewTime(w.clock.Now()))
		status.Result.WithFinishedTime(result.FinishedTime).WithPublishedTime(result.PublishedTime) // it is written once
		report(ctx, s, status)
	}
}

// goes steps the deleted session until it is gone, as the manager would: when it asked to be looked
// at again or something has changed. No other event helps it.
func (w *world) goes(ctx context.Context, s *v1alpha1.UploadSession, answers bool) {
	GinkgoHelper()
	w.refresh(ctx, s)
	if s.UID == "" {
		return
	}
	// The API server stamps the deletion with its own time.
	if s.DeletionTimestamp.After(w.clock.Now()) {
		w.clock.SetTime(s.DeletionTimestamp.Time)
	}
	began := w.clock.Now()
	for range 10 {
		wait := w.step(ctx, s)
		if s.UID == "" {
			Expect(w.clock.Now().Sub(began)).To(BeNumerically("<=", deletionTakes))
			return
		}
		if answers {
			w.answer(ctx, s)
			continue
		}
		Expect(wait).To(BeNumerically(">", 0), "nobody will look at it again")
		w.pass(wait)
	}
	Fail("it does not go")
}

// Whatever is deleted, from whatever state and with whatever dataplane, goes in bounded time.
var _ = Describe("The deletion of", func() {
	published := func(ctx SpecContext, w *world, policy v1alpha1.ReclaimPolicy) *v1alpha1.UploadSession {
		s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.ReclaimPolicy = policy })
		w.step(ctx, s)
		report(ctx, s, w.publication())
		w.refresh(ctx, s)
		return s
	}
	states := []struct {
		name  string
		reach func(ctx SpecContext, w *world) *v1alpha1.UploadSession
	}{
		{"a session that waits", func(ctx SpecContext, w *world) *v1alpha1.UploadSession {
			s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.DesiredState = v1alpha1.DesiredStateSuspended })
			w.step(ctx, s)
			return s
		}},
		{"a session that uploads", func(ctx SpecContext, w *world) *v1alpha1.UploadSession {
			s := w.createSession(ctx)
			w.step(ctx, s)
			return s
		}},
		{"a session that was published", func(ctx SpecContext, w *world) *v1alpha1.UploadSession {
			s := published(ctx, w, v1alpha1.ReclaimPolicyRetain)
			w.step(ctx, s)
			return s
		}},
		{"a session whose object goes with it", func(ctx SpecContext, w *world) *v1alpha1.UploadSession {
			s := published(ctx, w, v1alpha1.ReclaimPolicyDelete)
			w.step(ctx, s)
			return s
		}},
		{"a session whose object goes with it, of which the operator has not heard", func(ctx SpecContext, w *world) *v1alpha1.UploadSession {
			return published(ctx, w, v1alpha1.ReclaimPolicyDelete)
		}},
		{"a session that ended with its store", func(ctx SpecContext, w *world) *v1alpha1.UploadSession {
			s := w.createSession(ctx)
			w.step(ctx, s)
			deleteAll(ctx, w.getStore(ctx))
			w.pass(leaseLife)
			w.step(ctx, s)
			Expect(s).To(showing("True Admitted", "False Finished", "False StoreGone"))
			return s
		}},
		{"a session whose replica is gone for good", func(ctx SpecContext, w *world) *v1alpha1.UploadSession {
			s := w.createSession(ctx)
			w.step(ctx, s)
			w.sayGone(ctx, replicaName)
			w.pass(leaseLife)
			w.stepStore(ctx)
			w.step(ctx, s)
			return s
		}},
	}
	dataplanes := []struct {
		name    string
		answers bool
		prepare func(ctx SpecContext, lease *coordinationv1.Lease)
	}{
		{"while the dataplane is up", true, func(SpecContext, *coordinationv1.Lease) {}},
		{"while the dataplane is down", false, func(SpecContext, *coordinationv1.Lease) {}},
		{"while the dataplane has left nothing", false, func(ctx SpecContext, lease *coordinationv1.Lease) { deleteAll(ctx, lease) }},
	}
	deletions := []struct {
		name string
		do   func(ctx SpecContext, s *v1alpha1.UploadSession, store *v1alpha1.UploadStore, lease *coordinationv1.Lease)
	}{
		{"alone", func(ctx SpecContext, s *v1alpha1.UploadSession, _ *v1alpha1.UploadStore, _ *coordinationv1.Lease) {
			deleteAll(ctx, s)
		}},
		{"after its store", func(ctx SpecContext, s *v1alpha1.UploadSession, store *v1alpha1.UploadStore, _ *coordinationv1.Lease) {
			deleteAll(ctx, store, s)
		}},
		{"with all of its namespace", func(ctx SpecContext, s *v1alpha1.UploadSession, store *v1alpha1.UploadStore, lease *coordinationv1.Lease) {
			deleteAll(ctx, s, lease, store)
		}},
	}
	for _, from := range states {
		for _, plane := range dataplanes {
			for _, deletion := range deletions {
				It(from.name+" ends, "+deletion.name+", "+plane.name, func(ctx SpecContext) {
					w := newWorld(ctx)
					w.haveReadyStore(ctx)
					store := w.getStore(ctx)
					lease := &coordinationv1.Lease{
						ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v1alpha1.LeaseNamePrefix + replicaName},
					}
					s := from.reach(ctx, w)
					plane.prepare(ctx, lease)
					deletion.do(ctx, s, store, lease)
					w.goes(ctx, s, plane.answers)
				})
			}
		}
	}
})
