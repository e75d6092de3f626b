package e2e_test

import (
	"fmt"
	"strconv"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/e2e/agent"
)

// The volume is an emptyDir in memory, the only kind that has a size on every cluster. The
// dataplane has it as a sidecar, and the other writer is the container beside it.
var _ = Describe("A full volume", Label("full"), func() {
	const (
		size = 192 << 20
		part = 48 << 20
		full = "507 volume-full" // as the agent counts it
	)

	It("holds up no upload that was admitted, and makes others wait until there is room", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		s.addDataplaneIdentity(ctx)
		store := s.newStore(ctx, "models", v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeSidecar}, func(store *v1alpha1.UploadStore) {
			store.Spec.Limits.MinFreeBytes = ptr.To[int64](16 << 20)
		})
		objects := s.sample(ctx, "sidecar")
		pod := one[*corev1.Pod](objects)
		withImages(&pod.Spec, "pause")
		inMemory(pod, size)
		create(ctx, one[*corev1.Service](objects), pod)
		awaitStore(ctx, store)

		By("filling the volume once a session has its room")
		first := s.newUpload(ctx, "models", "first", part, func(session *v1alpha1.UploadSession) { session.Spec.ChunkSizeBytes = slowChunk })
		first.await(ctx, v1alpha1.ConditionAcceptingChunks, "True")
		first.start(ctx, part/16)
		first.awaitMiddle(ctx)
		const ballast = volumePath + "/ballast"
		filled := inPod[agent.Fill](ctx, s, pod.Name, "main", "fill", "--file", ballast, fmt.Sprintf("--free-bytes=%d", 1<<20))
		Expect(filled.FreeBytes).To(BeNumerically("<=", 1<<20))
		first.checkUnfinished(ctx)

		By("creating a session before the operator has heard that there is no room")
		second := s.newUpload(ctx, "models", "second", part)
		second.start(ctx, 0)
		Expect(first.finish(ctx).Again).NotTo(HaveKey(full), "the first has its room")
		Eventually(ctx, func(g Gomega) {
			// It has heard in time, or the dataplane refuses what was admitted all the same.
			g.Expect(second.refresh(ctx)).To(Succeed())
			admitted := meta.FindStatusCondition(second.session.Status.Conditions, v1alpha1.ConditionAdmitted)
			g.Expect(admitted).NotTo(BeNil())
			log, err := try(ctx, "--namespace", s.name, "logs", second.pod.Name)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(admitted.Reason + log).To(Or(ContainSubstring(v1alpha1.ReasonInsufficientSpace), ContainSubstring(full)))
		}).Should(Succeed())

		By("creating one when it has heard")
		Eventually(ctx, func() int64 { return *get(ctx, store).Status.AvailableBytes }).Should(BeNumerically("<", part))
		third := s.newUpload(ctx, "models", "third", part)
		third.start(ctx, 0)
		why := third.await(ctx, v1alpha1.ConditionAdmitted, "False", v1alpha1.ReasonInsufficientSpace)
		Expect(why.Message).To(ContainSubstring(strconv.Itoa(part)), "how many bytes it needs")

		By("making room")
		inPod[struct{}](ctx, s, pod.Name, "main", "remove", "--file", ballast)
		second.finish(ctx)
		third.finish(ctx)
		for _, u := range []*upload{first, second, third} {
			seen := inPod[agent.Read](ctx, s, pod.Name, "main", "read", "--file", volumePath+"/"+u.session.Spec.Key)
			Expect(seen.Digest).To(Equal(u.content.Digest()))
		}
	})
})

// inMemory gives the Pod a volume of this size in memory in place of its claim, with a main
// container that writes to it too. Who writes there is who pays for the memory.
func inMemory(pod *corev1.Pod, size int64) {
	room := resource.NewQuantity(size, resource.BinarySI)
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.PersistentVolumeClaim != nil {
			v.VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: room}}
		}
	}
	limit := resource.NewQuantity(size+256<<20, resource.BinarySI)
	pod.Spec.InitContainers[0].Resources.Limits[corev1.ResourceMemory] = *limit
	main := &pod.Spec.Containers[0]
	main.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: *limit}
	for i := range main.VolumeMounts {
		main.VolumeMounts[i].ReadOnly = false
	}
}
