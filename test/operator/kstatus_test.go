package operator_test

import (
	"context"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/uploadquota"
)

// kstatus is how tools that wait for any resource, such as Helm and Flux, take
// what the API server has of a kind under a name.
func (w *world) kstatus(ctx context.Context, kind, name string) status.Status {
	GinkgoHelper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	Expect(user.Get(ctx, w.key(name), u)).To(Succeed())
	result, err := status.Compute(u)
	Expect(err).NotTo(HaveOccurred())
	return result.Status
}

var _ = Describe("To tools that know nothing of uploads", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx) })

	It("is in progress what nobody has looked at yet, of every kind", func(ctx SpecContext) {
		s, q := w.createSession(ctx), w.createQuota(ctx, "team", activeSessions(1))
		w.createStore(ctx)
		Expect(w.kstatus(ctx, "UploadSession", s.Name)).To(Equal(status.InProgressStatus))
		Expect(w.kstatus(ctx, "UploadStore", storeName)).To(Equal(status.InProgressStatus))
		Expect(w.kstatus(ctx, "UploadQuota", q.Name)).To(Equal(status.InProgressStatus))
		w.change(ctx, s, func(spec *v1alpha1.UploadSessionSpec) { spec.DesiredState = v1alpha1.DesiredStateSuspended })
		Expect(w.kstatus(ctx, "UploadSession", s.Name)).To(Equal(status.InProgressStatus))
	})

	It("is current a quota that the operator acts on", func(ctx SpecContext) {
		w.haveReadyStore(ctx)
		q := w.createQuota(ctx, "team", activeSessions(1))
		quotas := &uploadquota.Reconciler{Client: operator, Clock: w.clock}
		step := func() status.Status {
			GinkgoHelper()
			_, err := quotas.Reconcile(ctx, ctrl.Request{NamespacedName: w.key(q.Name)})
			Expect(err).NotTo(HaveOccurred())
			return w.kstatus(ctx, "UploadQuota", q.Name)
		}
		Expect(step()).To(Equal(status.CurrentStatus))
		w.step(ctx, w.createSession(ctx))
		Expect(step()).To(Equal(status.CurrentStatus), "nothing is left of it")
		w.changeQuota(ctx, q, func(spec *v1alpha1.UploadQuotaSpec) { spec.Hard.ActiveSessions = ptr.To[int32](0) })
		Expect(w.kstatus(ctx, "UploadQuota", q.Name)).To(Equal(status.InProgressStatus))
		Expect(step()).To(Equal(status.CurrentStatus))
	})

	It("is current a store that takes sessions, and in progress one that does not", func(ctx SpecContext) {
		is := func() status.Status {
			GinkgoHelper()
			return w.kstatus(ctx, "UploadStore", storeName)
		}
		w.createStore(ctx)
		w.stepStore(ctx)
		Expect(is()).To(Equal(status.InProgressStatus), "no replica yet")
		w.renew(ctx, replicaName, w.clock.Now(), map[string]string{v1alpha1.EndpointAnnotation: endpoint})
		w.stepStore(ctx)
		Expect(is()).To(Equal(status.InProgressStatus), "a replica that does not say enough")
		w.heartbeat(ctx, replicaName, 1000)
		w.stepStore(ctx)
		Expect(is()).To(Equal(status.CurrentStatus))

		w.changeStore(ctx, func(s *v1alpha1.UploadStoreSpec) { s.Limits.MinFreeBytes = ptr.To[int64](1) })
		Expect(is()).To(Equal(status.InProgressStatus), "a change that nobody has seen")
		w.stepStore(ctx)
		Expect(is()).To(Equal(status.CurrentStatus))

		w.pass(leaseLife)
		w.stepStore(ctx)
		Expect(is()).To(Equal(status.InProgressStatus), "no replica any more")
	})

	Context("a session", func() {
		is := func(ctx context.Context, s *v1alpha1.UploadSession) status.Status {
			GinkgoHelper()
			return w.kstatus(ctx, "UploadSession", s.Name)
		}
		as := func(state v1alpha1.DesiredState) func(*v1alpha1.UploadSessionSpec) {
			return func(spec *v1alpha1.UploadSessionSpec) { spec.DesiredState = state }
		}

		It("is in progress until it is published, and current from then on", func(ctx SpecContext) {
			s := w.createSession(ctx)
			By("waiting for a store")
			w.step(ctx, s)
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))

			By("waiting for a replica")
			w.createStore(ctx)
			w.stepStore(ctx)
			w.step(ctx, s)
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))

			By("waiting for its turn")
			w.heartbeat(ctx, replicaName, 1000)
			w.stepStore(ctx)
			q := w.createQuota(ctx, "team", activeSessions(0))
			w.step(ctx, s)
			Expect(condition(s.Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False QuotaExceeded"))
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))

			By("being uploaded")
			Expect(user.Delete(ctx, q)).To(Succeed())
			w.step(ctx, s)
			Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))
			report(ctx, s, progress(50))
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))

			By("being suspended")
			w.change(ctx, s, as(v1alpha1.DesiredStateSuspended))
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus), "nobody has seen the change")
			w.step(ctx, s)
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))
			w.change(ctx, s, as(v1alpha1.DesiredStateActive))
			w.step(ctx, s)

			By("waiting for its replica to come back")
			w.pass(time.Hour)
			w.stepStore(ctx)
			w.step(ctx, s)
			Expect(condition(s.Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False ReplicaNotReady"))
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))

			By("having a result that the operator has not seen")
			report(ctx, s, w.publication())
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))

			By("being published")
			w.step(ctx, s)
			Expect(condition(s.Status.Conditions, v1alpha1.ConditionReady)).To(Equal("True Published"))
			Expect(is(ctx, s)).To(Equal(status.CurrentStatus))

			By("being changed afterwards")
			w.change(ctx, s, as(v1alpha1.DesiredStateCancelled))
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))
			w.step(ctx, s)
			Expect(is(ctx, s)).To(Equal(status.CurrentStatus))
		})

		It("has failed once it ended without an object", func(ctx SpecContext) {
			w.haveReadyStore(ctx)
			for _, reason := range []string{v1alpha1.ReasonDigestMismatch, v1alpha1.ReasonIdleTimeout, v1alpha1.ReasonAborted} {
				s := w.createSession(ctx)
				w.step(ctx, s)
				report(ctx, s, w.abortion(reason))
				w.step(ctx, s)
				Expect(condition(s.Status.Conditions, v1alpha1.ConditionStalled)).To(Equal("True " + reason))
				Expect(is(ctx, s)).To(Equal(status.FailedStatus))
			}

			By("being cancelled, before its admission and after it")
			s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.DesiredState = v1alpha1.DesiredStateCancelled })
			w.step(ctx, s)
			Expect(is(ctx, s)).To(Equal(status.FailedStatus))
			s = w.createSession(ctx)
			w.step(ctx, s)
			w.change(ctx, s, as(v1alpha1.DesiredStateCancelled))
			w.step(ctx, s)
			Expect(is(ctx, s)).To(Equal(status.InProgressStatus))
			report(ctx, s, w.abortion(v1alpha1.ReasonCancelled))
			w.step(ctx, s)
			Expect(is(ctx, s)).To(Equal(status.FailedStatus))

			By("being refused for good")
			s = w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.QueueDeadlineSeconds = 60; s.Spec.StoreRef.Name = "none" })
			w.step(ctx, s)
			w.pass(time.Minute)
			w.step(ctx, s)
			Expect(condition(s.Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False QueueDeadlineExceeded"))
			Expect(is(ctx, s)).To(Equal(status.FailedStatus))
		})

		It("has not failed where the volume says in the end that it was published", func(ctx SpecContext) {
			w.haveReadyStore(ctx)
			s := w.createSession(ctx)
			w.step(ctx, s)
			w.pass(leaseLife)
			Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
			w.step(ctx, s)
			Expect(condition(s.Status.Conditions, v1alpha1.ConditionStalled)).To(Equal("True StoreGone"))
			Expect(is(ctx, s)).To(Equal(status.FailedStatus))

			report(ctx, s, w.publication())
			w.step(ctx, s)
			Expect(condition(s.Status.Conditions, v1alpha1.ConditionStalled)).To(Equal("none"))
			Expect(is(ctx, s)).To(Equal(status.CurrentStatus))
		})

		It("is terminating while it is deleted", func(ctx SpecContext) {
			w.haveReadyStore(ctx)
			s := w.createSession(ctx)
			w.step(ctx, s)
			Expect(user.Delete(ctx, s)).To(Succeed())
			Expect(is(ctx, s)).To(Equal(status.TerminatingStatus))
			w.step(ctx, s)
			Expect(is(ctx, s)).To(Equal(status.TerminatingStatus))
		})
	})
})
