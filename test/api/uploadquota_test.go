package api_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var quota = object{"hard": map[string]any{"activeSessions": int64(5)}}

func TestUploadQuotaSpec(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name  string
		path  string
		value any
		words string
	}{
		{name: "the least that a quota needs"},
		{name: "limits are needed", path: "hard", words: "spec.hard: Required value"},
		{name: "a limit is needed", path: "hard", value: map[string]any{}, words: "spec.hard in body should have at least 1 properties"},

		{name: "no session at all", path: "hard.activeSessions", value: int64(0)},
		{name: "the most sessions", path: "hard.activeSessions", value: int64(1000000)},
		{name: "fewer sessions than none", path: "hard.activeSessions", value: int64(-1), words: "greater than or equal to 0"},
		{name: "too many sessions", path: "hard.activeSessions", value: int64(1000001), words: "less than or equal to 1000000"},
		{name: "no session of an owner", path: "hard.activeSessionsPerOwner", value: int64(0)},
		{name: "the most sessions of an owner", path: "hard.activeSessionsPerOwner", value: int64(1000000)},
		{name: "fewer sessions of an owner than none", path: "hard.activeSessionsPerOwner", value: int64(-1), words: "greater than or equal to 0"},
		{name: "too many sessions of an owner", path: "hard.activeSessionsPerOwner", value: int64(1000001), words: "less than or equal to 1000000"},
		{name: "no bytes", path: "hard.reservedBytes", value: int64(0)},
		{name: "the most bytes", path: "hard.reservedBytes", value: int64(1 << 53)},
		{name: "fewer bytes than none", path: "hard.reservedBytes", value: int64(-1), words: "greater than or equal to 0"},
		{name: "too many bytes", path: "hard.reservedBytes", value: int64(1<<53 + 1), words: "less than or equal to"},
		{name: "bytes in words", path: "hard.reservedBytes", value: "1Ti", words: "must be of type integer"},
		{name: "no bytes of an owner", path: "hard.reservedBytesPerOwner", value: int64(0)},
		{name: "the most bytes of an owner", path: "hard.reservedBytesPerOwner", value: int64(1 << 53)},
		{name: "fewer bytes of an owner than none", path: "hard.reservedBytesPerOwner", value: int64(-1), words: "greater than or equal to 0"},
		{name: "too many bytes of an owner", path: "hard.reservedBytesPerOwner", value: int64(1<<53 + 1), words: "less than or equal to"},
		{name: "the largest object", path: "hard.objectBytes", value: int64(1 << 47)},
		{name: "no object at all", path: "hard.objectBytes", value: int64(0), words: "greater than or equal to 1"},
		{name: "objects that are too large", path: "hard.objectBytes", value: int64(1<<47 + 1), words: "less than or equal to"},

		{name: "one store", path: "storeRef", value: map[string]any{"name": "models"}},
		{name: "a store has a name", path: "storeRef", value: map[string]any{}, words: "spec.storeRef.name: Required value"},
		{name: "a store's name is a label", path: "storeRef", value: map[string]any{"name": "Models"}, words: "must be a DNS label"},
		{name: "wait when there is no room", path: "onExceeded", value: "Queue"},
		{name: "end when there is no room", path: "onExceeded", value: "Reject"},
		{name: "something else when there is no room", path: "onExceeded", value: "Preempt", words: "Unsupported value"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := quota
			if test.path != "" {
				spec = spec.set(test.path, test.value)
			}
			err := w.Create(t.Context(), w.make("UploadQuota", spec))
			if test.words != "" {
				mustRefuse(t, err, test.words)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUploadQuotaDefaults(t *testing.T) {
	w := newWorld(t)
	created := w.make("UploadQuota", quota)
	if err := w.Create(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(created.Object, "spec", "onExceeded"); got != "Queue" {
		t.Errorf("onExceeded is %q, want Queue", got)
	}
}

// A quota is the platform's to turn: all of it may change.
func TestUploadQuotaUpdates(t *testing.T) {
	w := newWorld(t)
	created := w.make("UploadQuota", quota)
	if err := w.Create(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	for path, value := range map[string]any{
		"hard.activeSessions": int64(0), "hard.reservedBytes": int64(1), "onExceeded": "Reject", "storeRef": map[string]any{"name": "models"},
	} {
		created.Object = object(created.Object).set("spec."+path, value)
		if err := w.Update(t.Context(), created); err != nil {
			t.Errorf("%s may change: %v", path, err)
		}
	}
}

func TestUploadQuotaStatus(t *testing.T) {
	w := newWorld(t)
	ready := map[string]any{
		"type": "Ready", "status": "True", "reason": "Counting", "message": "Sessions are admitted within the quota.",
		"lastTransitionTime": "2026-11-23T12:00:00Z", "observedGeneration": int64(1),
	}
	status := object{
		"conditions": []any{ready},
		"hard":       map[string]any{"activeSessions": int64(5)},
		"used": map[string]any{
			"activeSessions": int64(3), "activeSessionsPerOwner": int64(2), "reservedBytes": int64(100), "reservedBytesPerOwner": int64(70),
		},
		"summary": "activeSessions: 3/5", "observedGeneration": int64(1),
	}
	for _, test := range []struct {
		name  string
		path  string
		value any
		words string
	}{
		{name: "a whole status"},
		{name: "one condition of a type", path: "conditions", value: []any{ready, ready}, words: "Duplicate value"},
		{name: "conditions have a bound", path: "conditions", value: slices.Repeat([]any{ready}, 17), words: "Too many"},
		{name: "limits have bounds", path: "hard.activeSessions", value: int64(-1), words: "greater than or equal to 0"},
		{name: "sessions are counted", path: "used.activeSessions", words: "Required value"},
		{name: "sessions are not negative", path: "used.activeSessions", value: int64(-1), words: "greater than or equal to 0"},
		{name: "sessions of an owner are counted", path: "used.activeSessionsPerOwner", words: "Required value"},
		{name: "sessions of an owner are not negative", path: "used.activeSessionsPerOwner", value: int64(-1), words: "greater than or equal to 0"},
		{name: "bytes are counted", path: "used.reservedBytes", words: "Required value"},
		{name: "bytes are not negative", path: "used.reservedBytes", value: int64(-1), words: "greater than or equal to 0"},
		{name: "bytes of an owner are counted", path: "used.reservedBytesPerOwner", words: "Required value"},
		{name: "bytes of an owner are not negative", path: "used.reservedBytesPerOwner", value: int64(-1), words: "greater than or equal to 0"},
		{name: "a summary says something", path: "summary", value: "", words: "at least 1 chars"},
		{name: "a summary has a bound", path: "summary", value: strings.Repeat("a", 513), words: "Too long"},
		{name: "a generation that nobody has seen", path: "observedGeneration", value: int64(-1)},
		{name: "a generation is not below that", path: "observedGeneration", value: int64(-2), words: "greater than or equal to -1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			created := w.make("UploadQuota", quota)
			if err := w.Create(t.Context(), created); err != nil {
				t.Fatal(err)
			}
			changed := status
			if test.path != "" {
				changed = changed.set(test.path, test.value)
			}
			created.Object["status"] = map[string]any(changed)
			err := w.Status().Update(t.Context(), created)
			if test.words != "" {
				mustRefuse(t, err, test.words)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
