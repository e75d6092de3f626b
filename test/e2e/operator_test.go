package e2e_test

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// leaderLease is what the operator's replicas lead by.
const leaderLease = "slipway-operator"

// All stores have the same operator.
var _ = Describe("The operator", Serial, Label("disruption", "operator"), func() {
	It("is killed, and its leader moved, in the middle of an upload that feels nothing", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		s.newManagedStore(ctx, "models")
		u := s.newSlowUpload(ctx, "models", "object")
		u.awaitMiddle(ctx)

		By("killing the leader, whose Lease has to run out")
		killed := leader(ctx)
		Expect(cluster.Delete(ctx, killed.DeepCopy(), client.GracePeriodSeconds(0))).To(Succeed())
		u.checkUnfinished(ctx)
		during := s.newUpload(ctx, "models", "during", 3<<20)
		during.run(ctx)
		Expect(leader(ctx).UID).NotTo(Equal(killed.UID), "the leader")

		By("moving the leader, which lets go of its Lease")
		kubectl(ctx, "--namespace", systemNamespace, "rollout", "status", managerDeployment, "--timeout=2m")
		moved := leader(ctx)
		Expect(cluster.Delete(ctx, moved.DeepCopy())).To(Succeed())
		after := s.newUpload(ctx, "models", "after", 3<<20)
		after.run(ctx)
		Expect(leader(ctx).UID).NotTo(Equal(moved.UID), "the leader")

		Expect(u.finish(ctx).Again).To(BeEmpty(), "requests that were sent again")
		u.checkVolume(ctx, "models")
	})
})

// leader waits for the Pod of the operator that leads, and is not on its way out.
func leader(ctx context.Context) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{}
	Eventually(ctx, func(g Gomega) {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: leaderLease}}
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(lease), lease)).To(Succeed())
		g.Expect(lease.Spec.HolderIdentity).NotTo(BeNil())
		holder, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
		g.Expect(cluster.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: holder}, pod)).To(Succeed())
		g.Expect(pod.DeletionTimestamp).To(BeNil())
	}).Should(Succeed())
	return pod
}
