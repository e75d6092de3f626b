package e2e_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// newClaim claims a volume of the cluster's default StorageClass, or of the one given.
func (s *space) newClaim(ctx context.Context, name string, mode corev1.PersistentVolumeAccessMode, class *string) *corev1.PersistentVolumeClaim {
	GinkgoHelper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: s.meta(name),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{mode},
			StorageClassName: class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}},
		},
	}
	Expect(cluster.Create(ctx, claim)).To(Succeed())
	return claim
}

// newStore creates a store on the claim of its name.
func (s *space) newStore(ctx context.Context, name string, dataplane v1alpha1.DataplaneSpec, with ...func(*v1alpha1.UploadStore)) *v1alpha1.UploadStore {
	GinkgoHelper()
	store := &v1alpha1.UploadStore{
		ObjectMeta: s.meta(name),
		Spec:       v1alpha1.UploadStoreSpec{Volume: v1alpha1.VolumeSource{ClaimName: name}, Dataplane: dataplane},
	}
	for _, change := range with {
		change(store)
	}
	Expect(cluster.Create(ctx, store)).To(Succeed())
	return store
}

// newManagedStore makes a claim and a store that the operator runs, and waits until it is ready.
func (s *space) newManagedStore(ctx context.Context, name string) *v1alpha1.UploadStore {
	GinkgoHelper()
	s.newClaim(ctx, name, corev1.ReadWriteOnce, nil)
	store := s.newStore(ctx, name, v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeManaged})
	awaitStore(ctx, store, v1alpha1.ReasonDataplaneReady)
	return store
}

// awaitStore waits until a store takes sessions, for one of these reasons where some are given.
func awaitStore(ctx context.Context, store *v1alpha1.UploadStore, reasons ...string) {
	GinkgoHelper()
	awaitStoreIs(ctx, store, metav1.ConditionTrue, reasons...)
}

// awaitStoreIs waits until condition Ready of the store is so.
func awaitStoreIs(ctx context.Context, store *v1alpha1.UploadStore, status metav1.ConditionStatus, reasons ...string) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(store), store)).To(Succeed())
		ready := meta.FindStatusCondition(store.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(ready).NotTo(BeNil(), "store %s has no condition Ready", store.Name)
		g.Expect(ready.ObservedGeneration).To(Equal(store.Generation))
		g.Expect(ready.Status).To(Equal(status), "store %s: %s: %s", store.Name, ready.Reason, ready.Message)
		if len(reasons) > 0 {
			g.Expect(reasons).To(ContainElement(ready.Reason), "store %s: %s", store.Name, ready.Message)
		}
	}).Should(Succeed())
}

// replica is the Pod of a store's dataplane with this ordinal.
func (s *space) replica(store, ordinal string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: s.meta(store + "-" + ordinal)}
}

// awaitAnother waits until another Pod than the one with this UID has its name, and is ready.
func awaitAnother(ctx context.Context, pod *corev1.Pod) {
	GinkgoHelper()
	before := pod.UID
	Expect(before).NotTo(BeEmpty())
	Eventually(ctx, func(g Gomega) {
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
		g.Expect(pod.UID).NotTo(Equal(before))
		g.Expect(podReady(pod)).To(BeTrue(), "Pod %s is %s", pod.Name, pod.Status.Phase)
	}).Should(Succeed())
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
