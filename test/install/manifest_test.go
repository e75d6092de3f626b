package install

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// One kubectl apply, by the server or by the client, then the samples: nothing else is needed.
func TestManifest(t *testing.T) {
	for name, how := range map[string][]string{
		"applied by the client": nil,
		"applied by the server": {"--server-side"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			apply := append([]string{"apply", "--filename=" + manifest}, how...)
			c.must(apply...)
			for _, object := range objects(t, readFile(t, manifest)) {
				if !c.exists(object) {
					t.Errorf("%s is not there", identity(object))
				}
			}
			c.must("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
			c.ownerIsStamped()
			c.must("apply", "--kustomize=config/samples")
			// Again changes nothing.
			c.must(apply...)
			c.must("delete", "--kustomize=config/operator", "--kustomize=config/webhook", "--kustomize=config/policy")
		})
	}
}

// ownerIsStamped waits until the policies hold: a session that names no owner has one.
func (c *cluster) ownerIsStamped() {
	c.Helper()
	c.eventually("sessions have no owner", func() error {
		out, err := c.kubectl("", "create", "--dry-run=server", "--output=yaml", "--filename=config/samples/uploads_v1alpha1_uploadsession.yaml")
		if err != nil {
			return err
		}
		owner, _, err := unstructured.NestedString(objects(c.T, out)[0].Object, "spec", "owner")
		if err == nil && owner != "admin" {
			err = fmt.Errorf("the owner is %q", owner)
		}
		return err
	})
}
