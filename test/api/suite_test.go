package api_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// plane is the control plane that every test of the package shares.
var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	var err error
	if plane, err = controlplane.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := plane.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// world is a client and a namespace of the test's own.
type world struct {
	*testing.T
	client.Client
	namespace string
}

func newWorld(t *testing.T) world {
	t.Helper()
	return newWorldOf(t, plane.Config)
}

// newWorldOf is a world of another control plane.
func newWorldOf(t *testing.T, config *rest.Config) world {
	t.Helper()
	c := clientOf(t, config)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "api-"}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return world{T: t, Client: c, namespace: namespace.Name}
}

func clientOf(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// object is an unstructured object, so that a test can leave out, misspell and
// mistype what Go's types would not let it.
type object map[string]any

// set returns a copy with the value at a dotted path; nil removes what is there.
func (o object) set(path string, value any) object {
	copied := runtime.DeepCopyJSON(o)
	fields := strings.Split(path, ".")
	if value == nil {
		unstructured.RemoveNestedField(copied, fields...)
	} else if err := unstructured.SetNestedField(copied, value, fields...); err != nil {
		panic(err)
	}
	return copied
}

func (w world) make(kind string, spec object) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       kind,
		"metadata":   map[string]any{"generateName": "x-", "namespace": w.namespace},
		"spec":       map[string]any(spec),
	}}
}

// mustRefuse fails the test unless err is the API server's refusal with the words.
func mustRefuse(t *testing.T, err error, words string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("accepted, want a refusal with %q", words)
	case !strings.Contains(err.Error(), words):
		t.Errorf("refused with %q, want it to say %q", err, words)
	}
}
