package injection_test

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/injection"
)

// TestAnyPod shows Inject Pods of every kind, and each result again, as other
// webhooks make the API server do.
func TestAnyPod(t *testing.T) {
	var injections, refusals int
	rapid.Check(t, func(rt *rapid.T) {
		p, s := anyPod(rt), anyStore(rt)
		after, result := ask(rt, p, s)
		switch {
		case result.Refusal != "":
			refusals++
			if len(result.Patch) > 0 {
				rt.Fatalf("refused and changed: %+v", result)
			}
			return
		case len(result.Patch) == 0:
			if injection.Wants(p) {
				rt.Fatalf("a Pod that asks got nothing: %+v", p)
			}
			return
		}
		injections++
		again, second := ask(rt, after, s)
		if len(second.Patch) > 0 || second.Refusal != "" {
			rt.Fatalf("shown again, it is not left alone: %+v", second)
		}
		same(rt, after, again)

		// Nothing of the user's is lost, and nothing is there twice.
		same(rt, p.Spec.InitContainers, after.Spec.InitContainers[1:])
		same(rt, p.Spec.Containers, after.Spec.Containers)
		same(rt, p.Spec.Volumes, after.Spec.Volumes[:len(p.Spec.Volumes)])
		for key, value := range p.Labels {
			if after.Labels[key] != value {
				rt.Fatalf("label %s is %q", key, after.Labels[key])
			}
		}
		c := after.Spec.InitContainers[0]
		at := slices.IndexFunc(after.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == c.VolumeMounts[0].Name })
		if at < 0 || after.Spec.Volumes[at].PersistentVolumeClaim == nil || s != nil && after.Spec.Volumes[at].PersistentVolumeClaim.ClaimName != s.Spec.Volume.ClaimName {
			rt.Fatalf("the sidecar has volume %q", c.VolumeMounts[0].Name)
		}
	})
	if injections == 0 || refusals == 0 {
		t.Errorf("%d Pods were given a sidecar and %d were refused", injections, refusals)
	}
}

func anyPod(t *rapid.T) *corev1.Pod {
	name := rapid.SampledFrom([]string{"a", "b", "models", "data", "slipway-keys"})
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Labels:      rapid.MapOf(rapid.SampledFrom([]string{"app", v1alpha1.StoreLabel, "apps.kubernetes.io/pod-index"}), rapid.SampledFrom([]string{"models", "0", "12"})).Draw(t, "labels"),
		Annotations: map[string]string{},
	}}
	if rapid.IntRange(0, 9).Draw(t, "asks") > 0 {
		p.Labels[v1alpha1.InjectLabel] = "true"
	}
	p.Annotations[v1alpha1.InjectStoreAnnotation] = rapid.SampledFrom([]string{"models", "models", "models", "models", "", "A"}).Draw(t, "store")
	if rapid.IntRange(0, 3).Draw(t, "names a volume") == 0 {
		p.Annotations[v1alpha1.InjectVolumeAnnotation] = name.Draw(t, "volume")
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "volumes") {
		v := corev1.Volume{Name: fmt.Sprintf("%s-%d", name.Draw(t, "name"), i)}
		if rapid.Bool().Draw(t, "simple") {
			v.Name = name.Draw(t, "name")
		}
		if slices.ContainsFunc(p.Spec.Volumes, func(o corev1.Volume) bool { return o.Name == v.Name }) {
			continue
		}
		if rapid.IntRange(0, 3).Draw(t, "claim") > 0 {
			v = claim(v.Name, rapid.SampledFrom([]string{"models", "models", "other"}).Draw(t, "claim of"))
		}
		p.Spec.Volumes = append(p.Spec.Volumes, v)
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "init containers") {
		c := corev1.Container{Name: fmt.Sprintf("init-%d", i)}
		if rapid.IntRange(0, 9).Draw(t, "by hand") == 0 && i == 0 {
			c.Name = v1alpha1.SidecarContainerName
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	p.Spec.Containers = []corev1.Container{{Name: "main"}}
	if rapid.Bool().Draw(t, "port") {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: rapid.SampledFrom([]int32{80, 8080, 8443}).Draw(t, "number")}}
	}
	if rapid.Bool().Draw(t, "security context") {
		p.Spec.SecurityContext = &corev1.PodSecurityContext{}
		if rapid.Bool().Draw(t, "fsGroup") {
			p.Spec.SecurityContext.FSGroup = ptr.To[int64](1)
		}
	}
	return p
}

func anyStore(t *rapid.T) *v1alpha1.UploadStore {
	switch rapid.IntRange(0, 5).Draw(t, "store") {
	case 0:
		return nil
	case 1:
		return store(func(s *v1alpha1.UploadStore) { s.Spec.Dataplane.Mode = "Managed" })
	default:
		return store()
	}
}
