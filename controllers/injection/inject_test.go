package injection_test

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/injection"
)

const namespace = "ml"

var update = flag.Bool("update", false, "write the injected Pod down as it is now")

var options = injection.Options{Image: "slipway-dataplane:test"}

// pod is a Pod as the API server shows it that was made from the sample's Deployment.
func pod(changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "models-7d4b9c-",
			Labels:       map[string]string{"app": "models", v1alpha1.InjectLabel: "true"},
			Annotations:  map[string]string{v1alpha1.InjectStoreAnnotation: "models"},
		},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{},
			Containers:      []corev1.Container{{Name: "main", Image: "main", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}}},
			Volumes:         []corev1.Volume{claim("data", "models")},
		},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

func claim(volume, name string) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
	}}
}

func store(changes ...func(*v1alpha1.UploadStore)) *v1alpha1.UploadStore {
	s := &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "models"},
		Spec: v1alpha1.UploadStoreSpec{
			Volume:    v1alpha1.VolumeSource{ClaimName: "models"},
			Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeSidecar},
		},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

func annotate(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

func volumes(all ...corev1.Volume) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Volumes = all }
}

// ask shows the Pod to Inject and returns it as the API server makes it.
func ask(t rapid.TB, p *corev1.Pod, s *v1alpha1.UploadStore) (*corev1.Pod, injection.Result) {
	t.Helper()
	before := p.DeepCopy()
	result := injection.Inject(injection.Request{Pod: p, Namespace: namespace, Store: s}, options)
	if diff := cmp.Diff(before, p); diff != "" {
		t.Errorf("the Pod that was shown has changed:\n%s", diff)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var after corev1.Pod
	if err := json.Unmarshal(apply(t, raw, result.Patch), &after); err != nil {
		t.Fatal(err)
	}
	return &after, result
}

// apply does to the JSON of a Pod what the API server does.
func apply(t rapid.TB, raw []byte, steps []injection.Operation) []byte {
	t.Helper()
	if len(steps) == 0 {
		return raw
	}
	encoded, err := json.Marshal(steps)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(raw)
	if err != nil {
		t.Fatalf("%s: %v", encoded, err)
	}
	return after
}

// injected is the Pod with its sidecar; the sidecar comes first.
func injected(t *testing.T, p *corev1.Pod, s *v1alpha1.UploadStore) (*corev1.Pod, corev1.Container) {
	t.Helper()
	after, result := ask(t, p, s)
	if result.Refusal != "" {
		t.Fatalf("refused: %s", result.Refusal)
	}
	if len(after.Spec.InitContainers) == 0 || after.Spec.InitContainers[0].Name != v1alpha1.SidecarContainerName {
		t.Fatalf("the first init container is not the sidecar: %+v", after.Spec.InitContainers)
	}
	return after, after.Spec.InitContainers[0]
}

// TestTheSidecarAsItIs compares the whole Pod with what is written down, so
// that a change of what users get is a change of that file.
func TestTheSidecarAsItIs(t *testing.T) {
	after, _ := injected(t, pod(), store())
	got, err := yaml.Marshal(after)
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/injected.yaml"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("the Pod of %s differs; -update writes it as it is now (-want +got):\n%s", file, diff)
	}
}

func TestWhatIsInjected(t *testing.T) {
	for _, test := range []struct {
		name  string
		pod   *corev1.Pod
		store *v1alpha1.UploadStore
		check func(t *testing.T, after *corev1.Pod, c corev1.Container)
	}{
		{
			name: "init containers keep their order behind it", store: store(),
			pod: pod(func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "a"}, {Name: "b"}} }),
			check: func(t *testing.T, after *corev1.Pod, _ corev1.Container) {
				var names []string
				for _, c := range after.Spec.InitContainers {
					names = append(names, c.Name)
				}
				same(t, []string{"slipway", "a", "b"}, names)
			},
		},
		{
			name: "the user's containers and volumes stay as they are", store: store(),
			pod: pod(volumes(corev1.Volume{Name: "tmp"}, claim("data", "models"), claim("other", "other"))),
			check: func(t *testing.T, after *corev1.Pod, c corev1.Container) {
				before := pod()
				same(t, before.Spec.Containers, after.Spec.Containers)
				same(t, []corev1.Volume{{Name: "tmp"}, claim("data", "models"), claim("other", "other")}, after.Spec.Volumes[:3])
				same(t, "data", c.VolumeMounts[0].Name)
				same(t, 4, len(after.Spec.Volumes))
			},
		},
		{
			name: "the volume that is named, of two with the claim", store: store(),
			pod:   pod(volumes(claim("first", "models"), claim("second", "models")), annotate(v1alpha1.InjectVolumeAnnotation, "second")),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) { same(t, "second", c.VolumeMounts[0].Name) },
		},
		{
			name:  "the volume that is named, while there is no store",
			pod:   pod(volumes(claim("first", "a"), claim("second", "b")), annotate(v1alpha1.InjectVolumeAnnotation, "second")),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) { same(t, "second", c.VolumeMounts[0].Name) },
		},
		{
			name: "a group of the Pod's own stays", store: store(),
			pod: pod(func(p *corev1.Pod) { p.Spec.SecurityContext.FSGroup = ptr.To[int64](1000) }),
			check: func(t *testing.T, after *corev1.Pod, c corev1.Container) {
				same(t, &corev1.PodSecurityContext{FSGroup: ptr.To[int64](1000)}, after.Spec.SecurityContext)
				same(t, ptr.To[int64](65532), c.SecurityContext.RunAsUser)
			},
		},
		{
			name: "a policy of the Pod's own stays", store: store(),
			pod: pod(func(p *corev1.Pod) {
				p.Spec.SecurityContext.FSGroupChangePolicy = ptr.To(corev1.FSGroupChangeAlways)
			}),
			check: func(t *testing.T, after *corev1.Pod, _ corev1.Container) {
				same(t, &corev1.PodSecurityContext{FSGroup: ptr.To[int64](65532), FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeAlways)}, after.Spec.SecurityContext)
			},
		},
		{
			name: "a Pod without a security context gets the group", store: store(),
			pod: pod(func(p *corev1.Pod) { p.Spec.SecurityContext = nil }),
			check: func(t *testing.T, after *corev1.Pod, _ corev1.Container) {
				same(t, ptr.To[int64](65532), after.Spec.SecurityContext.FSGroup)
			},
		},
		{
			name: "the Pods of a Deployment are one replica, whatever they are called", store: store(),
			pod: pod(func(p *corev1.Pod) { p.Name = "models-7d4b9c-x2x4z" }),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) {
				has(t, c, "--replica=models-0", "--advertise-url=https://models.ml.svc:8443")
			},
		},
		{
			name: "a StatefulSet's Pods keep their numbers, and their names below the store's Service", store: store(),
			pod: pod(func(p *corev1.Pod) {
				p.Labels["apps.kubernetes.io/pod-index"] = "3"
				p.Spec.Hostname, p.Spec.Subdomain = "web-3", "models"
			}),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) {
				has(t, c, "--replica=models-3", "--advertise-url=https://web-3.models.ml.svc:8443")
			},
		},
		{
			name: "a Pod below another Service is found by the store's", store: store(),
			pod: pod(func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "web-3", "web" }),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) {
				has(t, c, "--advertise-url=https://models.ml.svc:8443")
			},
		},
		{
			name: "a number that is none is not believed", store: store(),
			pod:   pod(func(p *corev1.Pod) { p.Labels["apps.kubernetes.io/pod-index"] = "$(X)" }),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) { has(t, c, "--replica=models-0") },
		},
		{
			name: "the endpoint that is given", store: store(),
			pod: pod(annotate(v1alpha1.InjectEndpointAnnotation, "https://uploads.example.com/models")),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) {
				has(t, c, "--advertise-url=https://uploads.example.com/models")
			},
		},
		{
			name: "it ends within what the Pod has", store: store(),
			pod:   pod(func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](20) }),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) { has(t, c, "--shutdown-grace=15s") },
		},
		{
			name: "it ends, however little the Pod has", store: store(),
			pod:   pod(func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](0) }),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) { has(t, c, "--shutdown-grace=1s") },
		},
		{
			name: "it ends, however much the Pod has", store: store(),
			pod:   pod(func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](1 << 62) }),
			check: func(t *testing.T, _ *corev1.Pod, c corev1.Container) { has(t, c, "--shutdown-grace=30s") },
		},
		{
			name: "ports beside its own, and those of another protocol", store: store(),
			pod: pod(func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "https", ContainerPort: 443}, {ContainerPort: 8443, Protocol: corev1.ProtocolUDP}}
			}),
			check: func(*testing.T, *corev1.Pod, corev1.Container) {},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			after, c := injected(t, test.pod, test.store)
			test.check(t, after, c)
			if after.Labels[v1alpha1.StoreLabel] != "models" {
				t.Errorf("the labels are %v", after.Labels)
			}
		})
	}
}

func TestWhatIsLeftAlone(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod){
		"no label":            func(p *corev1.Pod) { delete(p.Labels, v1alpha1.InjectLabel) },
		"another value":       func(p *corev1.Pod) { p.Labels[v1alpha1.InjectLabel] = "false" },
		"a sidecar by hand":   func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "slipway", Image: "mine"}} },
		"a container by hand": func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "slipway"}) },
		"a sidecar by hand, behind another, with nothing else right": func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "a"}, {Name: "slipway"}}
			p.Annotations, p.Spec.Volumes = nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, result := ask(t, pod(change), store())
			if result.Refusal != "" || len(result.Patch) > 0 || len(result.Warnings) > 0 {
				t.Errorf("result %+v", result)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, test := range []struct {
		name   string
		change func(*corev1.Pod)
		store  *v1alpha1.UploadStore
		says   []string
	}{
		{name: "no store named", change: func(p *corev1.Pod) { p.Annotations = nil }, store: store(), says: []string{"uploads.slipway.dev/inject-store is missing"}},
		{name: "a store that can't be", change: annotate(v1alpha1.InjectStoreAnnotation, "Models/x"), says: []string{`is "Models/x"`, "DNS label"}},
		{name: "an endless store", change: annotate(v1alpha1.InjectStoreAnnotation, long), says: []string{"xxx...", "at most 52 characters"}},
		{
			name: "a store that the operator runs", change: func(*corev1.Pod) {},
			store: store(func(s *v1alpha1.UploadStore) { s.Spec.Dataplane.Mode = "Managed" }), says: []string{"mode Managed", "Take the label"},
		},
		{name: "the label of another store", change: func(p *corev1.Pod) { p.Labels[v1alpha1.StoreLabel] = "other" }, store: store(), says: []string{`store is "other"`}},
		{name: "an endpoint without TLS", change: annotate(v1alpha1.InjectEndpointAnnotation, "http://a"), store: store(), says: []string{`is "http://a"`, "https://"}},
		{name: "an endpoint that is none", change: annotate(v1alpha1.InjectEndpointAnnotation, ""), store: store(), says: []string{`is ""`}},
		{name: "an endpoint to expand", change: annotate(v1alpha1.InjectEndpointAnnotation, "https://$(HOME)"), store: store(), says: []string{"not a base URL"}},
		{name: "an endpoint with a password", change: annotate(v1alpha1.InjectEndpointAnnotation, "https://a:b@c"), store: store(), says: []string{"not a base URL"}},
		{name: "an endless endpoint", change: annotate(v1alpha1.InjectEndpointAnnotation, "https://"+long), store: store(), says: []string{"at most 512"}},
		{name: "the node's network", change: func(p *corev1.Pod) { p.Spec.HostNetwork = true }, store: store(), says: []string{"hostNetwork"}},
		{
			name: "no token", change: func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = ptr.To(false) }, store: store(),
			says: []string{"automountServiceAccountToken is false", "slipway-dataplane-role"},
		},
		{
			name: "a port that is taken", store: store(), says: []string{`container "main" has port 8443`, "8091"},
			change: func(p *corev1.Pod) {
				p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8443, Protocol: "TCP"}}
			},
		},
		{
			name: "a port that another sidecar has", store: store(), says: []string{`container "side" has port 8091`},
			change: func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{Name: "side", Ports: []corev1.ContainerPort{{ContainerPort: 8091}}}}
			},
		},
		{
			name: "a name that is taken", store: store(), says: []string{`volume "slipway-keys"`},
			change: volumes(claim("data", "models"), corev1.Volume{Name: "slipway-keys"}),
		},
		{name: "no volume with the store's claim", change: volumes(claim("data", "other")), store: store(), says: []string{"no volume of the Pod has the claim", `"data" (claim "other")`}},
		{name: "no volume at all", change: volumes(), store: store(), says: []string{"it has none"}},
		{name: "no volume at all, nor a store", change: volumes(), says: []string{"no volume with a persistentVolumeClaim"}},
		{
			name: "a named volume that is not there", store: store(), change: annotate(v1alpha1.InjectVolumeAnnotation, "date"),
			says: []string{`is "date"`, `it has "data" (claim "models")`},
		},
		{
			name: "a named volume without a claim", store: store(), says: []string{`is "tmp"`, "persistentVolumeClaim"},
			change: func(p *corev1.Pod) {
				volumes(claim("data", "models"), corev1.Volume{Name: "tmp"})(p)
				annotate(v1alpha1.InjectVolumeAnnotation, "tmp")(p)
			},
		},
		{
			name: "a named volume with another claim", store: store(), says: []string{`volume "data" has another claim than UploadStore "models"`},
			change: func(p *corev1.Pod) {
				volumes(claim("data", "other"), claim("right", "models"))(p)
				annotate(v1alpha1.InjectVolumeAnnotation, "data")(p)
			},
		},
		{name: "several volumes to choose from", change: volumes(claim("a", "a"), claim("b", "b")), says: []string{"several volumes", v1alpha1.InjectVolumeAnnotation}},
		{
			name: "a claim that is only read", store: store(), says: []string{`volume "data"`, "readOnly"},
			change: func(p *corev1.Pod) { p.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = true },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, result := ask(t, pod(test.change), test.store)
			if len(result.Patch) > 0 || result.Refusal == "" {
				t.Fatalf("result %+v", result)
			}
			for _, part := range test.says {
				if !strings.Contains(result.Refusal, part) {
					t.Errorf("it says %q, want %q in it", result.Refusal, part)
				}
			}
			if len(result.Refusal) > 1000 {
				t.Errorf("it says %d bytes", len(result.Refusal))
			}
		})
	}
}

// TestTheOrderOfApplyDoesNotMatter: a Pod that comes before its store is what
// it would be after it, and its user is told.
func TestTheOrderOfApplyDoesNotMatter(t *testing.T) {
	with, _ := injected(t, pod(), store())
	without, result := ask(t, pod(), nil)
	same(t, with, without)
	if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], `no UploadStore "models"`) {
		t.Errorf("warnings %q", result.Warnings)
	}
}

// TestWhatANewerAPIServerKnowsStays: a field that this version does not know is
// on the same container after the patch.
func TestWhatANewerAPIServerKnowsStays(t *testing.T) {
	raw := []byte(`{
		"metadata": {"labels": {"uploads.slipway.dev/inject": "true"}, "annotations": {"uploads.slipway.dev/inject-store": "models"}},
		"spec": {
			"tomorrow": 1,
			"securityContext": {"tomorrow": 2},
			"initContainers": [{"name": "first", "tomorrow": 3}, {"name": "second"}],
			"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "models", "tomorrow": 4}}]
		}}`)
	var p corev1.Pod
	if err := json.Unmarshal(raw, &p); err != nil {
		t.Fatal(err)
	}
	result := injection.Inject(injection.Request{Pod: &p, Namespace: namespace, Store: store()}, options)
	var after struct {
		Spec struct {
			Tomorrow        int
			SecurityContext struct{ Tomorrow int }
			InitContainers  []struct {
				Name     string
				Tomorrow int
			}
			Volumes []struct{ PersistentVolumeClaim struct{ Tomorrow int } }
		}
	}
	if err := json.Unmarshal(apply(t, raw, result.Patch), &after); err != nil {
		t.Fatal(err)
	}
	s := after.Spec
	if s.Tomorrow != 1 || s.SecurityContext.Tomorrow != 2 || len(s.InitContainers) != 3 || s.InitContainers[1].Name != "first" ||
		s.InitContainers[1].Tomorrow != 3 || s.Volumes[0].PersistentVolumeClaim.Tomorrow != 4 {
		t.Errorf("the Pod is now %+v", after)
	}
}

func same[T any](t rapid.TB, want, got T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func has(t *testing.T, c corev1.Container, args ...string) {
	t.Helper()
	for _, arg := range args {
		if !slices.Contains(c.Args, arg) {
			t.Errorf("the arguments are %q, without %q", c.Args, arg)
		}
	}
}
