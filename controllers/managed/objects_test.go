package managed

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var options = Options{Image: "slipway-dataplane:1", Role: "the-role"}

func managedStore(changes ...func(*v1alpha1.UploadStore)) *v1alpha1.UploadStore {
	s := &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models", UID: "1"},
		Spec: v1alpha1.UploadStoreSpec{
			Volume:    v1alpha1.VolumeSource{ClaimName: "claim"},
			Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeManaged},
		},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

// find returns the object of a type, which must be there once.
func find[T client.Object](t *testing.T, store *v1alpha1.UploadStore) T {
	t.Helper()
	var found []T
	for _, o := range Objects(store, 2, options) {
		if one, ok := o.(T); ok {
			found = append(found, one)
		}
	}
	if len(found) != 1 {
		t.Fatalf("there are %d of %T", len(found), found)
	}
	return found[0]
}

// What an earlier operator made is controlled by the store, and is its own too.
func TestWhatAStoreOwns(t *testing.T) {
	store := managedStore()
	controlledBy := func(uid string) func(*corev1.Service) {
		owner := store.DeepCopy()
		owner.UID = types.UID(uid)
		return func(s *corev1.Service) {
			kind := v1alpha1.GroupVersion.WithKind("UploadStore")
			s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)}
		}
	}
	for _, test := range []struct {
		name   string
		change func(*corev1.Service)
		want   bool
	}{
		{"as it is made", func(*corev1.Service) {}, true},
		{"of an earlier operator", controlledBy(string(store.UID)), true},
		{"of an earlier store", controlledBy("earlier"), false},
		{"of somebody else", func(s *corev1.Service) { s.Labels = nil }, false},
		{"of another store", func(s *corev1.Service) { s.Labels[v1alpha1.StoreLabel] = "other" }, false},
		{"of another operator", func(s *corev1.Service) { s.Labels[v1alpha1.ManagedByLabel] = "other" }, false},
	} {
		s := service(store)
		test.change(s)
		if got := Owns(store, s); got != test.want {
			t.Errorf("%s: own is %v, want %v", test.name, got, test.want)
		}
	}
}

// Tokens of a ServiceAccount that was there before the store may be anybody's.
func TestAnOlderServiceAccountIsNotTheStores(t *testing.T) {
	store := managedStore()
	store.CreationTimestamp = metav1.NewTime(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	account, other := serviceAccount(store), service(store)
	for age, want := range map[time.Duration]bool{time.Second: false, 0: true, -time.Hour: true} {
		account.CreationTimestamp = metav1.NewTime(store.CreationTimestamp.Add(-age))
		other.CreationTimestamp = account.CreationTimestamp
		if got := Owns(store, account); got != want {
			t.Errorf("a ServiceAccount that is %v older: own is %v", age, got)
		}
		if !Owns(store, other) {
			t.Errorf("a Service that is %v older is not the store's", age)
		}
	}
}

func TestObjects(t *testing.T) {
	store := managedStore()
	var got []string
	for _, o := range Objects(store, 2, options) {
		got = append(got, o.GetObjectKind().GroupVersionKind().Kind+" "+o.GetNamespace()+"/"+o.GetName())
		if !Owns(store, o) {
			t.Errorf("%T does not go with the store", o)
		}
		// The garbage collector would take it from a store that is deleted in the foreground and still held.
		if len(o.GetOwnerReferences()) != 0 {
			t.Errorf("%T has owners: %v", o, o.GetOwnerReferences())
		}
		if o.GetAnnotations()[v1alpha1.AppliedAnnotation] == "" {
			t.Errorf("%T does not say what was applied", o)
		}
	}
	want := []string{
		"ServiceAccount ml/slipway-models", "RoleBinding ml/slipway-models", "ClusterRoleBinding /slipway:ml:models",
		"Service ml/models-replicas", "Service ml/models", "NetworkPolicy ml/models", "PodDisruptionBudget ml/models", "StatefulSet ml/models",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if role := find[*rbacv1.RoleBinding](t, store).RoleRef; role.Name != "the-role" || role.Kind != "ClusterRole" {
		t.Errorf("the dataplane is bound to %+v", role)
	}
	if d := cmp.Diff(Objects(store, 2, options), Objects(managedStore(), 2, options)); d != "" {
		t.Error("the same store is other objects: " + d)
	}
}

func TestStatefulSet(t *testing.T) {
	set := find[*appsv1.StatefulSet](t, managedStore())
	if *set.Spec.Replicas != 2 || set.Spec.ServiceName != "models-replicas" {
		t.Errorf("the StatefulSet is %+v", set.Spec)
	}
	for k, v := range set.Spec.Selector.MatchLabels {
		if set.Spec.Template.Labels[k] != v {
			t.Errorf("the Pods don't have label %s=%s, by which they are selected", k, v)
		}
	}
	pod := set.Spec.Template.Spec
	if pod.ServiceAccountName != "slipway-models" || pod.Volumes[0].PersistentVolumeClaim.ClaimName != "claim" {
		t.Errorf("the Pod is %+v", pod)
	}
	if *pod.TerminationGracePeriodSeconds <= shutdownGrace {
		t.Errorf("the Pod is killed after %d seconds, and the dataplane may take %d to end", *pod.TerminationGracePeriodSeconds, shutdownGrace)
	}
	for _, item := range pod.Volumes[1].Secret.Items {
		if !strings.HasPrefix(item.Key, "models.") && item.Key != v1alpha1.CABundleEntry {
			t.Errorf("the Pod mounts %s, which is not its store's", item.Key)
		}
	}
	for _, want := range []string{
		"--advertise-url=https://$(POD_NAME).models-replicas.ml.svc:8443",
	} {
		if !slices.Contains(pod.Containers[0].Args, want) {
			t.Errorf("the arguments are %q, without %s", pod.Containers[0].Args, want)
		}
	}
}

func TestPod(t *testing.T) {
	for _, test := range []struct {
		name  string
		pod   v1alpha1.DataplanePod
		limit int32 // of chunks at once
		holds func(corev1.PodTemplateSpec) bool
	}{
		{name: "the operator's image", holds: func(p corev1.PodTemplateSpec) bool { return p.Spec.Containers[0].Image == "slipway-dataplane:1" }},
		{name: "an image", pod: v1alpha1.DataplanePod{Image: "mine"}, holds: func(p corev1.PodTemplateSpec) bool { return p.Spec.Containers[0].Image == "mine" }},
		{
			name: "with what to pull", pod: v1alpha1.DataplanePod{ImagePullSecrets: []v1alpha1.SecretReference{{Name: "r"}}, ImagePullPolicy: corev1.PullAlways},
			holds: func(p corev1.PodTemplateSpec) bool {
				return p.Spec.ImagePullSecrets[0].Name == "r" && p.Spec.Containers[0].ImagePullPolicy == corev1.PullAlways
			},
		},
		{name: "memory by default", holds: memory("256Mi")},
		{name: "memory for fewer chunks", limit: 1, holds: memory("256Mi")},
		{name: "memory for more chunks", limit: 128, holds: memory("288Mi")},
		{
			name: "memory as the user says", limit: 128,
			pod:   v1alpha1.DataplanePod{Resources: &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}},
			holds: memory("1Gi"),
		},
		{name: "placement", pod: v1alpha1.DataplanePod{
			NodeSelector: map[string]v1alpha1.LabelValue{"a": "b"}, Affinity: &corev1.Affinity{}, PriorityClassName: "high",
			Tolerations: []corev1.Toleration{{Key: "c"}},
		}, holds: func(p corev1.PodTemplateSpec) bool {
			return p.Spec.NodeSelector["a"] == "b" && p.Spec.Affinity != nil && p.Spec.PriorityClassName == "high" && p.Spec.Tolerations[0].Key == "c"
		}},
		{
			name: "spread over the store's own Pods", pod: v1alpha1.DataplanePod{TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{TopologyKey: "zone"}}},
			holds: func(p corev1.PodTemplateSpec) bool {
				return p.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels[v1alpha1.StoreLabel] == "models"
			},
		},
		{
			name: "labels and annotations", pod: v1alpha1.DataplanePod{
				Labels: map[string]v1alpha1.LabelValue{"team": "ml"}, Annotations: map[string]v1alpha1.MetadataValue{"note": "x"},
			},
			holds: func(p corev1.PodTemplateSpec) bool {
				return p.Labels["team"] == "ml" && p.Labels[v1alpha1.StoreLabel] == "models" && p.Annotations["note"] == "x"
			},
		},
		{
			name: "flags", limit: 8, pod: v1alpha1.DataplanePod{ExtraArgs: []v1alpha1.ExtraArg{"--log-level=DEBUG"}},
			holds: func(p corev1.PodTemplateSpec) bool {
				args := p.Spec.Containers[0].Args
				return slices.Contains(args, "--max-concurrent-chunks=8") && args[len(args)-1] == "--log-level=DEBUG"
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := managedStore(func(s *v1alpha1.UploadStore) {
				s.Spec.Dataplane.Pod, s.Spec.Limits.MaxConcurrentChunks = test.pod, test.limit
			})
			if template := find[*appsv1.StatefulSet](t, store).Spec.Template; !test.holds(template) {
				t.Errorf("the Pod is %+v", template)
			}
		})
	}
}

func memory(limit string) func(corev1.PodTemplateSpec) bool {
	return func(p corev1.PodTemplateSpec) bool {
		return p.Spec.Containers[0].Resources.Limits.Memory().String() == limit
	}
}

func TestSame(t *testing.T) {
	changed := func(change func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
		set := find[*appsv1.StatefulSet](t, managedStore())
		change(set)
		return set
	}
	desired := changed(func(*appsv1.StatefulSet) {})
	for _, test := range []struct {
		name     string
		observed *appsv1.StatefulSet
		same     bool
	}{
		{name: "nothing changed", observed: changed(func(*appsv1.StatefulSet) {}), same: true},
		{name: "what the API server fills in", same: true, observed: changed(func(s *appsv1.StatefulSet) {
			s.Spec.Template.Spec.RestartPolicy, s.Status.Replicas, s.Generation = corev1.RestartPolicyAlways, 2, 7
		})},
		{name: "what others add", same: true, observed: changed(func(s *appsv1.StatefulSet) { s.Labels["other"] = "x"; s.Spec.Template.Annotations["other"] = "x" })},
		{name: "a label", observed: changed(func(s *appsv1.StatefulSet) { s.Labels[v1alpha1.StoreLabel] = "x" })},
		{name: "another digest", observed: changed(func(s *appsv1.StatefulSet) { s.Annotations[v1alpha1.AppliedAnnotation] = "x" })},
		{name: "fewer replicas", observed: changed(func(s *appsv1.StatefulSet) { *s.Spec.Replicas = 1 })},
		{name: "another argument", observed: changed(func(s *appsv1.StatefulSet) {
			s.Spec.Template.Spec.Containers[0].Args = append(s.Spec.Template.Spec.Containers[0].Args, "--x")
		})},
		{name: "a security context", observed: changed(func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.SecurityContext = nil })},
	} {
		t.Run(test.name, func(t *testing.T) {
			if Same(desired, test.observed) != test.same {
				t.Errorf("the same: %v", !test.same)
			}
		})
	}
	if selecting := managedStore(func(s *v1alpha1.UploadStore) {
		s.Spec.Dataplane.Pod.NodeSelector = map[string]v1alpha1.LabelValue{"a": "b"}
	}); Same(desired, find[*appsv1.StatefulSet](t, selecting)) {
		t.Error("a field that is asked for no longer is not noticed")
	}
}

// What came of an object is told by all that is asked for, and by nothing that others add to it or report of it.
func TestOutcome(t *testing.T) {
	changed := func(change func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
		set := find[*appsv1.StatefulSet](t, managedStore())
		set.Spec.Template.Spec.Containers[0].Args = append(set.Spec.Template.Spec.Containers[0].Args, "--injected")
		change(set)
		return set
	}
	desired := find[*appsv1.StatefulSet](t, managedStore())
	came := Outcome(desired, changed(func(*appsv1.StatefulSet) {}))
	for _, test := range []struct {
		name   string
		change func(*appsv1.StatefulSet)
		same   bool
	}{
		{"a status", func(s *appsv1.StatefulSet) { s.ResourceVersion, s.Status.Replicas = "7", 2 }, true},
		{"an annotation of others", func(s *appsv1.StatefulSet) { s.Annotations["other"] = "x" }, true},
		{"the type, as an answer of the API server has it", func(s *appsv1.StatefulSet) { s.TypeMeta = metav1.TypeMeta{} }, true},
		{"another argument", func(s *appsv1.StatefulSet) { s.Spec.Template.Spec.Containers[0].Args[0] = "--x" }, false},
		{"a label", func(s *appsv1.StatefulSet) { s.Labels[v1alpha1.StoreLabel] = "x" }, false},
		{"another object of that name", func(s *appsv1.StatefulSet) { s.UID = "other" }, false},
	} {
		if got := Outcome(desired, changed(test.change)) == came; got != test.same {
			t.Errorf("%s: the same outcome: %v", test.name, got)
		}
	}
	if asked := find[*appsv1.StatefulSet](t, managedStore(func(s *v1alpha1.UploadStore) {
		s.Spec.Dataplane.Pod.NodeSelector = map[string]v1alpha1.LabelValue{"a": "b"}
	})); Outcome(asked, changed(func(*appsv1.StatefulSet) {})) == came {
		t.Error("something else that is asked for has the same outcome")
	}
}

// A Pod in a namespace with many Services starts, and none of them sets a variable of the dataplane, as a Service
// "otel-exporter-otlp" would.
func TestPodsHaveNoVariablesOfServices(t *testing.T) {
	links := find[*appsv1.StatefulSet](t, managedStore()).Spec.Template.Spec.EnableServiceLinks
	if links == nil || *links {
		t.Errorf("enableServiceLinks is %v", links)
	}
}

func TestStoreOfClusterRoleBinding(t *testing.T) {
	want := types.NamespacedName{Namespace: "ml", Name: "models"}
	if got, ok := StoreOfClusterRoleBinding(ClusterRoleBindingName(want)); !ok || got != want {
		t.Errorf("the store is %v", got)
	}
	for _, other := range []string{"cluster-admin", "slipway:ml", "system:a:b"} {
		if got, ok := StoreOfClusterRoleBinding(other); ok {
			t.Errorf("%s is of store %v", other, got)
		}
	}
}
