package api_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var store = object{
	"volume":    map[string]any{"claimName": "models"},
	"dataplane": map[string]any{"mode": "Sidecar"},
}

func TestUploadStoreSpec(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name  string
		path  string
		value any
		words string
	}{
		{name: "the least that a store needs"},
		{name: "a volume is needed", path: "volume", words: "spec.volume: Required value"},
		{name: "a claim is needed", path: "volume.claimName", words: "spec.volume.claimName: Required value"},
		{name: "a claim has a claim's name", path: "volume.claimName", value: "Models!", words: "must be the name of a PersistentVolumeClaim"},
		{name: "a claim's name may have dots", path: "volume.claimName", value: "a.b"},
		{name: "a claim's name is too long", path: "volume.claimName", value: strings.Repeat("a", 254), words: "Too long"},
		{name: "a dataplane is needed", path: "dataplane", words: "spec.dataplane: Required value"},
		{name: "a mode is needed", path: "dataplane.mode", words: "spec.dataplane.mode: Required value"},
		{name: "another mode", path: "dataplane.mode", value: "Magic", words: "Unsupported value"},
		{name: "other names of the dataplane", path: "dataplane.certificate.dnsNames", value: []any{"uploads.example.com", "*.uploads.example.com", "models"}},
		{name: "a certificate says something", path: "dataplane.certificate", value: map[string]any{}, words: "should have at least 1 properties"},
		{name: "names that are none", path: "dataplane.certificate.dnsNames", value: []any{}, words: "should have at least 1 items"},
		{name: "an empty name", path: "dataplane.certificate.dnsNames", value: []any{""}, words: "should be at least 1 chars long"},
		{name: "a name in upper case", path: "dataplane.certificate.dnsNames", value: []any{"Uploads.example.com"}, words: "must be a DNS name"},
		{name: "a name with a dot at its end", path: "dataplane.certificate.dnsNames", value: []any{"uploads.example.com."}, words: "must be a DNS name"},
		{name: "a wildcard in the middle", path: "dataplane.certificate.dnsNames", value: []any{"uploads.*.example.com"}, words: "must be a DNS name"},
		{name: "nothing but a wildcard", path: "dataplane.certificate.dnsNames", value: []any{"*"}, words: "must be a DNS name"},
		{name: "a wildcard of nothing", path: "dataplane.certificate.dnsNames", value: []any{"*."}, words: "must be a DNS name"},
		{name: "an address for a name", path: "dataplane.certificate.dnsNames", value: []any{"10.0.0.1"}, words: "must be a DNS name"},
		{name: "a name that is too long", path: "dataplane.certificate.dnsNames", value: []any{strings.Repeat("a.", 127) + "a"}, words: "Too long"},
		{name: "a name twice", path: "dataplane.certificate.dnsNames", value: []any{"a", "a"}, words: "Duplicate value"},
		{name: "as many names as can be", path: "dataplane.certificate.dnsNames", value: numbered(32, "n%d.example.com")},
		{name: "too many names", path: "dataplane.certificate.dnsNames", value: numbered(33, "n%d.example.com"), words: "must have at most 32 items"},
		{name: "addresses of the dataplane", path: "dataplane.certificate.ipAddresses", value: []any{"10.0.0.1", "2001:db8::1", "::"}},
		{name: "addresses that are none", path: "dataplane.certificate.ipAddresses", value: []any{}, words: "should have at least 1 items"},
		{name: "a name for an address", path: "dataplane.certificate.ipAddresses", value: []any{"models"}, words: "must be an IP address"},
		{name: "an address with a zone", path: "dataplane.certificate.ipAddresses", value: []any{"fe80::1%eth0"}, words: "must be an IP address"},
		{name: "an address range", path: "dataplane.certificate.ipAddresses", value: []any{"10.0.0.0/8"}, words: "must be an IP address"},
		{name: "an address that is too short", path: "dataplane.certificate.ipAddresses", value: []any{"1"}, words: "should be at least 2 chars long"},
		{name: "an address that is too long", path: "dataplane.certificate.ipAddresses", value: []any{strings.Repeat("0", 40)}, words: "Too long"},
		{name: "an address twice", path: "dataplane.certificate.ipAddresses", value: []any{"10.0.0.1", "10.0.0.1"}, words: "Duplicate value"},
		{name: "as many addresses as can be", path: "dataplane.certificate.ipAddresses", value: numbered(32, "10.0.0.%d")},
		{name: "too many addresses", path: "dataplane.certificate.ipAddresses", value: numbered(33, "10.0.0.%d"), words: "must have at most 32 items"},
		{name: "access for the namespace", path: "access", value: "Namespace"},
		{name: "access for owners", path: "access", value: "Owner"},
		{name: "another access", path: "access", value: "Everybody", words: "Unsupported value"},
		{name: "limits", path: "limits", value: map[string]any{"maxObjectBytes": int64(1 << 47), "maxChunkBytes": int64(1 << 30)}},
		{name: "limits say something", path: "limits", value: map[string]any{}},
		{name: "no object at all", path: "limits", value: map[string]any{"maxObjectBytes": int64(0)}, words: "greater than or equal to 1"},
		{name: "objects that are too large", path: "limits", value: map[string]any{"maxObjectBytes": int64(1<<47 + 1)}, words: "less than or equal to"},
		{name: "no chunk at all", path: "limits", value: map[string]any{"maxChunkBytes": int64(0)}, words: "greater than or equal to 1"},
		{name: "chunks that are too large", path: "limits", value: map[string]any{"maxChunkBytes": int64(1<<30 + 1)}, words: "less than or equal to"},
		{name: "the whole volume is for sessions", path: "limits", value: map[string]any{"minFreeBytes": int64(0)}},
		{name: "a reserve of less than nothing", path: "limits", value: map[string]any{"minFreeBytes": int64(-1)}, words: "greater than or equal to 0"},
		{name: "a reserve that is too large", path: "limits", value: map[string]any{"minFreeBytes": int64(1<<47 + 1)}, words: "less than or equal to"},
		{name: "the default chunk is within the limit", path: "limits", value: map[string]any{"maxChunkBytes": int64(1 << 20)}, words: "must not exceed limits.maxChunkBytes"},
		{name: "a default chunk size", path: "defaults", value: map[string]any{"chunkSizeBytes": int64(1)}},
		{name: "a default chunk size of nothing", path: "defaults", value: map[string]any{"chunkSizeBytes": int64(0)}, words: "greater than or equal to 1"},
		{name: "a default chunk size that is too large", path: "defaults", value: map[string]any{"chunkSizeBytes": int64(1<<30 + 1)}, words: "less than or equal to"},
		{name: "a default idle timeout", path: "defaults", value: map[string]any{"idleTimeoutSeconds": int64(10)}},
		{name: "a default idle timeout that is too short", path: "defaults", value: map[string]any{"idleTimeoutSeconds": int64(9)}, words: "greater than or equal to 10"},
		{name: "a default idle timeout that is too long", path: "defaults", value: map[string]any{"idleTimeoutSeconds": int64(2592001)}, words: "less than or equal to"},
		{name: "a default deadline", path: "defaults", value: map[string]any{"activeDeadlineSeconds": int64(10)}},
		{name: "a default deadline that is too short", path: "defaults", value: map[string]any{"activeDeadlineSeconds": int64(9)}, words: "greater than or equal to 10"},
		{name: "a default deadline that is too long", path: "defaults", value: map[string]any{"activeDeadlineSeconds": int64(2592001)}, words: "less than or equal to"},
		{name: "gone at once by default", path: "defaults", value: map[string]any{"ttlSecondsAfterFinished": int64(0)}},
		{name: "a negative default time to live", path: "defaults", value: map[string]any{"ttlSecondsAfterFinished": int64(-1)}, words: "greater than or equal to 0"},
		{name: "a default time to live that is too long", path: "defaults", value: map[string]any{"ttlSecondsAfterFinished": int64(2592001)}, words: "less than or equal to"},
		{name: "a limit of idle timeouts", path: "limits", value: map[string]any{"maxIdleTimeoutSeconds": int64(3600)}},
		{name: "the default idle timeout is within the limit", path: "limits", value: map[string]any{"maxIdleTimeoutSeconds": int64(3599)}, words: "must not exceed limits.maxIdleTimeoutSeconds"},
		{name: "a limit of idle timeouts that is too short", path: "limits", value: map[string]any{"maxIdleTimeoutSeconds": int64(9)}, words: "greater than or equal to 10"},
		{name: "a limit of idle timeouts that is too long", path: "limits", value: map[string]any{"maxIdleTimeoutSeconds": int64(2592001)}, words: "less than or equal to"},
		{name: "a limit of deadlines", path: "limits", value: map[string]any{"maxActiveDeadlineSeconds": int64(86400)}},
		{name: "the default deadline is within the limit", path: "limits", value: map[string]any{"maxActiveDeadlineSeconds": int64(86399)}, words: "must not exceed limits.maxActiveDeadlineSeconds"},
		{name: "a limit of deadlines that is too short", path: "limits", value: map[string]any{"maxActiveDeadlineSeconds": int64(9)}, words: "greater than or equal to 10"},
		{name: "a limit of suspensions", path: "limits", value: map[string]any{"maxSuspendedSeconds": int64(10)}},
		{name: "a limit of suspensions that is too short", path: "limits", value: map[string]any{"maxSuspendedSeconds": int64(9)}, words: "greater than or equal to 10"},
		{name: "a limit of suspensions that is too long", path: "limits", value: map[string]any{"maxSuspendedSeconds": int64(2592001)}, words: "less than or equal to"},
		{name: "a limit of deadlines that is too long", path: "limits", value: map[string]any{"maxActiveDeadlineSeconds": int64(2592001)}, words: "less than or equal to"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := store
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

// numbered is a list of n strings.
func numbered(n int, format string) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return list
}

func TestUploadStoreName(t *testing.T) {
	w := newWorld(t)
	for name, words := range map[string]string{
		strings.Repeat("a", 52): "",
		strings.Repeat("b", 53): "DNS label of at most 52 characters",
		"a.b":                   "DNS label of at most 52 characters",
		"ca":                    "the name must not be ca",
	} {
		created := w.make("UploadStore", store)
		created.SetGenerateName("")
		created.SetName(name)
		err := w.Create(t.Context(), created)
		if words != "" {
			mustRefuse(t, err, words)
		} else if err != nil {
			t.Error(err)
		}
	}
}

func TestUploadStoreDefaults(t *testing.T) {
	w := newWorld(t)
	created := w.make("UploadStore", store)
	if err := w.Create(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int64{
		"limits.maxChunkBytes": 64 << 20, "limits.minFreeBytes": 64 << 20, "defaults.chunkSizeBytes": 16 << 20, "defaults.idleTimeoutSeconds": 3600,
		"defaults.activeDeadlineSeconds": 86400,
	} {
		if got, _, _ := unstructured.NestedInt64(created.Object, append([]string{"spec"}, strings.Split(path, ".")...)...); got != want {
			t.Errorf("%s is %d, want %d", path, got, want)
		}
	}
}

func TestUploadStoreUpdates(t *testing.T) {
	w := newWorld(t)
	created := w.make("UploadStore", store)
	if err := w.Create(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	moved := created.DeepCopy()
	moved.Object = object(moved.Object).set("spec.volume.claimName", "other")
	mustRefuse(t, w.Update(t.Context(), moved), "volume is immutable")
	managed := created.DeepCopy()
	managed.Object = object(managed.Object).set("spec.dataplane.mode", "Managed")
	mustRefuse(t, w.Update(t.Context(), managed), "mode is immutable")
	created.Object = object(created.Object).set("spec.limits.maxObjectBytes", int64(1<<30))
	if err := w.Update(t.Context(), created); err != nil {
		t.Errorf("limits may change: %v", err)
	}
}

func TestUploadStoreStatus(t *testing.T) {
	w := newWorld(t)
	replica := map[string]any{"name": "models-0", "endpoint": "http://127.0.0.1:8080"}
	status := object{
		"endpoint": "http://127.0.0.1:8080", "capacityBytes": int64(100), "availableBytes": int64(60), "reservedBytes": int64(40),
		"replicas": []any{replica}, "observedGeneration": int64(1),
	}
	for _, test := range []struct {
		name  string
		path  string
		value any
		words string
	}{
		{name: "a whole status"},
		{name: "an endpoint is a URL", path: "endpoint", value: "models", words: "must be a URL"},
		{name: "a claim, an endpoint and a message are displayed", path: "display", value: displayed("claimName", "endpoint", "message")},
		{name: "something is displayed, or nothing", path: "display", value: map[string]any{}, words: "at least 1 properties"},
		{name: "a displayed claim is not empty", path: "display.claimName", value: "", words: "at least 1 chars"},
		{name: "a displayed claim has a bound", path: "display.claimName", value: strings.Repeat("€", 41), words: "Too long"},
		{name: "a displayed endpoint is not empty", path: "display.endpoint", value: "", words: "at least 1 chars"},
		{name: "a displayed endpoint has a bound", path: "display.endpoint", value: strings.Repeat("€", 41), words: "Too long"},
		{name: "a displayed message is not empty", path: "display.message", value: "", words: "at least 1 chars"},
		{name: "a displayed message has a bound", path: "display.message", value: strings.Repeat("€", 101), words: "Too long"},
		{name: "capacity is not negative", path: "capacityBytes", value: int64(-1), words: "greater than or equal to 0"},
		{name: "what is available is not negative", path: "availableBytes", value: int64(-1), words: "greater than or equal to 0"},
		{name: "what is reserved is not negative", path: "reservedBytes", value: int64(-1), words: "greater than or equal to 0"},
		{name: "a replica is there once", path: "replicas", value: []any{replica, replica}, words: "Duplicate value"},
		{name: "a replica's sessions", path: "replicas", value: []any{map[string]any{"name": "a", "endpoint": "http://a", "activeSessions": int64(0)}}},
		{name: "less than no session", path: "replicas", value: []any{map[string]any{"name": "a", "endpoint": "http://a", "activeSessions": int64(-1)}}, words: "greater than or equal to 0"},
		{name: "a replica has an endpoint", path: "replicas", value: []any{map[string]any{"name": "a"}}, words: "Required value"},
		{name: "a replica's endpoint is a URL", path: "replicas", value: []any{map[string]any{"name": "a", "endpoint": "b"}}, words: "must be a URL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			created := w.make("UploadStore", store)
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
