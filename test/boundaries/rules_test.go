package boundaries_test

import (
	"path"
	"testing"
)

// A guard that never barks guards nothing: what must be refused is refused.
func TestRules(t *testing.T) {
	own := func(name string) string { return path.Join(module, name) }
	for _, test := range []struct {
		why     string
		from    string
		imports string
		inTest  bool
		allowed bool
	}{
		{why: "the core uses the standard library", from: "dataplane/session", imports: "crypto/sha256", allowed: true},
		{why: "the core uses no library", from: "dataplane/session", imports: "golang.org/x/sys/unix"},
		{why: "the core knows no upload", from: "dataplane/session", imports: own("dataplane/upload")},
		{why: "nor do its tests", from: "dataplane/session", imports: own("dataplane/upload"), inTest: true},
		{why: "a sink calls the kernel", from: "dataplane/sink/file", imports: "golang.org/x/sys/unix", allowed: true},
		{why: "a prefix is not a path", from: "dataplane/sink/file", imports: "golang.org/x/system"},
		{why: "a sink knows no upload", from: "dataplane/sink/file", imports: own("dataplane/upload")},
		{why: "a sink's test runs the suite", from: "dataplane/sink/file", imports: own("dataplane/sink/sinktest"), inTest: true, allowed: true},
		{why: "a sink's code does not", from: "dataplane/sink/file", imports: own("dataplane/sink/sinktest")},
		{why: "an upload knows no Kubernetes", from: "dataplane/upload", imports: "k8s.io/apimachinery/pkg/types"},
		{why: "the protocol knows no Kubernetes", from: "dataplane/chunkapi", imports: own("dataplane/cluster")},
		{why: "the adapter knows the API", from: "dataplane/cluster", imports: own("api/v1alpha1"), allowed: true},
		{why: "the adapter knows no operator", from: "dataplane/cluster", imports: own("controllers/uploadsession")},
		{why: "the operator plans", from: "controllers/uploadsession", imports: own("controllers/admission"), allowed: true},
		{why: "the operator knows no dataplane", from: "controllers/uploadsession", imports: own("dataplane/session")},
		{why: "nor do its tests", from: "controllers/uploadsession", imports: own("dataplane/session"), inTest: true},
		{why: "a reconciler knows no other", from: "controllers/uploadsession", imports: own("controllers/uploadstore")},
		{why: "the keys are nobody else's", from: "controllers/uploadstore", imports: own("controllers/keyring")},
		{why: "a sidecar is described, not imported", from: "controllers/injection", imports: own("dataplane/session")},
		{why: "the keys know no dataplane", from: "controllers/keyring", imports: own("dataplane/auth")},
		{why: "admission is pure", from: "controllers/admission", imports: "sigs.k8s.io/controller-runtime/pkg/client"},
		{why: "the API is types", from: "api/v1alpha1", imports: "k8s.io/client-go/kubernetes"},
		{why: "a command wires anything", from: "cmd/manager", imports: own("controllers/uploadsession"), allowed: true},
		{why: "a new room needs a line", from: "dataplane/tunnel", imports: "fmt"},
	} {
		t.Run(test.why, func(t *testing.T) {
			p := pkg{path: test.from}
			if test.inTest {
				p.testImports = []string{test.imports}
			} else {
				p.imports = []string{test.imports}
			}
			if broken := violations(p); (len(broken) == 0) != test.allowed {
				t.Errorf("allowed: want %v, got %q", test.allowed, broken)
			}
		})
	}
}

func TestGoModRules(t *testing.T) {
	for line, allowed := range map[string]bool{
		"module github.com/slipway-dev/slipway":      true,
		"	k8s.io/client-go v0.37.2":                  true,
		"	k8s.io/kubernetes v1.37.2 // indirect":     false,
		"require go.etcd.io/etcd/server/v3 v3.7.3":   false,
		"tool sigs.k8s.io/controller-tools/cmd/x":    false,
		"	sigs.k8s.io/controller-tools v0.23.0":      false,
		"// k8s.io/kubernetes is not a dependency":   true,
		"	github.com/golangci/golangci-lint/v2 v2.1": false,
	} {
		if broken := goModViolations(line); (len(broken) == 0) != allowed {
			t.Errorf("%q allowed: want %v, got %q", line, allowed, broken)
		}
	}
}
