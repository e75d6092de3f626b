package api_test

import (
	"fmt"
	"strings"
	"testing"
)

var managedStore = object{
	"volume":    map[string]any{"claimName": "models"},
	"dataplane": map[string]any{"mode": "Managed"},
}

func TestManagedStoreSpec(t *testing.T) {
	w := newWorld(t)
	pod := func(field string, value any) map[string]any { return map[string]any{field: value} }
	one := map[string]any{"name": "registry"}
	many := make([]any, 17)
	for i := range many {
		many[i] = map[string]any{"name": fmt.Sprintf("registry-%d", i)}
	}
	for _, test := range []struct {
		name  string
		of    object
		path  string
		value any
		words string
	}{
		{name: "the least that a managed store needs"},
		{name: "one replica", path: "dataplane.replicas", value: int64(1)},
		{name: "as many replicas as can be", path: "dataplane.replicas", value: int64(64)},
		{name: "no replica", path: "dataplane.replicas", value: int64(0), words: "greater than or equal to 1"},
		{name: "too many replicas", path: "dataplane.replicas", value: int64(65), words: "less than or equal to 64"},
		{name: "updates in turn", path: "dataplane.updatePolicy", value: "InTurn"},
		{name: "updates on a change alone", path: "dataplane.updatePolicy", value: "OnChange"},
		{name: "updates at some other time", path: "dataplane.updatePolicy", value: "Nightly", words: "Unsupported value"},
		{name: "updates of a sidecar", of: store, path: "dataplane.updatePolicy", value: "InTurn", words: "updatePolicy is for mode Managed"},
		{name: "replicas of a sidecar", of: store, path: "dataplane.replicas", value: int64(1), words: "replicas is for mode Managed"},
		{name: "Pods of a sidecar", of: store, path: "dataplane.pod", value: pod("image", "a"), words: "pod is for mode Managed"},
		{name: "a pod says something", path: "dataplane.pod", value: map[string]any{}, words: "should have at least 1 properties"},
		{name: "chunks at once", path: "limits", value: map[string]any{"maxConcurrentChunks": int64(1)}},
		{name: "as many chunks at once as can be", path: "limits", value: map[string]any{"maxConcurrentChunks": int64(4096)}},
		{name: "no chunk at once", path: "limits", value: map[string]any{"maxConcurrentChunks": int64(0)}, words: "greater than or equal to 1"},
		{name: "too many chunks at once", path: "limits", value: map[string]any{"maxConcurrentChunks": int64(4097)}, words: "less than or equal to 4096"},
		{name: "chunks at once of a sidecar", of: store, path: "limits", value: map[string]any{"maxConcurrentChunks": int64(8)}, words: "limits.maxConcurrentChunks is for mode Managed"},

		{name: "an image", path: "dataplane.pod", value: pod("image", "example.com/slipway-dataplane@sha256:"+strings.Repeat("0", 64))},
		{name: "an empty image", path: "dataplane.pod", value: pod("image", ""), words: "should be at least 1 chars long"},
		{name: "an image that is too long", path: "dataplane.pod", value: pod("image", strings.Repeat("a", 513)), words: "Too long"},
		{name: "when to pull", path: "dataplane.pod", value: pod("imagePullPolicy", "IfNotPresent")},
		{name: "when to pull is unknown", path: "dataplane.pod", value: pod("imagePullPolicy", "Sometimes"), words: "Unsupported value"},
		{name: "with what to pull", path: "dataplane.pod", value: pod("imagePullSecrets", []any{one})},
		{name: "nothing to pull with", path: "dataplane.pod", value: pod("imagePullSecrets", []any{}), words: "should have at least 1 items"},
		{name: "too much to pull with", path: "dataplane.pod", value: pod("imagePullSecrets", many), words: "must have at most 16 items"},
		{name: "a Secret without a name", path: "dataplane.pod", value: pod("imagePullSecrets", []any{map[string]any{}}), words: "name: Required value"},
		{name: "a Secret twice", path: "dataplane.pod", value: pod("imagePullSecrets", []any{one, one}), words: "Duplicate value"},
		{name: "a Secret with a wrong name", path: "dataplane.pod", value: pod("imagePullSecrets", []any{map[string]any{"name": "A b"}}), words: "must be the name of a Secret"},
		{name: "resources", path: "dataplane.pod", value: pod("resources", map[string]any{"requests": map[string]any{"cpu": "1"}, "limits": map[string]any{"memory": "1Gi"}})},
		{name: "resources that are no quantities", path: "dataplane.pod", value: pod("resources", map[string]any{"requests": map[string]any{"cpu": "much"}}), words: "should match"},
		{name: "no resources", path: "dataplane.pod", value: pod("resources", map[string]any{})},
		{name: "devices", path: "dataplane.pod", value: pod("resources", map[string]any{"claims": []any{map[string]any{"name": "gpu"}}}), words: "claims can't be set"},
		{name: "labels of nodes", path: "dataplane.pod", value: pod("nodeSelector", map[string]any{"kubernetes.io/os": "linux"})},
		{name: "no labels of nodes", path: "dataplane.pod", value: pod("nodeSelector", map[string]any{}), words: "should have at least 1 properties"},
		{name: "too many labels of nodes", path: "dataplane.pod", value: pod("nodeSelector", pairs(33)), words: "must have at most 32"},
		{name: "a node's label that is none", path: "dataplane.pod", value: pod("nodeSelector", map[string]any{"a b": "c"}), words: "must be labels"},
		{name: "a node's label with a wrong value", path: "dataplane.pod", value: pod("nodeSelector", map[string]any{"a": "b c"}), words: "must be labels"},
		{name: "a node's label that is too long", path: "dataplane.pod", value: pod("nodeSelector", map[string]any{"a": strings.Repeat("b", 64)}), words: "Too long"},
		{name: "affinity", path: "dataplane.pod", value: pod("affinity", map[string]any{"podAntiAffinity": map[string]any{
			"requiredDuringSchedulingIgnoredDuringExecution": []any{map[string]any{"topologyKey": "kubernetes.io/hostname"}},
		}})},
		{name: "affinity to nowhere", path: "dataplane.pod", value: pod("affinity", map[string]any{"podAntiAffinity": map[string]any{
			"requiredDuringSchedulingIgnoredDuringExecution": []any{map[string]any{}},
		}}), words: "topologyKey: Required value"},
		{name: "tolerations", path: "dataplane.pod", value: pod("tolerations", []any{map[string]any{"key": "dedicated", "operator": "Exists"}})},
		{name: "no tolerations", path: "dataplane.pod", value: pod("tolerations", []any{}), words: "should have at least 1 items"},
		{name: "too many tolerations", path: "dataplane.pod", value: pod("tolerations", repeated(65, map[string]any{"operator": "Exists"})), words: "must have at most 64 items"},
		{name: "spread", path: "dataplane.pod", value: pod("topologySpreadConstraints", []any{spread})},
		{name: "spread over nothing", path: "dataplane.pod", value: pod("topologySpreadConstraints", []any{}), words: "should have at least 1 items"},
		{name: "spread in too many ways", path: "dataplane.pod", value: pod("topologySpreadConstraints", repeated(17, spread)), words: "must have at most 16 items"},
		{name: "a priority", path: "dataplane.pod", value: pod("priorityClassName", "system-cluster-critical")},
		{name: "an empty priority", path: "dataplane.pod", value: pod("priorityClassName", ""), words: "should be at least 1 chars long"},
		{name: "a priority that is no name", path: "dataplane.pod", value: pod("priorityClassName", "High!"), words: "must be the name of a PriorityClass"},
		{name: "a priority that is too long", path: "dataplane.pod", value: pod("priorityClassName", strings.Repeat("a", 254)), words: "Too long"},
		{name: "labels", path: "dataplane.pod", value: pod("labels", map[string]any{"example.com/team": "ml", "a": ""})},
		{name: "no labels", path: "dataplane.pod", value: pod("labels", map[string]any{}), words: "should have at least 1 properties"},
		{name: "too many labels", path: "dataplane.pod", value: pod("labels", pairs(33)), words: "must have at most 32"},
		{name: "a label that is none", path: "dataplane.pod", value: pod("labels", map[string]any{"a/b/c": ""}), words: "must be labels"},
		{name: "a label with a wrong value", path: "dataplane.pod", value: pod("labels", map[string]any{"a": "-"}), words: "must be labels"},
		{name: "a label of Slipway", path: "dataplane.pod", value: pod("labels", map[string]any{"uploads.slipway.dev/store": "other"}), words: "are set by the operator"},
		{name: "a label of who manages", path: "dataplane.pod", value: pod("labels", map[string]any{"app.kubernetes.io/managed-by": "me"}), words: "are set by the operator"},
		{name: "annotations", path: "dataplane.pod", value: pod("annotations", map[string]any{"example.com/Note": strings.Repeat("a", 4096)})},
		{name: "no annotations", path: "dataplane.pod", value: pod("annotations", map[string]any{}), words: "should have at least 1 properties"},
		{name: "too many annotations", path: "dataplane.pod", value: pod("annotations", pairs(33)), words: "must have at most 32"},
		{name: "an annotation without a name", path: "dataplane.pod", value: pod("annotations", map[string]any{"a b": "c"}), words: "must be qualified names"},
		{name: "an annotation that is too long", path: "dataplane.pod", value: pod("annotations", map[string]any{"a": strings.Repeat("b", 4097)}), words: "Too long"},
		{name: "an annotation of Slipway", path: "dataplane.pod", value: pod("annotations", map[string]any{"uploads.slipway.dev/a": "b"}), words: "are set by the operator"},
		{name: "flags", path: "dataplane.pod", value: pod("extraArgs", []any{"--log-level=DEBUG", "--progress-writes-per-second=2", "--max-concurrent-chunks-per-session=4"})},
		{name: "no flags", path: "dataplane.pod", value: pod("extraArgs", []any{}), words: "should have at least 1 items"},
		{name: "too many flags", path: "dataplane.pod", value: pod("extraArgs", numbered(33, "--a=%d")), words: "must have at most 32 items"},
		{name: "a flag that is none", path: "dataplane.pod", value: pod("extraArgs", []any{"DEBUG"}), words: "must be a flag with its value"},
		{name: "a flag that is too short", path: "dataplane.pod", value: pod("extraArgs", []any{"--"}), words: "should be at least 3 chars long"},
		{name: "a flag that is too long", path: "dataplane.pod", value: pod("extraArgs", []any{"--a=" + strings.Repeat("b", 1021)}), words: "Too long"},
		{name: "the operator's own flag", path: "dataplane.pod", value: pod("extraArgs", []any{"--root=/"}), words: "is a flag that the operator sets"},
		{name: "another store's UID", path: "dataplane.pod", value: pod("extraArgs", []any{"--store-uid=2"}), words: "is a flag that the operator sets"},
		{name: "a flag that lets everybody in", path: "dataplane.pod", value: pod("extraArgs", []any{"--insecure-no-auth"}), words: "is a flag that says who is let in"},
		{name: "a flag that takes other tokens", path: "dataplane.pod", value: pod("extraArgs", []any{"--log-level=DEBUG", "--audience=ml"}), words: "is a flag that says who is let in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := managedStore
			if test.of != nil {
				spec = test.of
			}
			if test.path != "" {
				spec = spec.set(test.path, test.value)
			}
			err := w.Create(t.Context(), w.make("UploadStore", spec))
			if test.words != "" {
				mustRefuse(t, err, test.words)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

var spread = map[string]any{"maxSkew": int64(1), "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}

// repeated is a list of n times the same.
func repeated(n int, value any) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = value
	}
	return list
}

// pairs is a map of n.
func pairs(n int) map[string]any {
	m := make(map[string]any, n)
	for i := range n {
		m[fmt.Sprintf("k%d", i)] = "v"
	}
	return m
}
