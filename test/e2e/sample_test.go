package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// developmentDataplane is the dataplane's image in config/.
const developmentDataplane = "slipway-dataplane:dev"

// sample reads the objects of a folder of config/samples as they are, for this space.
func (s *space) sample(ctx context.Context, folder string) []client.Object {
	GinkgoHelper()
	rendered := kubectl(ctx, "kustomize", filepath.Join(repository, "config", "samples", folder))
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(rendered), 4096)
	var objects []client.Object
	for {
		raw := &unstructured.Unstructured{}
		err := decoder.Decode(raw)
		if errors.Is(err, io.EOF) {
			return objects
		}
		Expect(err).NotTo(HaveOccurred())
		typed, err := cluster.Scheme().New(raw.GroupVersionKind())
		Expect(err).NotTo(HaveOccurred())
		Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, typed)).To(Succeed())
		object, ok := typed.(client.Object)
		Expect(ok).To(BeTrue())
		object.SetNamespace(s.name)
		objects = append(objects, object)
	}
}

// one is the only object of its kind among these.
func one[T client.Object](objects []client.Object) T {
	GinkgoHelper()
	var found []T
	for _, object := range objects {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	Expect(found).To(HaveLen(1))
	return found[0]
}

// withImages runs the sample with images that there are: the dataplane of this run, and the agent
// with these arguments in place of the user's own program.
func withImages(pod *corev1.PodSpec, args ...string) {
	GinkgoHelper()
	for i := range pod.InitContainers {
		Expect(pod.InitContainers[i].Image).To(Equal(developmentDataplane))
		pod.InitContainers[i].Image = settings.dataplaneImage
	}
	Expect(pod.Containers).To(HaveLen(1))
	main := &pod.Containers[0]
	main.Image, main.Command, main.Args, main.Ports = settings.agentImage, nil, args, nil
}

// create creates all of them.
func create(ctx context.Context, objects ...client.Object) {
	GinkgoHelper()
	for _, object := range objects {
		Expect(cluster.Create(ctx, object)).To(Succeed())
	}
}

// addDataplaneIdentity gives the space what config/dataplane is for, in the way that its
// kustomization tells of.
func (s *space) addDataplaneIdentity(ctx context.Context) {
	GinkgoHelper()
	here, err := filepath.Abs(repository)
	Expect(err).NotTo(HaveOccurred())
	folder, err := filepath.EvalSymlinks(GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	base, err := filepath.Rel(folder, filepath.Join(here, "config", "dataplane"))
	Expect(err).NotTo(HaveOccurred())
	binding := "slipway-dataplane-token-reviewer-" + s.name
	var kustomization bytes.Buffer
	for _, line := range []string{
		"resources: [" + base + "]",
		"namespace: " + s.name,
		"patches:",
		"- target: {kind: ClusterRoleBinding}",
		"  patch: '[{\"op\": \"replace\", \"path\": \"/metadata/name\", \"value\": \"" + binding + "\"}]'",
	} {
		kustomization.WriteString(line + "\n")
	}
	Expect(os.WriteFile(filepath.Join(folder, "kustomization.yaml"), kustomization.Bytes(), 0o600)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		kubectl(ctx, "delete", "clusterrolebinding", binding, "--ignore-not-found")
	}, NodeTimeout(patience))
	kubectl(ctx, "apply", "--kustomize", folder)
}
