package install

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// What was stored under the CRDs of the version before is valid under today's,
// unchanged, and can be written again, and its manifests are still accepted.
func TestStoredObjectsStayValid(t *testing.T) {
	t.Parallel()
	previous, err := run(t, nil, "hack/previous.sh")
	if err != nil {
		t.Skip(err)
	}
	old := filepath.Join(t.TempDir(), "old.tar")
	must(t)(run(t, nil, "git", "archive", "--output="+old, strings.TrimSpace(previous), "config"))
	dir := t.TempDir()
	must(t)(run(t, nil, "tar", "-xf", old, "-C", dir))

	c := newCluster(t)
	c.must("apply", "--server-side", "--kustomize="+filepath.Join(dir, "config", "crd"))
	c.must("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
	samples := "--kustomize=" + filepath.Join(dir, "config", "samples")
	c.must("apply", samples)
	before := c.stored()
	if len(before) == 0 {
		t.Fatal("nothing is stored")
	}

	c.must("apply", "--filename="+manifest)
	c.must("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
	after := c.stored()
	for name, object := range before {
		// New fields may have defaults now; what was said before stays as it was.
		if !contains(after[name], object) {
			t.Errorf("%s changed:\n%s", name, cmp.Diff(object, after[name]))
		}
	}
	for name, object := range after {
		file := filepath.Join(t.TempDir(), "object.json")
		content, err := (&unstructured.Unstructured{Object: object}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.kubectl("", "replace", "--dry-run=server", "--filename="+file); err != nil {
			t.Errorf("%s can't be written again: %v", name, err)
		}
	}

	// Kubernetes bears with a value that was there before a bound; a repository of
	// manifests has to work in a new cluster too.
	c.must("create", "namespace", "new")
	if _, err := c.kubectl("", "apply", samples, "--namespace=new", "--dry-run=server"); err != nil {
		t.Errorf("the samples of %s are refused now: %v", strings.TrimSpace(previous), err)
	}
}

// stored is each object of Slipway in the default namespace, by its kind and name.
func (c *cluster) stored() map[string]map[string]any {
	c.Helper()
	stored := map[string]map[string]any{}
	list := objects(c.T, c.must("get", "uploadsessions,uploadstores,uploadquotas", "--output=yaml"))[0]
	err := list.EachListItem(func(item runtime.Object) error {
		object, ok := item.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("an item is a %T", item)
		}
		unstructured.RemoveNestedField(object.Object, "metadata", "managedFields")
		stored[identity(object)] = object.Object
		return nil
	})
	if err != nil {
		c.Fatal(err)
	}
	return stored
}

// contains reports whether a value has all that another one has.
func contains(whole, part any) bool {
	fields, ok := part.(map[string]any)
	if !ok {
		return cmp.Equal(whole, part)
	}
	has, ok := whole.(map[string]any)
	if !ok {
		return false
	}
	for name, value := range fields {
		if !contains(has[name], value) {
			return false
		}
	}
	return true
}
