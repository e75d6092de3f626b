package install

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/slipway-dev/slipway/test/controlplane"
)

const (
	repository = "../.."
	manifest   = "dist/install.yaml"
	chart      = "charts/slipway"
	namespace  = "slipway-system"
)

// run runs a command in the repository and returns what it prints to stdout.
func run(t *testing.T, input []byte, name string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Stdin = repository, bytes.NewReader(input)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	err := command.Run()
	if err != nil {
		return out.String(), &failure{command.String(), err, out.String() + problems.String()}
	}
	return out.String(), nil
}

// failure is a command that failed, with what it said.
type failure struct {
	command string
	err     error
	said    string
}

func (f *failure) Error() string { return f.command + ": " + f.err.Error() + "\n" + f.said }

func (f *failure) Unwrap() error { return f.err }

// pinnedHelm compiles the Helm that hack/tools/helm pins, where that is not done yet, and returns its path.
var pinnedHelm = sync.OnceValues(func() (string, error) {
	command := exec.Command("go", "tool", "-n", "-modfile=hack/tools/helm/go.mod", "helm")
	command.Dir = repository
	// As make has it, so that Helm is compiled once for the tests with and without the race detector.
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	path, err := command.Output()
	return strings.TrimSpace(string(path)), err
})

// helm runs the pinned Helm, with nothing of the user's own.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	binary, err := pinnedHelm()
	if err != nil {
		t.Fatalf("go tool helm: %v", err)
	}
	home := t.TempDir()
	return run(t, nil, "env", append([]string{
		"HELM_CONFIG_HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_DATA_HOME=" + home, binary,
	}, args...)...)
}

// must fails the test where err is one, and else returns the output.
func must(t *testing.T) func(string, error) string {
	return func(out string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// objects are those of a file of YAML documents.
func objects(t *testing.T, documents string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for document := range strings.SplitSeq("\n"+documents, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if object.Object != nil {
			all = append(all, object)
		}
	}
	return all
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// cluster is an API server with nothing of Slipway in it.
type cluster struct {
	*testing.T
	client.Client
	kubeconfig string
	binary     string // kubectl
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	plane, err := controlplane.StartEmpty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{T: t, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), binary: filepath.Join(plane.Assets, "kubectl")}
	if err := os.WriteFile(c.kubeconfig, plane.KubeConfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.Client, err = client.New(plane.Config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// kubectl runs the real kubectl as the administrator.
func (c *cluster) kubectl(input string, args ...string) (string, error) {
	c.Helper()
	return run(c.T, []byte(input), c.binary, append([]string{"--kubeconfig=" + c.kubeconfig}, args...)...)
}

func (c *cluster) must(args ...string) string {
	c.Helper()
	return must(c.T)(c.kubectl("", args...))
}

func (c *cluster) helm(args ...string) string {
	c.Helper()
	return must(c.T)(helm(c.T, append(args, "--kubeconfig="+c.kubeconfig)...))
}

// exists reports whether there is such an object.
func (c *cluster) exists(like *unstructured.Unstructured) bool {
	c.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(like.GroupVersionKind())
	err := c.Get(c.Context(), client.ObjectKeyFromObject(like), object)
	if err != nil && !apierrors.IsNotFound(err) {
		c.Fatal(err)
	}
	return err == nil
}

// eventually waits until what holds.
func (c *cluster) eventually(why string, what func() error) {
	c.Helper()
	var last error
	err := wait.PollUntilContextTimeout(c.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = what()
		return last == nil, nil
	})
	if err != nil {
		c.Fatalf("%s: %v", why, last)
	}
}

// namesOf tells the objects apart.
func namesOf(all []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	named := map[string]*unstructured.Unstructured{}
	for _, object := range all {
		named[identity(object)] = object
	}
	return named
}

func identity(object *unstructured.Unstructured) string {
	return schema.FromAPIVersionAndKind(object.GetAPIVersion(), object.GetKind()).String() + " " + object.GetNamespace() + "/" + object.GetName()
}
