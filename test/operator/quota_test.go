package operator_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/uploadquota"
)

func (w *world) createQuota(ctx context.Context, name string, spec v1alpha1.UploadQuotaSpec) *v1alpha1.UploadQuota {
	GinkgoHelper()
	q := &v1alpha1.UploadQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Spec: spec}
	Expect(user.Create(ctx, q)).To(Succeed())
	return q
}

func (w *world) changeQuota(ctx context.Context, q *v1alpha1.UploadQuota, edit func(*v1alpha1.UploadQuotaSpec)) {
	GinkgoHelper()
	before := q.DeepCopy()
	edit(&q.Spec)
	Expect(user.Patch(ctx, q, client.MergeFrom(before))).To(Succeed())
}

func activeSessions(n int32) v1alpha1.UploadQuotaSpec {
	return v1alpha1.UploadQuotaSpec{Hard: v1alpha1.UploadQuotaHard{ActiveSessions: &n}}
}

func (w *world) inOrder(ctx context.Context, n int) []*v1alpha1.UploadSession {
	GinkgoHelper()
	var list []*v1alpha1.UploadSession
	for range n {
		list = append(list, w.createSession(ctx))
	}
	return list
}

var _ = Describe("A quota", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		w.haveReadyStore(ctx)
	})

	It("lets sessions wait, says what for, and lets them start in order, whoever leads", func(ctx SpecContext) {
		q := w.createQuota(ctx, "team", activeSessions(1))
		s := w.inOrder(ctx, 3)
		for _, one := range s {
			w.step(ctx, one) // each step is another leader's
		}
		Expect(s[0]).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
		Expect(s[1]).To(showing("False QuotaExceeded", "False QuotaExceeded", "Unknown QuotaExceeded"))
		Expect(message(s[1].Status.Conditions, v1alpha1.ConditionAdmitted)).To(HavePrefix(
			`Waits for activeSessions of UploadQuota "team": needs 1, 0 of 1 were free at `))
		Expect(message(s[2].Status.Conditions, v1alpha1.ConditionAdmitted)).To(ContainSubstring("earlier sessions wait for it too"))
		Expect(w.events).To(Receive(HavePrefix("Normal QuotaExceeded ")))
		Expect(w.events).To(Receive(HavePrefix("Normal QuotaExceeded ")))
		Expect(w.events).NotTo(Receive())

		By("writing nothing for other numbers")
		written := len(writesOf(ctx, operatorUser, w.namespace))
		w.pass(time.Minute)
		w.step(ctx, s[1])
		Expect(writesOf(ctx, operatorUser, w.namespace)).To(HaveLen(written))

		By("letting the first of them start when there is room")
		report(ctx, s[0], w.abortion(v1alpha1.ReasonAborted))
		w.heartbeat(ctx, replicaName, 1000)
		w.stepStore(ctx)
		w.step(ctx, s[2])
		Expect(s[2]).To(showing("False QuotaExceeded", "False QuotaExceeded", "Unknown QuotaExceeded"))
		w.step(ctx, s[1])
		Expect(s[1]).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))

		By("letting the next start when it is raised")
		w.changeQuota(ctx, q, func(spec *v1alpha1.UploadQuotaSpec) { spec.Hard.ActiveSessions = ptr.To[int32](2) })
		w.step(ctx, s[2])
		Expect(s[2]).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))

		By("ending nobody when it is lowered")
		w.changeQuota(ctx, q, func(spec *v1alpha1.UploadQuotaSpec) { spec.Hard.ActiveSessions = ptr.To[int32](0) })
		w.step(ctx, s[2])
		Expect(s[2]).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
	})

	It("that rejects ends a session before a byte is taken", func(ctx SpecContext) {
		spec := activeSessions(1)
		spec.OnExceeded = v1alpha1.QuotaExceededPolicyReject
		w.createQuota(ctx, "team", spec)
		s := w.inOrder(ctx, 2)
		w.step(ctx, s[0])
		w.step(ctx, s[1])
		Expect(s[1]).To(showing("False QuotaRejected", "False Finished", "False QuotaRejected"))
		Expect(s[1].Finalizers).To(BeEmpty())
		Expect(s[1].Status.Admission.Replica).To(BeEmpty())
		Expect(s[1].Status.CompletionTime.IsZero()).To(BeFalse())
		Expect(w.events).To(Receive(HavePrefix(`Warning QuotaRejected UploadQuota "team" rejects what it has no room for`)))

		By("not changing its mind")
		report(ctx, s[0], w.abortion(v1alpha1.ReasonAborted))
		w.step(ctx, s[1])
		Expect(s[1]).To(showing("False QuotaRejected", "False Finished", "False QuotaRejected"))
	})

	It("holds beside others, and for each owner", func(ctx SpecContext) {
		w.createQuota(ctx, "all", activeSessions(3))
		w.createQuota(ctx, "each", v1alpha1.UploadQuotaSpec{Hard: v1alpha1.UploadQuotaHard{ActiveSessionsPerOwner: ptr.To[int32](1)}})
		w.createQuota(ctx, "bytes", v1alpha1.UploadQuotaSpec{
			StoreRef: v1alpha1.StoreReference{Name: storeName}, Hard: v1alpha1.UploadQuotaHard{ReservedBytes: ptr.To[int64](200)},
		})
		w.createQuota(ctx, "elsewhere", v1alpha1.UploadQuotaSpec{
			StoreRef: v1alpha1.StoreReference{Name: "other"}, Hard: v1alpha1.UploadQuotaHard{ActiveSessions: ptr.To[int32](0)},
		})
		of := func(owner string) *v1alpha1.UploadSession {
			s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.Owner = owner })
			w.step(ctx, s)
			return s
		}
		Expect(of("alice")).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
		second := of("alice")
		Expect(message(second.Status.Conditions, v1alpha1.ConditionAdmitted)).To(HavePrefix(`Waits for activeSessionsPerOwner of UploadQuota "each"`))
		Expect(of("bob")).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
		Expect(message(of("carol").Status.Conditions, v1alpha1.ConditionAdmitted)).To(HavePrefix(`Waits for reservedBytes of UploadQuota "bytes"`))
	})

	It("shows what is taken of it, whatever somebody writes there", func(ctx SpecContext) {
		quotas := &uploadquota.Reconciler{Client: operator, Clock: w.clock}
		q := w.createQuota(ctx, "team", v1alpha1.UploadQuotaSpec{Hard: v1alpha1.UploadQuotaHard{
			ActiveSessions: ptr.To[int32](5), ReservedBytesPerOwner: ptr.To[int64](1000),
		}})
		step := func() string {
			_, err := quotas.Reconcile(ctx, ctrl.Request{NamespacedName: w.key("team")})
			Expect(err).NotTo(HaveOccurred())
			Expect(user.Get(ctx, w.key("team"), q)).To(Succeed())
			return q.Status.Summary
		}
		Expect(step()).To(Equal("activeSessions: 0/5, reservedBytesPerOwner: 0/1000"))
		s := w.inOrder(ctx, 2)
		w.step(ctx, s[0])
		w.step(ctx, s[1])
		Expect(step()).To(Equal("activeSessions: 2/5, reservedBytesPerOwner: 200/1000"))
		version := q.ResourceVersion
		Expect(step()).NotTo(BeEmpty())
		Expect(q.ResourceVersion).To(Equal(version), "the same again is no write")

		before := q.DeepCopy()
		q.Status.Used.ActiveSessions = ptr.To[int32](5)
		Expect(user.Status().Patch(ctx, q, client.MergeFrom(before))).To(Succeed())
		third := w.createSession(ctx)
		w.step(ctx, third)
		Expect(third).To(showing("True Admitted", "True Uploading", "Unknown Uploading"), "status is no input")
		Expect(step()).To(Equal("activeSessions: 3/5, reservedBytesPerOwner: 300/1000"))
	})
})
