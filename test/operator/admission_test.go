package operator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var _ = Describe("Admission", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx) })

	It("waits for the store, then for its dataplane, and starts when both are there", func(ctx SpecContext) {
		s := w.createSession(ctx)
		w.step(ctx, s)
		Expect(s).To(showing("False StoreNotFound", "False StoreNotFound", "Unknown StoreNotFound"))
		Expect(s.Finalizers).To(BeEmpty(), "nothing is staged yet")
		Expect(s.Status.StartTime.IsZero()).To(BeFalse())

		w.createStore(ctx)
		w.step(ctx, s)
		Expect(s).To(showing("False StoreNotReady", "False StoreNotReady", "Unknown StoreNotReady"))

		w.stepStore(ctx)
		w.step(ctx, s)
		Expect(message(s.Status.Conditions, v1alpha1.ConditionSucceeded)).To(ContainSubstring("start one with --store models"))

		w.heartbeat(ctx, replicaName, 1000)
		w.stepStore(ctx)
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
		Expect(w.events).NotTo(Receive())
	})

	It("ends a session that exceeds the store's limits", func(ctx SpecContext) {
		w.haveReadyStore(ctx, func(s *v1alpha1.UploadStore) { s.Spec.Limits.MaxObjectBytes = 99 })
		s := w.createSession(ctx)
		w.step(ctx, s)
		Expect(s).To(showing("False ExceedsStoreLimits", "False Finished", "False ExceedsStoreLimits"))
		Expect(s.Status.CompletionTime.Time).To(BeTemporally("==", w.clock.Now()))
		Expect(w.events).To(Receive(HavePrefix("Warning ExceedsStoreLimits sizeBytes is 100")))

		w.step(ctx, s)
		Expect(w.events).NotTo(Receive())
	})

	It("reserves room, so that what is admitted fits together", func(ctx SpecContext) {
		w.haveReadyStore(ctx)
		first := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = ptr.To[int64](901) })
		second := w.createSession(ctx)
		w.step(ctx, first)
		w.step(ctx, second)
		Expect(second).To(showing("False InsufficientSpace", "False InsufficientSpace", "Unknown InsufficientSpace"))
		Expect(message(second.Status.Conditions, v1alpha1.ConditionSucceeded)).To(ContainSubstring("Waits for room in UploadStore \"models\": needs 100, 99 of 1000 were free at"))

		report(ctx, first, w.abortion(v1alpha1.ReasonAborted))
		w.step(ctx, second)
		Expect(second).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
	})

	It("spreads sessions over the replicas", func(ctx SpecContext) {
		w.haveReadyStore(ctx)
		w.heartbeat(ctx, "models-1", 1000)
		w.stepStore(ctx)
		var chosen []string
		for range 4 {
			s := w.createSession(ctx)
			w.step(ctx, s)
			chosen = append(chosen, s.Status.Admission.Replica)
		}
		Expect(chosen).To(Equal([]string{"models-0", "models-1", "models-0", "models-1"}))
	})

	It("takes no session that is suspended, and admits it once it is active", func(ctx SpecContext) {
		w.haveReadyStore(ctx)
		s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.DesiredState = v1alpha1.DesiredStateSuspended })
		w.step(ctx, s)
		Expect(s).To(showing("False Suspended", "False Suspended", "Unknown Suspended"))

		w.change(ctx, s, func(spec *v1alpha1.UploadSessionSpec) { spec.DesiredState = v1alpha1.DesiredStateActive })
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
	})
})
