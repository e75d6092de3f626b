package operator_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var _ = Describe("The end of a session", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		w.haveReadyStore(ctx)
	})

	cancelled := func(spec *v1alpha1.UploadSessionSpec) { spec.DesiredState = v1alpha1.DesiredStateCancelled }

	Context("when it is cancelled", func() {
		It("is the operator's to write before the admission", func(ctx SpecContext) {
			s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { cancelled(&s.Spec) })
			w.step(ctx, s)
			Expect(s).To(showing("False Cancelled", "False Finished", "False Cancelled"))
			Expect(w.events).To(Receive(HavePrefix("Normal Cancelled")))
		})

		It("is the dataplane's to write after the admission", func(ctx SpecContext) {
			s := w.createSession(ctx)
			w.step(ctx, s)
			w.change(ctx, s, cancelled)
			w.step(ctx, s)
			Expect(s).To(showing("True Admitted", "False Cancelling", "Unknown Cancelling"))
			Expect(s.Status.CompletionTime.IsZero()).To(BeTrue())
			Expect(w.events).NotTo(Receive())

			report(ctx, s, w.abortion(v1alpha1.ReasonCancelled))
			w.step(ctx, s)
			Expect(s).To(showing("True Admitted", "False Finished", "False Cancelled"))
			Expect(w.events).To(Receive(Equal("Normal Cancelled The staged bytes are freed.")))
		})
	})

	It("is never the operator's to write when a deadline passes", func(ctx SpecContext) {
		s := w.createSession(ctx)
		w.pass(w.step(ctx, s))
		w.heartbeat(ctx, replicaName, 1000)
		w.stepStore(ctx)
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "False Expiring", "Unknown Expiring"))
		Expect(s.Status.CompletionTime.IsZero()).To(BeTrue())

		By("taking the dataplane's word, although it is that the upload won")
		report(ctx, s, w.publication())
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "False Finished", "True Published"))
	})

	It("is followed by its deletion when its TTL is over", func(ctx SpecContext) {
		s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.TTLSecondsAfterFinished = ptr.To[int32](60) })
		w.step(ctx, s)
		report(ctx, s, w.publication())
		Expect(w.step(ctx, s)).To(Equal(time.Minute))

		w.pass(time.Minute)
		w.step(ctx, s)
		Expect(s.DeletionTimestamp).NotTo(BeNil())
		w.step(ctx, s)
		Expect(s).To(beGone())
		Expect(w.events).To(Receive(HavePrefix("Normal Published")))
		Expect(w.events).NotTo(Receive())
	})

	It("comes when its store and its replica are gone, and not while either is there", func(ctx SpecContext) {
		s := w.createSession(ctx)
		w.step(ctx, s)
		w.pass(5 * time.Second)
		Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
		Expect(w.step(ctx, s)).To(Equal(leaseLife-5*time.Second), "the replica's Lease is alive still")
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))

		w.pass(leaseLife - 5*time.Second)
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "False Finished", "False StoreGone"))
		Expect(w.events).To(Receive(HavePrefix("Warning StoreGone")))

		By("giving way to what the volume says later")
		report(ctx, s, w.publication())
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "False Finished", "True Published"))
		Expect(w.events).To(Receive(HavePrefix("Normal Published")))
	})

	It("comes when its replica is said to be gone for good, and is", func(ctx SpecContext) {
		s := w.createSession(ctx)
		w.step(ctx, s)
		w.sayGone(ctx, replicaName)
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))

		w.pass(leaseLife)
		w.stepStore(ctx)
		Expect(w.step(ctx, s)).To(Equal(time.Minute))
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))

		w.pass(time.Minute)
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "False Finished", "False ReplicaGone"))
		Expect(w.events).To(Receive(HavePrefix("Warning ReplicaGone")))

		By("giving way to what the volume says, should it be back after all")
		report(ctx, s, w.publication())
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "False Finished", "True Published"))
	})

	Context("when it is deleted", func() {
		It("goes at once when it was never admitted", func(ctx SpecContext) {
			s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Finalizers = []string{v1alpha1.StagingFinalizer} })
			Expect(user.Delete(ctx, s)).To(Succeed())
			w.step(ctx, s)
			Expect(s).To(beGone())
		})

		It("stays until the dataplane has freed the staged bytes", func(ctx SpecContext) {
			s := w.createSession(ctx)
			w.step(ctx, s)
			Expect(user.Delete(ctx, s)).To(Succeed())
			w.step(ctx, s)
			Expect(s).To(showing("True Admitted", "False Deleting", "Unknown Deleting"))

			report(ctx, s, w.abortion(v1alpha1.ReasonDeleted))
			w.step(ctx, s)
			Expect(s).To(beGone())
			Expect(w.events).To(Receive(Equal("Normal Deleted The staged bytes are freed.")))
		})

		It("does not stay for ever when the replica is silent", func(ctx SpecContext) {
			s := w.createSession(ctx)
			w.step(ctx, s)
			Expect(user.Delete(ctx, s)).To(Succeed())
			w.refresh(ctx, s)
			w.clock.SetTime(s.DeletionTimestamp.Time)
			Expect(w.step(ctx, s)).To(Equal(2 * time.Minute))

			w.pass(2*time.Minute - time.Second)
			Expect(w.step(ctx, s)).To(Equal(time.Second))
			Expect(s).NotTo(beGone())

			w.pass(time.Second)
			w.step(ctx, s)
			Expect(s).To(beGone())
			Expect(w.events).To(Receive(HavePrefix(`Warning StagedBytesLeft Replica "models-0" did not confirm`)))
		})

		Context("with its object", func() {
			withObject := func(s *v1alpha1.UploadSession) { s.Spec.ReclaimPolicy = v1alpha1.ReclaimPolicyDelete }
			var s *v1alpha1.UploadSession
			BeforeEach(func(ctx SpecContext) {
				s = w.createSession(ctx, withObject)
				w.step(ctx, s)
				report(ctx, s, w.publication())
				w.step(ctx, s)
				Expect(w.events).To(Receive(HavePrefix("Normal Published")))
				Expect(user.Delete(ctx, s)).To(Succeed())
				w.step(ctx, s)
			})

			It("stays until the dataplane has removed it", func(ctx SpecContext) {
				Expect(s).To(showing("True Admitted", "False Finished", "True Published"))
				Expect(message(s.Status.Conditions, v1alpha1.ConditionReady)).To(
					Equal(`The session is being deleted: replica "models-0" has yet to remove the object.`))

				report(ctx, s, w.publication().WithReclaimedTime(metav1.NewTime(w.clock.Now())))
				w.step(ctx, s)
				Expect(s).To(beGone())
				Expect(w.events).NotTo(Receive())
			})

			It("does not stay for ever when the replica is silent, and says what is left", func(ctx SpecContext) {
				w.clock.SetTime(s.DeletionTimestamp.Add(2*time.Minute - time.Second))
				w.stepStore(ctx)
				Expect(w.step(ctx, s)).To(Equal(time.Second))
				Expect(message(s.Status.Conditions, v1alpha1.ConditionReady)).To(HaveSuffix("is not alive; start it again."))

				w.pass(time.Second)
				w.step(ctx, s)
				Expect(s).To(beGone())
				Expect(w.events).To(Receive(And(HavePrefix("Warning ObjectLeft"), HaveSuffix(`The key is "llama/model.gguf".`))))
			})

			It("does not stay for ever when the store is gone too", func(ctx SpecContext) {
				Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
				w.step(ctx, s)
				Expect(message(s.Status.Conditions, v1alpha1.ConditionReady)).To(
					HaveSuffix("has yet to remove the object."), "the replica's Lease is alive still")
				w.clock.SetTime(s.DeletionTimestamp.Add(2 * time.Minute))
				w.step(ctx, s)
				Expect(s).To(beGone())
				Expect(w.events).To(Receive(HavePrefix("Warning ObjectLeft")))
			})
		})

		It("goes although somebody else claims the finalizer too", func(ctx SpecContext) {
			s := w.createSession(ctx)
			w.step(ctx, s)
			restored := s.DeepCopy()
			restored.ManagedFields = nil
			restored.Labels = map[string]string{"restored": "true"}
			Expect(user.Update(ctx, restored, client.FieldOwner("backup"))).To(Succeed())
			w.refresh(ctx, s)
			report(ctx, s, w.publication())
			w.step(ctx, s)
			Expect(user.Delete(ctx, s)).To(Succeed())
			w.step(ctx, s)
			Expect(s).To(beGone())
		})
	})

	It("is not written over by a plan for what the session was", func(ctx SpecContext) {
		s := w.createSession(ctx)
		w.sessions.Client = outdated{Client: operator, session: s.DeepCopy()}
		Expect(user.Delete(ctx, s)).To(Succeed())
		w.step(ctx, s)
		Expect(s).To(beGone(), "an apply must not create what was deleted")
	})
})
