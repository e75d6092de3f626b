package api_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
		"display": {"key": "llama/tokenizer.model", "message": "takes chunks"},
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

// displayed is as much as the operator displays; the last of the fields is the message.
func displayed(fields ...string) map[string]any {
	shown := map[string]any{}
	for i, field := range fields {
		shown[field] = strings.Repeat("x", 12) + "…" + strings.Repeat("x", 25)
		if i == len(fields)-1 {
			shown[field] = strings.Repeat("x", 97) + "…"
		}
	}
	return shown
}

// Nobody makes the table of all wide with what is as long as the API lets it be: but for the name, the width has a bound.
func TestKubectlGetIsNotWide(t *testing.T) {
	w := newWorld(t)
	const digits, when = "140737488355328", "2026-01-02T03:04:05Z"
	long := func(n int) string { return strings.Repeat("x", n) }
	status := func(o *unstructured.Unstructured, value map[string]any) {
		t.Helper()
		if err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		o.Object["status"] = value
		if err := w.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	condition := func(of, reason string) []any {
		return []any{map[string]any{"type": of, "status": "False", "reason": reason, "message": long(8192), "lastTransitionTime": when}}
	}

	s := w.make("UploadSession", session.set("key", strings.Repeat(long(203)+"/", 5)+"mine").
		set("owner", long(512)).set("storeRef.name", long(52)).set("sizeBytes", int64(1<<47)).set("chunkSizeBytes", nil))
	s.SetName(long(253))
	status(s, map[string]any{
		"conditions": condition("Succeeded", "QueueDeadlineExceeded"), "display": displayed("key", "owner", "message"), "result": result,
		"admission": object(admission).set("replica", long(63)).set("endpoint", "http://"+long(505)),
		"progress":  map[string]any(object(progress).set("receivedBytes", int64(1<<47)).set("percent", int64(100))),
	})
	st := w.make("UploadStore", store.set("volume.claimName", long(253)))
	st.SetName(long(52))
	status(st, map[string]any{
		"conditions": condition("Ready", "WaitForFirstConsumer"), "display": displayed("claimName", "endpoint", "message"), "endpoint": "http://" + long(505),
		"availableBytes": int64(1 << 47), "reservedBytes": int64(1 << 47),
	})

	for _, test := range []struct {
		args []string
		name int // the length of the name
		most int // besides
		have string
	}{
		{[]string{"upl"}, 253, 160, digits},
		{[]string{"upl", "--output=wide"}, 253, 470, long(63)},
		{[]string{"upst"}, 52, 180, digits},
		{[]string{"upst", "--output=wide"}, 52, 280, digits},
	} {
		table := w.kubectl(append([]string{"get"}, test.args...)...)
		if !strings.Contains(table, test.have) {
			t.Errorf("kubectl get %v does not show %q:\n%s", test.args, test.have, table)
		}
		for line := range strings.Lines(table) {
			if width := utf8.RuneCountInString(strings.TrimSpace(line)) - test.name; width > test.most {
				t.Errorf("kubectl get %v has %d columns besides the name, and may have %d:\n%s", test.args, width, test.most, line)
			}
		}
	}
}

// How much is taken of what there is, as kubectl get resourcequota shows it.
func TestKubectlGetQuota(t *testing.T) {
	w := newWorld(t)
	w.kubectl("apply", "--kustomize", "../../config/samples")
	w.kubectl("patch", "upq", "team", "--subresource=status", "--type=merge", "--patch",
		`{"status": {"summary": "activeSessions: 3/20, reservedBytes: 120/1099511627776"}}`)
	lines := strings.Split(w.kubectl("get", "upq"), "\n")
	if got := strings.Join(strings.Fields(lines[0]), " "); got != "NAME STORE USED EXCEEDED READY AGE" {
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
