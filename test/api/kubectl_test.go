package api_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/test/controlplane"
)

// kubectl runs the real kubectl, as a user would.
func (w world) kubectl(args ...string) string {
	w.Helper()
	return w.kubectlAt(plane, args...)
}

// kubectlAt does so at another control plane.
func (w world) kubectlAt(plane *controlplane.ControlPlane, args ...string) string {
	w.Helper()
	config := filepath.Join(w.TempDir(), "kubeconfig")
	if err := os.WriteFile(config, plane.KubeConfig(), 0o600); err != nil {
		w.Fatal(err)
	}
	command := exec.CommandContext(w.Context(), filepath.Join(plane.Assets, "kubectl"),
		append([]string{"--kubeconfig", config, "--namespace", w.namespace}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		w.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestSamplesApplyAsTheyAre(t *testing.T) {
	w := newWorld(t)
	out := w.kubectl("apply", "--kustomize", "../../config/samples")
	for _, want := range []string{"uploadstore.uploads.slipway.dev/models created", "uploadsession.uploads.slipway.dev/tokenizer created", "uploadquota.uploads.slipway.dev/team created", "persistentvolumeclaim/models created"} {
		if !strings.Contains(out, want) {
			t.Errorf("kubectl apply says %q, want %q", out, want)
		}
	}
}

// What a person asks: which store, which key, how it stands, how far.
func TestKubectlGet(t *testing.T) {
	w := newWorld(t)
	w.kubectl("apply", "--kustomize", "../../config/samples")
	w.kubectl("patch", "upl", "tokenizer", "--subresource=status", "--type=merge", "--patch", `{"status": {
		"conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Uploading", "message": "takes chunks", "lastTransitionTime": "2026-01-02T03:04:05Z"}],
		"progress": {"receivedBytes": 1091991, "receivedChunks": 1, "totalChunks": 2, "percent": 50}}}`)

	columns := func(table string) []string { return strings.Fields(strings.SplitN(table, "\n", 2)[0]) }
	got := columns(w.kubectl("get", "upl"))
	want := []string{"NAME", "STORE", "KEY", "STATUS", "PERCENT", "SIZE", "AGE"}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("kubectl get upl has columns %v, want %v", got, want)
	}
	row := strings.Fields(w.kubectl("get", "upl", "tokenizer", "--no-headers"))
	want = []string{"tokenizer", "models", "llama/tokenizer.model", "Uploading", "50", "2183982"}
	if strings.Join(row[:len(want)], " ") != strings.Join(want, " ") {
		t.Errorf("kubectl get upl shows %v, want %v", row, want)
	}
	if got := columns(w.kubectl("get", "upst")); strings.Join(got, " ") != "NAME CLAIM READY REASON ENDPOINT AVAILABLE RESERVED AGE" {
		t.Errorf("kubectl get upst has columns %v", got)
	}
	if out := w.kubectl("get", "slipway", "--output=name"); !strings.Contains(out, "uploadsession") ||
		!strings.Contains(out, "uploadstore") || !strings.Contains(out, "uploadquota") {
		t.Errorf("the category slipway has %q, want all kinds", out)
	}
	if out := w.kubectl("explain", "upl.spec.sizeBytes"); !strings.Contains(out, "exact size of the object in bytes") {
		t.Errorf("kubectl explain says %q", out)
	}
}

// How much is taken of what there is, as kubectl get resourcequota shows it.
func TestKubectlGetQuota(t *testing.T) {
	w := newWorld(t)
	w.kubectl("apply", "--kustomize", "../../config/samples")
	w.kubectl("patch", "upq", "team", "--subresource=status", "--type=merge", "--patch",
		`{"status": {"summary": "activeSessions: 3/20, reservedBytes: 120/1099511627776"}}`)
	lines := strings.Split(w.kubectl("get", "upq"), "\n")
	if got := strings.Join(strings.Fields(lines[0]), " "); got != "NAME STORE USED EXCEEDED AGE" {
		t.Errorf("kubectl get upq has columns %q", got)
	}
	if !strings.Contains(lines[1], "activeSessions: 3/20, reservedBytes: 120/1099511627776   Queue") {
		t.Errorf("kubectl get upq shows %q", lines[1])
	}
}

// Whose sessions they are can be asked for.
func TestKubectlGetByOwner(t *testing.T) {
	w := newWorld(t)
	for _, owner := range []string{"alice", "bob"} {
		if err := w.Create(w.Context(), w.make("UploadSession", session.set("owner", owner))); err != nil {
			t.Fatal(err)
		}
	}
	out := w.kubectl("get", "upl", "--field-selector=spec.owner=alice", "--output=jsonpath={.items[*].spec.owner}")
	if out != "alice" {
		t.Errorf("the sessions of alice are those of %q", out)
	}
}

// One owner's sessions, or one store's, are ended in one command.
func TestKubectlDeleteByOwnerAndStore(t *testing.T) {
	w := newWorld(t)
	for _, of := range []struct{ name, owner, store string }{
		{"a", "alice", "models"}, {"b", "alice", "data"}, {"c", "bob", "models"}, {"d", "alice", "models"},
	} {
		created := w.make("UploadSession", session.set("owner", of.owner).set("storeRef.name", of.store))
		created.SetGenerateName("")
		created.SetName(of.name)
		if err := w.Create(w.Context(), created); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct{ selector, left string }{
		{"spec.owner=alice,spec.storeRef.name=models", "b c"},
		{"spec.owner=nobody", "b c"},
		{"spec.owner=alice", "c"},
		{"spec.storeRef.name=models", ""},
	} {
		w.kubectl("delete", "upl", "--field-selector", step.selector)
		if left := w.kubectl("get", "upl", "--output=jsonpath={.items[*].metadata.name}"); left != step.left {
			t.Errorf("after deleting %s there are %q, want %q", step.selector, left, step.left)
		}
	}
}
