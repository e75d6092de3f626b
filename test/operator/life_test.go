package operator_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var _ = Describe("The life of a session", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		w.haveReadyStore(ctx)
	})

	It("costs the operator three writes and an event, whatever is replayed", func(ctx SpecContext) {
		s := w.createSession(ctx)
		before := len(writesOf(ctx, operatorUser, w.namespace)) // of the store

		By("admitting it at once")
		Expect(w.step(ctx, s)).To(Equal(24*time.Hour + 30*time.Second))
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
		Expect(s.Finalizers).To(ConsistOf(v1alpha1.StagingFinalizer))
		Expect(s.Status.Admission.Replica).To(Equal(replicaName))
		Expect(s.Status.Admission.Endpoint).To(Equal(endpoint))
		Expect(s.Status.Admission.ChunkSizeBytes).To(Equal(int64(16 << 20)))
		Expect(s.Status.Admission.IdleTimeoutSeconds).To(Equal(int32(3600)))
		Expect(*s.Status.Admission.ReservedBytes).To(Equal(int64(100)))
		Expect(s.Status.Admission.AdmittedTime.Time).To(BeTemporally("==", w.clock.Now()))
		Expect(s.Status.ExpirationTime.Time).To(BeTemporally("==", w.clock.Now().Add(24*time.Hour)))
		Expect(*s.Status.ObservedGeneration).To(Equal(s.Generation))
		Expect(w.events).NotTo(Receive(), "an admission is no event")

		By("leaving it alone while the dataplane reports progress")
		report(ctx, s, progress(50))
		w.pass(time.Minute)
		w.step(ctx, s)
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))

		By("recording its end")
		report(ctx, s, w.publication())
		Expect(w.step(ctx, s)).To(BeZero())
		Expect(s).To(showing("True Admitted", "False Finished", "True Published"))
		Expect(s.Status.CompletionTime.Time).To(BeTemporally("==", w.clock.Now()))
		Expect(w.events).To(Receive(HavePrefix("Normal Published The object is verified and published")))

		By("doing nothing more")
		w.pass(100 * 24 * time.Hour)
		w.step(ctx, s)
		w.step(ctx, s)
		Expect(w.events).NotTo(Receive())
		Expect(writesOf(ctx, operatorUser, w.namespace)[before:]).To(Equal([]string{
			"patch uploadsessions", "patch uploadsessions/status", "patch uploadsessions/status",
		}), "the finalizer comes first, then the admission, then the end")
	})

	It("is written by two managers that share no field", func(ctx SpecContext) {
		s := w.createSession(ctx)
		w.step(ctx, s)
		report(ctx, s, progress(50))
		report(ctx, s, w.publication())
		w.step(ctx, s)

		operators := ownedBy(s, v1alpha1.OperatorFieldManager, "status")
		dataplanes := ownedBy(s, v1alpha1.DataplaneFieldManager, "status")
		Expect(operators.Intersection(dataplanes).Empty()).To(BeTrue())

		isReport := func(p fieldpath.Path) bool { return *p[1].FieldName == "progress" || *p[1].FieldName == "result" }
		operators.Iterate(func(p fieldpath.Path) { Expect(isReport(p)).To(BeFalse(), p.String()) })
		dataplanes.Iterate(func(p fieldpath.Path) { Expect(isReport(p)).To(BeTrue(), p.String()) })

		Expect(ownedBy(s, v1alpha1.OperatorFieldManager, "").String()).To(ContainSubstring("finalizers"))
		for _, field := range s.ManagedFields {
			Expect(field.Operation == metav1.ManagedFieldsOperationApply || field.Subresource == "").To(BeTrue(),
				"%s writes status without server-side apply", field.Manager)
		}
	})

	It("follows its spec", func(ctx SpecContext) {
		s := w.createSession(ctx)
		w.step(ctx, s)

		By("suspending it")
		w.change(ctx, s, func(spec *v1alpha1.UploadSessionSpec) { spec.DesiredState = v1alpha1.DesiredStateSuspended })
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "False Suspended", "Unknown Suspended"))
		Expect(*s.Status.ObservedGeneration).To(Equal(s.Generation))
		Expect(s.Status.SuspendedTime.Time).To(BeTemporally("==", w.clock.Now()))
		Expect(s.Status.ExpirationTime.Sub(s.Status.Admission.AdmittedTime.Time)).To(Equal((1 + 7) * 24 * time.Hour))
		Expect(meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionSucceeded).Message).To(
			ContainSubstring(s.Status.ExpirationTime.UTC().Format(time.RFC3339)))
		w.clock.SetTime(w.clock.Now().Add(5 * time.Second))

		By("resuming it with a longer deadline")
		w.change(ctx, s, func(spec *v1alpha1.UploadSessionSpec) {
			spec.DesiredState = v1alpha1.DesiredStateActive
			spec.ActiveDeadlineSeconds = 48 * 3600
		})
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
		Expect(s.Status.SuspendedTime.IsZero()).To(BeTrue())
		Expect(s.Status.ExpirationTime.Sub(s.Status.Admission.AdmittedTime.Time)).To(Equal(48*time.Hour + 5*time.Second))
	})

	It("has the times that its store gave it at its admission, and no more than that allows", func(ctx SpecContext) {
		store := w.getStore(ctx)
		store.Spec.Defaults.ActiveDeadlineSeconds = 7200
		store.Spec.Defaults.TTLSecondsAfterFinished = ptr.To[int32](60)
		store.Spec.Limits.MaxIdleTimeoutSeconds, store.Spec.Limits.MaxActiveDeadlineSeconds = 4000, 9000
		Expect(user.Update(ctx, store)).To(Succeed())
		s := w.createSession(ctx)
		w.step(ctx, s)
		Expect(s.Status.Admission.MaxIdleTimeoutSeconds).To(Equal(int32(4000)))
		lasts := func() time.Duration { return s.Status.ExpirationTime.Sub(s.Status.Admission.AdmittedTime.Time) }
		Expect(lasts()).To(Equal(2 * time.Hour))

		By("asking for more, when the store would give more")
		store.Spec.Limits.MaxActiveDeadlineSeconds = 100_000
		Expect(user.Update(ctx, store)).To(Succeed())
		w.change(ctx, s, func(spec *v1alpha1.UploadSessionSpec) { spec.ActiveDeadlineSeconds = 50_000 })
		w.step(ctx, s)
		Expect(lasts()).To(Equal(9000 * time.Second))

		By("ending")
		report(ctx, s, w.publication())
		Expect(w.step(ctx, s)).To(Equal(time.Minute))
		w.pass(time.Minute)
		w.step(ctx, s)
		Expect(s.DeletionTimestamp).NotTo(BeNil())
	})

	It("waits for a replica that is lost, and goes on when it is back", func(ctx SpecContext) {
		s := w.createSession(ctx)
		w.step(ctx, s)
		w.pass(leaseLife)
		w.stepStore(ctx)
		Expect(w.step(ctx, s)).To(Equal(time.Minute), "until then the store alone tells")
		w.pass(time.Minute)
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "False ReplicaNotReady", "Unknown ReplicaNotReady"))

		w.heartbeat(ctx, replicaName, 1000)
		w.stepStore(ctx)
		w.step(ctx, s)
		Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
	})

	It("is not written for a short lapse of its replica's Lease, which its store tells of", func(ctx SpecContext) {
		const all = 20
		var sessions []*v1alpha1.UploadSession
		for range all {
			s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = ptr.To[int64](10) })
			w.step(ctx, s)
			sessions = append(sessions, s)
		}
		writes := func() (n int) {
			for _, s := range sessions {
				before := s.ResourceVersion
				w.step(ctx, s)
				Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
				if s.ResourceVersion != before {
					n++
				}
			}
			return n
		}
		w.pass(leaseLife)
		w.stepStore(ctx)
		Expect(condition(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False DataplaneLost"))
		Expect(writes()).To(BeZero())
		w.pass(time.Minute - time.Second)
		Expect(writes()).To(BeZero())
		w.heartbeat(ctx, replicaName, 1000)
		w.stepStore(ctx)
		Expect(writes()).To(BeZero())
	})
})

// ownedBy returns the leaves that a manager owns through a subresource.
func ownedBy(s *v1alpha1.UploadSession, manager, subresource string) *fieldpath.Set {
	GinkgoHelper()
	set := &fieldpath.Set{}
	for _, field := range s.ManagedFields {
		if field.Manager == manager && field.Subresource == subresource {
			Expect(set.FromJSON(field.FieldsV1.GetRawReader())).To(Succeed())
		}
	}
	Expect(set.Empty()).To(BeFalse(), "%s owns nothing of %q", manager, subresource)
	return set.Leaves()
}
