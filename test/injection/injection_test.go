package injection_test

import (
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// TestInjection is one story, as the configuration of a webhook is the whole
// cluster's.
func TestInjection(t *testing.T) {
	// The first certificate is two thirds through its life when the clock is right.
	now := time.Now()
	w := newWorld(t, now.Add(-61*24*time.Hour))
	ctx := t.Context()
	leader := w.start()
	w.Eventually(leader.elected).Should(BeClosed())
	other := w.start()
	w.Consistently(other.elected, 100*time.Millisecond).ShouldNot(BeClosed())

	// create makes a Pod in a namespace with the store.
	create := func(p place, changes ...func(*corev1.Pod)) (*corev1.Pod, error) {
		pod := p.pod(changes...)
		return pod, p.Create(ctx, pod)
	}
	mustInject := func(p place) *corev1.Pod {
		w.t.Helper()
		pod, err := create(p)
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(sidecars(pod)).To(HaveLen(1))
		return pod
	}

	w.call(other) // which does not lead
	team := w.namespace()
	team.store("models")
	_ = w.said()

	w.run("a labeled Pod gets its dataplane", func() {
		pod := mustInject(team)
		c := sidecars(pod)[0]
		w.Expect(c.Image).To(Equal(image))
		w.Expect(c.Args).To(ContainElements("--namespace="+team.name, "--store=models", "--replica=models-0"))
		w.Expect(pod.Labels).To(HaveKeyWithValue(v1alpha1.StoreLabel, "models"))
		w.Expect(w.said()).To(BeEmpty())

		// It is the API server that gives it the token, after the webhook.
		w.Expect(c.VolumeMounts).To(ContainElement(HaveField("MountPath", "/var/run/secrets/kubernetes.io/serviceaccount")))
		w.Expect(c.VolumeMounts).To(HaveLen(3))
	})
	w.run("a Pod may come before its store, and its user is told", func() {
		early := w.namespace()
		mustInject(early)
		w.Expect(w.said()).To(ContainSubstring(`there is no UploadStore "models" in namespace %q yet`, early.name))
	})
	w.run("a Pod without the label is none of its business", func() {
		for _, labels := range []map[string]string{nil, {v1alpha1.InjectLabel: "false"}} {
			pod, err := create(team, func(p *corev1.Pod) { p.Labels = labels })
			w.Expect(err).NotTo(HaveOccurred())
			w.Expect(pod.Spec.InitContainers).To(BeEmpty())
		}
	})
	w.run("nor is one of the cluster's or the operator's own", func() {
		for _, name := range []string{"kube-system", home} {
			pod, err := create(w.namespace(name))
			w.Expect(err).NotTo(HaveOccurred())
			w.Expect(pod.Spec.InitContainers).To(BeEmpty(), name)
		}
	})
	w.run("what can't work is denied, with what to do", func() {
		_, err := create(team, func(p *corev1.Pod) { p.Annotations[v1alpha1.InjectStoreAnnotation] = "Models" })
		w.Expect(apierrors.IsForbidden(err)).To(BeTrue())
		w.Expect(err).To(MatchError(ContainSubstring(`slipway: annotation uploads.slipway.dev/inject-store is "Models", which can't be`)))
		_, err = create(team, func(p *corev1.Pod) { p.Annotations[v1alpha1.InjectVolumeAnnotation] = "date" })
		w.Expect(err).To(MatchError(ContainSubstring(`it has "data" (claim "models")`)))
		_, err = create(team, func(p *corev1.Pod) { p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = "other" })
		w.Expect(err).To(MatchError(ContainSubstring(`no volume of the Pod has the claim of UploadStore "models"`)))
	})
	w.run("a sidecar by hand stays as it is", func() {
		pod, err := create(team, func(p *corev1.Pod) {
			hand := p.Spec.Containers[0]
			hand.Name, hand.Image = v1alpha1.SidecarContainerName, "mine"
			p.Spec.InitContainers = []corev1.Container{hand}
		})
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(pod.Spec.InitContainers).To(HaveLen(1))
		w.Expect(pod.Spec.InitContainers[0].Image).To(Equal("mine"))
	})
	w.run("shown again after another webhook, a Pod has it once", func() {
		another := startAnother(w)
		before, shown := another.calls(), requests(w)
		pod := mustInject(team)
		w.Expect(requests(w)).To(Equal(shown + 2))
		w.Expect(pod.Spec.InitContainers[0].Name).To(Equal("another"))
		w.Expect(pod.Spec.InitContainers[1].Name).To(Equal(v1alpha1.SidecarContainerName))
		w.Expect(another.calls()).To(Equal(before + 1))
		w.Expect(w.Delete(ctx, another.configuration)).To(Succeed())
	})
	w.run("the samples are taken where the restricted standard holds", func() {
		shop := w.namespace()
		var pods []*corev1.Pod
		for _, o := range render(w.t, "samples/sidecar-injected") {
			var template corev1.PodTemplateSpec
			o.SetNamespace(shop.name)
			switch o.GetKind() {
			case "Deployment":
				template = convert[appsv1.Deployment](w, o).Spec.Template
			case "Job":
				template = convert[batchv1.Job](w, o).Spec.Template
			default:
				w.Expect(w.Create(ctx, o)).To(Succeed())
				continue
			}
			pods = append(pods, &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec})
			pods[len(pods)-1].Namespace, pods[len(pods)-1].Name = shop.name, o.GetName()
		}
		w.Expect(pods).To(HaveLen(2))
		for _, pod := range pods {
			w.Expect(w.Create(ctx, pod)).To(Succeed())
			w.Expect(sidecars(pod)).To(HaveLen(1))
		}
		w.Expect(w.said()).To(BeEmpty())

		// A standard that lets everything in would prove nothing.
		_, err := create(team, func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = nil })
		w.Expect(err).To(MatchError(ContainSubstring("violates PodSecurity")))
	})
	w.run("a certificate is renewed while Pods are made", func() {
		old := other.shows()
		w.Expect(leader.shows().Equal(old)).To(BeTrue(), "all replicas show the same")
		w.clock.SetTime(now)
		w.Eventually(func() bool {
			mustInject(team)
			w.clock.Step(look)
			return different(old, leader.shows()) && different(old, other.shows())
		}).Should(BeTrue())
		w.Expect(leader.shows().Equal(other.shows())).To(BeTrue())
		mustInject(team)
	})
	w.run("a Secret that is lost is made anew", func() {
		old := other.shows()
		w.Expect(w.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: v1alpha1.WebhookName}})).To(Succeed())
		w.Eventually(func() error {
			w.clock.Step(look)
			if !different(old, other.shows()) || !different(old, leader.shows()) {
				return fmt.Errorf("the old certificate is served")
			}
			_, err := create(team)
			return err
		}).Should(Succeed())
		w.call(leader)
		mustInject(team)
	})
	w.run("the operator may do this and no more", func() {
		for _, question := range []struct {
			verb, group, resource, namespace, name string
			allowed                                bool
		}{
			{"get", "", "secrets", home, "slipway-webhook", true},
			{"get", "", "secrets", home, "other", false},
			{"get", "", "secrets", team.name, "slipway-webhook", false},
			{"list", "", "secrets", home, "", false},
			{"watch", "", "secrets", home, "", false},
			{"patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "slipway-injection", true},
			{"patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "other", false},
			{"create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "", false},
			{"create", "", "pods", team.name, "", false},
			{"patch", "", "pods", team.name, "", false},
		} {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: operatorConfig().Impersonate.UserName,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: question.verb, Group: question.group, Resource: question.resource, Namespace: question.namespace, Name: question.name,
				},
			}}
			w.Expect(w.Create(ctx, review)).To(Succeed())
			w.Expect(review.Status.Allowed).To(Equal(question.allowed), "%+v", question)
		}
	})
	w.run("while the operator is away only those who asked are held up", func() {
		for _, r := range w.replicas {
			r.stop()
		}
		_, err := create(team)
		w.Expect(err).To(MatchError(ContainSubstring(`failed calling webhook "inject.uploads.slipway.dev"`)))
		_, err = create(team, func(p *corev1.Pod) { p.Labels = nil })
		w.Expect(err).NotTo(HaveOccurred())
		_, err = create(w.namespace(home))
		w.Expect(err).NotTo(HaveOccurred(), "the operator's own Pods can start again")

		w.call(w.start())
		mustInject(team)
	})
}

func different(old, now *x509.Certificate) bool { return now != nil && !now.Equal(old) }
