package api_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What is in config/ runs where the API server holds Pods to the restricted
// Pod Security Standard.
func TestPodsAreRestricted(t *testing.T) {
	w := newWorld(t)
	var namespace corev1.Namespace
	if err := w.Get(t.Context(), client.ObjectKey{Name: w.namespace}, &namespace); err != nil {
		t.Fatal(err)
	}
	namespace.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	if err := w.Update(t.Context(), &namespace); err != nil {
		t.Fatal(err)
	}

	pods := podsOf(t, w.namespace)
	if len(pods) < 2 {
		t.Fatalf("config/ has %d pods, want the manager's and the dataplane's", len(pods))
	}
	for _, pod := range pods {
		// There are no ServiceAccounts and claims here; whether they exist is not the question.
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: pod.Spec.ServiceAccountName, Namespace: w.namespace}}
		if err := client.IgnoreAlreadyExists(w.Create(t.Context(), account)); err != nil {
			t.Fatal(err)
		}
		if err := w.Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
			t.Errorf("%s: %v", pod.Name, err)
		}
		for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
			if c.Name == "main" { // the user's own
				continue
			}
			if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s: container %s may write to its root filesystem", pod.Name, c.Name)
			}
		}

		// A standard that lets everything in would prove nothing.
		lax := pod.DeepCopy()
		lax.Spec.SecurityContext.SeccompProfile = nil
		mustRefuse(t, w.Create(t.Context(), lax, client.DryRunAll), "seccompProfile")
	}
}

// podsOf are the Pods that the folders of config/ ask for, in a namespace.
func podsOf(t *testing.T, namespace string) []*corev1.Pod {
	t.Helper()
	var pods []*corev1.Pod
	for _, folder := range []string{"default", "samples/sidecar"} {
		for _, o := range render(t, folder) {
			pod := &corev1.Pod{}
			switch o.GetKind() {
			case "Pod":
				convert(t, o, pod)
			case "Deployment":
				var deployment appsv1.Deployment
				convert(t, o, &deployment)
				pod.Name = deployment.Name
				pod.Spec = deployment.Spec.Template.Spec
			default:
				continue
			}
			pod.Namespace = namespace
			pods = append(pods, pod)
		}
	}
	return pods
}

// render returns what kustomize makes of a folder of config/.
func render(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	root := filepath.Join("..", "..")
	build := exec.CommandContext(t.Context(), "go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", "config/"+folder)
	build.Dir, build.Stderr = root, os.Stderr
	rendered, err := build.Output()
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
}

func convert(t *testing.T, from *unstructured.Unstructured, to any) {
	t.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, to); err != nil {
		t.Fatal(err)
	}
}
