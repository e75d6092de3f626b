package e2e_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var _ = Describe("A quota", Label("quota"), func() {
	It("makes sessions queue in its namespace, and in no other", SpecTimeout(specTimeout), func(ctx SpecContext) {
		a, b := newSpace(ctx), newSpace(ctx)
		Expect(cluster.Create(ctx, &v1alpha1.UploadQuota{
			ObjectMeta: a.meta("small"),
			Spec:       v1alpha1.UploadQuotaSpec{Hard: v1alpha1.UploadQuotaHard{ActiveSessions: ptr.To[int32](1)}},
		})).To(Succeed())
		a.newManagedStore(ctx, "models")
		b.newManagedStore(ctx, "models")

		By("creating three sessions where one may be active, and one elsewhere")
		first := a.newUpload(ctx, "models", "first", 3<<20)
		first.await(ctx, v1alpha1.ConditionAcceptingChunks, "True")
		second := a.newUpload(ctx, "models", "second", 3<<20)
		why := second.await(ctx, v1alpha1.ConditionAdmitted, "False", v1alpha1.ReasonQuotaExceeded)
		Expect(why.Message).To(ContainSubstring("small"), "the quota's name")
		// Its Pod waits for the session as any client would.
		second.start(ctx, 0)
		third := a.newUpload(ctx, "models", "third", 3<<20)
		third.await(ctx, v1alpha1.ConditionAdmitted, "False", v1alpha1.ReasonQuotaExceeded)
		third.start(ctx, 0)

		By("uploading elsewhere meanwhile")
		b.newUpload(ctx, "models", "other", 3<<20).run(ctx)
		second.await(ctx, v1alpha1.ConditionAdmitted, "False", v1alpha1.ReasonQuotaExceeded)

		By("ending the first")
		first.run(ctx)
		second.finish(ctx)
		third.finish(ctx)
		Expect(admitted(third)).NotTo(BeTemporally("<", admitted(second)), "they go in order")
	})
})

// admitted is when the session was admitted.
func admitted(u *upload) time.Time { return u.session.Status.Admission.AdmittedTime.Time }
