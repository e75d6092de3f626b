package e2e_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var _ = Describe("An upload goes on", Label("disruption"), func() {
	// interrupted uploads, has something befall the dataplane's Pod in the middle, and checks that the
	// uploader has felt it, and that the object is right all the same.
	interrupted := func(ctx context.Context, s *space, store string, befall func(pod *corev1.Pod)) {
		GinkgoHelper()
		u := s.newSlowUpload(ctx, store, "object")
		u.awaitMiddle(ctx)
		pod := get(ctx, s.replica(store, "0"))
		befall(pod)
		u.checkUnfinished(ctx)
		awaitAnother(ctx, pod)
		Expect(u.finish(ctx).Again).NotTo(BeEmpty(), "requests that were sent again")
		u.checkVolume(ctx, store)
	}

	It("when the dataplane's Pod is killed", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		s.newManagedStore(ctx, "models")
		interrupted(ctx, s, "models", func(pod *corev1.Pod) {
			Expect(cluster.Delete(ctx, pod.DeepCopy(), client.GracePeriodSeconds(0))).To(Succeed())
		})
	})

	It("when the dataplane's Pod is deleted", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		s.newManagedStore(ctx, "models")
		interrupted(ctx, s, "models", func(pod *corev1.Pod) {
			Expect(cluster.Delete(ctx, pod.DeepCopy())).To(Succeed())
		})
	})

	It("when the image is changed", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		store := s.newManagedStore(ctx, "models")
		interrupted(ctx, s, "models", func(*corev1.Pod) {
			changed := get(ctx, store)
			changed.Spec.Dataplane.Pod.Image = settings.nextDataplaneImage
			Expect(cluster.Update(ctx, changed)).To(Succeed())
		})
		awaitStore(ctx, store, v1alpha1.ReasonDataplaneReady)
		Expect(get(ctx, s.replica("models", "0")).Spec.Containers[0].Image).To(Equal(settings.nextDataplaneImage))
	})

	// A node that takes no Pods concerns all specs.
	It("when its node is drained", Serial, SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		store := s.newManagedStore(ctx, "drained")
		interrupted(ctx, s, "drained", func(pod *corev1.Pod) {
			node := pod.Spec.NodeName
			DeferCleanup(func(ctx SpecContext) { kubectl(ctx, "uncordon", node) }, NodeTimeout(patience))
			kubectl(ctx, "drain", node, "--pod-selector="+v1alpha1.StoreLabel+"=drained", "--ignore-daemonsets", "--timeout=2m")
			if nodes(ctx) == 1 {
				By("seeing the store say that no node takes its Pod")
				awaitStoreIs(ctx, store, "False", v1alpha1.ReasonPodUnschedulable)
			}
			kubectl(ctx, "uncordon", node)
		})
	})
})

// nodes is how many there are.
func nodes(ctx context.Context) int {
	GinkgoHelper()
	var list corev1.NodeList
	Expect(cluster.List(ctx, &list)).To(Succeed())
	return len(list.Items)
}
