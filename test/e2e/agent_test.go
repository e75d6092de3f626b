package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/e2e/agent"
)

// agentLabel is on the Pods that run the agent and nothing else.
const agentLabel = "slipway-e2e-agent"

// volumePath is where Pods have the volume of a store.
const volumePath = "/data"

// startAgent starts a Pod that runs the agent once, as the uploader of the space.
func (s *space) startAgent(ctx context.Context, name string, args []string, with ...func(*corev1.Pod)) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{
		ObjectMeta: s.meta(name),
		Spec: corev1.PodSpec{
			RestartPolicy:      corev1.RestartPolicyNever,
			ServiceAccountName: uploaderAccount,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot:   ptr.To(true),
				RunAsUser:      ptr.To[int64](65532),
				FSGroup:        ptr.To[int64](65532),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{agentContainer(args)},
		},
	}
	pod.Labels = map[string]string{agentLabel: "true"}
	for _, change := range with {
		change(pod)
	}
	Expect(cluster.Create(ctx, pod)).To(Succeed())
	return pod
}

// agentContainer runs the agent with what the restricted Pod Security Standard asks for.
func agentContainer(args []string) corev1.Container {
	return corev1.Container{
		Name: "agent", Image: settings.agentImage, Args: args,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
			},
			Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
		},
	}
}

// as runs the Pod under another ServiceAccount.
func as(account string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.ServiceAccountName = account }
}

// calling gives the Pod a token for the dataplane of a store.
func calling(namespace, store string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: v1alpha1.TokenAudience(namespace, store), Path: "token", ExpirationSeconds: ptr.To[int64](600),
			}}},
		}}})
		main := &pod.Spec.Containers[0]
		main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: "token", MountPath: "/var/run/secrets/slipway", ReadOnly: true})
	}
}

// mounting gives the Pod the volume of a store to read, on the node where the store's dataplane
// has it, which is the only one where a ReadWriteOnce volume can be.
func mounting(claim, store string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
		main := &pod.Spec.Containers[0]
		main.VolumeMounts = append(main.VolumeMounts, corev1.VolumeMount{Name: "data", MountPath: volumePath, ReadOnly: true})
		pod.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
				Weight: 100,
				PodAffinityTerm: corev1.PodAffinityTerm{
					TopologyKey:   corev1.LabelHostname,
					LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.StoreLabel: store}},
				},
			}},
		}}
	}
}

// reportOf waits for the agent in the Pod's only container that is no sidecar to end, and returns its report
// from the log, since a termination message has little room.
func reportOf[T any](ctx context.Context, pod *corev1.Pod) T {
	GinkgoHelper()
	var end *corev1.ContainerStateTerminated
	Eventually(ctx, func(g Gomega) {
		g.Expect(cluster.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
		end = ended(pod)
		g.Expect(end).NotTo(BeNil(), "Pod %s goes on: %+v", pod.Name, pod.Status.ContainerStatuses)
	}).WithTimeout(2 * patience).Should(Succeed())
	Expect(end.ExitCode).To(BeZero(), "Pod %s failed: %s", pod.Name, end.Message)
	container := pod.Spec.Containers[0].Name
	// Among what the agent logs, in any order: these are two streams.
	printed := ""
	for line := range strings.Lines(kubectl(ctx, "--namespace", pod.Namespace, "logs", pod.Name, "--container", container)) {
		if strings.HasPrefix(line, "{") {
			printed = line
		}
	}
	var report T
	Expect(json.Unmarshal([]byte(printed), &report)).To(Succeed(), "report of Pod %s: %q", pod.Name, printed)
	return report
}

// ended is how that container ended; nil while it runs.
func ended(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	for _, status := range pod.Status.ContainerStatuses {
		return status.State.Terminated
	}
	return nil
}

// read returns the digest of an object on a store's volume, as another Pod sees it.
func (s *space) read(ctx context.Context, claim, key string) string {
	GinkgoHelper()
	pod := s.startAgent(ctx, s.unique("read"), []string{"read", "--file", volumePath + "/" + key}, mounting(claim, claim))
	return reportOf[agent.Read](ctx, pod).Digest
}

// list returns the files on a store's volume, but for those that a dataplane has for itself.
func (s *space) list(ctx context.Context, claim string) []string {
	GinkgoHelper()
	pod := s.startAgent(ctx, s.unique("list"), []string{"list", "--folder", volumePath}, mounting(claim, claim))
	return reportOf[agent.List](ctx, pod).Files
}

// call makes requests from a Pod, each once, and returns the replies.
func (s *space) call(ctx context.Context, store *v1alpha1.UploadStore, requests []agent.Request, with ...func(*corev1.Pod)) []agent.Reply {
	GinkgoHelper()
	list, err := json.Marshal(requests)
	Expect(err).NotTo(HaveOccurred())
	pod := s.startAgent(ctx, s.unique("call"), []string{
		"call", "--ca-bundle", string(store.Status.CABundle), "--requests", string(list),
	}, append(with, calling(store.Namespace, store.Name))...)
	return reportOf[agent.Calls](ctx, pod).Replies
}

// inPod runs the agent in a container that has it, beside what runs there, and returns its report.
func inPod[T any](ctx context.Context, s *space, pod, container string, args ...string) T {
	GinkgoHelper()
	out := kubectl(ctx, append([]string{"--namespace", s.name, "exec", pod, "--container", container, "--", "/e2e"}, args...)...)
	var report T
	Expect(json.Unmarshal([]byte(out), &report)).To(Succeed(), "report of %s in Pod %s: %q", args[0], pod, out)
	return report
}

// unique is a name for one more Pod.
func (s *space) unique(prefix string) string {
	s.made++
	return fmt.Sprintf("%s-%d", prefix, s.made)
}
