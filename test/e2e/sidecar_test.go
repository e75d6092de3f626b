package e2e_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/e2e/agent"
)

// A Pod that carries the dataplane of the store `models`, as config/samples/sidecar writes it by hand.
func (s *space) sidecarByHand(ctx context.Context) []client.Object {
	GinkgoHelper()
	s.addDataplaneIdentity(ctx)
	s.newStore(ctx, "models", v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeSidecar})
	return s.sample(ctx, "sidecar")
}

// deployment makes a Deployment of a Pod.
func deployment(pod *corev1.Pod) *appsv1.Deployment {
	one := int32(1)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: "models"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one,
			Selector: &metav1.LabelSelector{MatchLabels: pod.Labels},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}, // one Pod at a time has the volume
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec},
		},
	}
}

// job makes a Job of a Pod.
func job(pod *corev1.Pod) *batchv1.Job {
	spec := pod.Spec
	spec.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: "models"},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: spec}},
	}
}

var _ = Describe("A sidecar", Label("sidecar"), func() {
	Context("written by hand", Label("by-hand"), func() {
		It("takes uploads into a volume that a Deployment's own container reads", SpecTimeout(specTimeout), func(ctx SpecContext) {
			s := newSpace(ctx)
			objects := s.sidecarByHand(ctx)
			pod := one[*corev1.Pod](objects)
			withImages(&pod.Spec, "pause")
			create(ctx, one[*corev1.PersistentVolumeClaim](objects), one[*corev1.Service](objects), deployment(pod))
			s.checkDeployment(ctx, "models")
		})

		It("ends with the Job that it is in", SpecTimeout(specTimeout), func(ctx SpecContext) {
			s := newSpace(ctx)
			objects := s.sidecarByHand(ctx)
			pod := one[*corev1.Pod](objects)
			u := s.newUpload(ctx, "models", "input", 5<<20)
			withImages(&pod.Spec, "read", "--file", volumePath+"/"+u.session.Spec.Key, "--patience", patience.String())
			create(ctx, one[*corev1.PersistentVolumeClaim](objects), one[*corev1.Service](objects), job(pod))
			s.checkJob(ctx, u, "models")
		})
	})

	Context("that is injected", Label("injection"), func() {
		It("takes uploads into a volume that a Deployment's own container reads", SpecTimeout(specTimeout), func(ctx SpecContext) {
			s := newSpace(ctx)
			s.addDataplaneIdentity(ctx)
			objects := s.sample(ctx, "sidecar-injected/deployment")
			withImages(&one[*appsv1.Deployment](objects).Spec.Template.Spec, "pause")
			create(ctx, objects...)
			s.checkDeployment(ctx, "models")
		})

		It("ends with the Job that it is in", SpecTimeout(specTimeout), func(ctx SpecContext) {
			s := newSpace(ctx)
			s.addDataplaneIdentity(ctx)
			objects := s.sample(ctx, "sidecar-injected/job")
			u := s.newUpload(ctx, "inbox", "input", 5<<20)
			withImages(&one[*batchv1.Job](objects).Spec.Template.Spec, "read", "--file", volumePath+"/"+u.session.Spec.Key, "--patience", patience.String())
			create(ctx, objects...)
			s.checkJob(ctx, u, "inbox")
		})
	})
})

// checkDeployment uploads to the store that the Deployment of its name carries, and has the main
// container look at the object the moment that its publication is known.
func (s *space) checkDeployment(ctx context.Context, name string) {
	GinkgoHelper()
	u := s.newUpload(ctx, name, "object", 20<<20)
	u.run(ctx)
	var pods corev1.PodList
	Expect(cluster.List(ctx, &pods, client.InNamespace(s.name), client.MatchingLabels{v1alpha1.StoreLabel: name})).To(Succeed())
	Expect(pods.Items).To(HaveLen(1))
	seen := inPod[agent.Read](ctx, s, pods.Items[0].Name, "main", "read", "--file", volumePath+"/"+u.session.Spec.Key)
	Expect(seen).To(Equal(agent.Read{Digest: u.content.Digest(), Bytes: u.content.Size}))

	By("replacing the Pod, which has its volume to itself")
	before := pods.Items[0].DeepCopy()
	Expect(cluster.Delete(ctx, before)).To(Succeed())
	again := s.newUpload(ctx, name, "again", 5<<20)
	again.run(ctx)
}

// checkJob uploads what the main container of the Job waits for.
func (s *space) checkJob(ctx context.Context, u *upload, name string) {
	GinkgoHelper()
	u.run(ctx)
	done := &batchv1.Job{ObjectMeta: s.meta(name)}
	Eventually(ctx, func(g Gomega) {
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(done), done)).To(Succeed())
		g.Expect(done.Status.Conditions).To(ContainElement(HaveField("Type", batchv1.JobComplete)), "%+v", done.Status)
	}).Should(Succeed())
	var pods corev1.PodList
	Expect(cluster.List(ctx, &pods, client.InNamespace(s.name), client.MatchingLabels{"job-name": name})).To(Succeed())
	Expect(pods.Items).To(HaveLen(1))
	Expect(reportOf[agent.Read](ctx, &pods.Items[0])).To(Equal(agent.Read{Digest: u.content.Digest(), Bytes: u.content.Size}))
}
