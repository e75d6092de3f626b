package e2e_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The longest, so that it begins early: its session waits two minutes for a dataplane that is gone.
var _ = Describe("A namespace", SpecPriority(1), Label("deletion"), func() {
	It("goes in the middle of an upload, and nothing of it is left", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		s.newManagedStore(ctx, "models")
		u := s.newSlowUpload(ctx, "models", "object")
		u.awaitMiddle(ctx)

		Expect(cluster.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}})).To(Succeed())
		s.awaitGone(ctx)

		Eventually(ctx, func(g Gomega) {
			var volumes corev1.PersistentVolumeList
			g.Expect(cluster.List(ctx, &volumes)).To(Succeed())
			for _, volume := range volumes.Items {
				if volume.Spec.ClaimRef != nil && volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
					g.Expect(volume.Spec.ClaimRef.Namespace).NotTo(Equal(s.name), "of volume %s", volume.Name)
				}
			}
		}).Should(Succeed())
		// What a store has outside its namespace has the namespace in its name or among its subjects.
		Eventually(ctx, func(g Gomega) {
			out, err := try(ctx, "get", "clusterroles,clusterrolebindings", "--output=json")
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(strings.Contains(out, s.name)).To(BeFalse(), "something in the cluster names the namespace")
		}).Should(Succeed())
	})
})
