package api_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var session = object{
	"storeRef":  map[string]any{"name": "models"},
	"key":       "llama/model.gguf",
	"sizeBytes": int64(4920734272),
}

const someDigest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func many(n int) map[string]any {
	pairs := map[string]any{}
	for i := range n {
		pairs["a"+strings.Repeat("b", i)] = "v"
	}
	return pairs
}

// Each field and each rule: what is accepted has no words, what is refused has
// those that the API server must say.
func TestUploadSessionSpec(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name  string
		path  string
		value any
		words string
	}{
		{name: "the least that a session needs"},

		{name: "a store is needed", path: "storeRef", words: "spec.storeRef: Required value"},
		{name: "the store has a name", path: "storeRef.name", words: "spec.storeRef.name: Required value"},
		{name: "the store's name is not empty", path: "storeRef.name", value: "", words: "should be at least 1 chars"},
		{name: "the store's name is a label", path: "storeRef.name", value: "Models", words: "must be a DNS label"},
		{name: "the store's name is no subdomain", path: "storeRef.name", value: "a.b", words: "must be a DNS label"},
		{name: "the store's longest name", path: "storeRef.name", value: strings.Repeat("a", 52)},
		{name: "the store's name is too long", path: "storeRef.name", value: strings.Repeat("a", 53), words: "Too long"},

		{name: "a key is needed", path: "key", words: "spec.key: Required value"},
		{name: "a key is not empty", path: "key", value: "", words: "should be at least 1 chars"},
		{name: "a key of one element", path: "key", value: "model"},
		{name: "a key with what names have", path: "key", value: "a b/ü-1_2.3/.hidden/..x/%2e%2e"},
		{name: "a key that begins at the root", path: "key", value: "/etc/passwd", words: "no empty, '.' or '..' element"},
		{name: "a key that climbs", path: "key", value: "a/../../b", words: "no empty, '.' or '..' element"},
		{name: "a key that stands still", path: "key", value: "./a", words: "no empty, '.' or '..' element"},
		{name: "a key with an empty element", path: "key", value: "a//b", words: "no empty, '.' or '..' element"},
		{name: "a key that ends as a folder", path: "key", value: "a/", words: "no empty, '.' or '..' element"},
		{name: "a key with a line end", path: "key", value: "a\nb", words: "control character"},
		{name: "a key with a NUL", path: "key", value: "a\x00b", words: "control character"},
		{name: "a key with a DEL", path: "key", value: "a\x7fb", words: "control character"},
		{name: "a key with a C1 control", path: "key", value: "a\u009b31mb", words: "control character"},
		{name: "a key with a line separator", path: "key", value: "a\u2028b", words: "line separator"},
		{name: "a key with a paragraph separator", path: "key", value: "a\u2029b", words: "line separator"},
		{name: "a key that turns the direction", path: "key", value: "a\u202egpj.exe", words: "direction mark"},
		{name: "a key with an isolate", path: "key", value: "a\u2067b", words: "direction mark"},
		{name: "a key with a direction mark", path: "key", value: "a\u200eb", words: "direction mark"},
		{name: "a key that was no text", path: "key", value: "a\ufffdb", words: "U+FFFD"},
		{name: "a key with letters that are joined", path: "key", value: "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645/\U0001f469\u200d\U0001f4bb"},
		{name: "a key with a backslash", path: "key", value: `a\b`, words: "backslash"},
		{name: "a key that is reserved", path: "key", value: ".slipway/x", words: "'.slipway' is reserved"},
		{name: "a key that is reserved by another case", path: "key", value: ".Slipway/x", words: "'.slipway' is reserved"},
		{name: "a key that looks reserved further down", path: "key", value: "a/.slipway"},
		{name: "the longest element", path: "key", value: strings.Repeat("a", 255)},
		{name: "an element that is too long", path: "key", value: strings.Repeat("a", 256), words: "each element must be at most 255 bytes"},
		{name: "an element that is too long in bytes", path: "key", value: strings.Repeat("ü", 128), words: "each element must be at most 255 bytes"},
		{name: "the longest key", path: "key", value: strings.Repeat("abc/", 255) + "abcd"},
		{name: "a key that is too long", path: "key", value: strings.Repeat("abc/", 256) + "a", words: "Too long"},
		{name: "a key that is too long in bytes", path: "key", value: strings.Repeat("ü/", 400), words: "at most 1024 bytes"},

		{name: "a size is needed", path: "sizeBytes", words: "spec.sizeBytes: Required value"},
		{name: "an empty object", path: "sizeBytes", value: int64(0)},
		{name: "the largest object", path: "sizeBytes", value: int64(1 << 47)},
		{name: "an object that is too large", path: "sizeBytes", value: int64(1<<47 + 1), words: "should be less than or equal to 140737488355328"},
		{name: "a negative size", path: "sizeBytes", value: int64(-1), words: "should be greater than or equal to 0"},
		{name: "a size in words", path: "sizeBytes", value: "4Gi", words: "must be of type integer"},

		{name: "a chunk size", path: "chunkSizeBytes", value: int64(8 << 20)},
		{name: "the largest chunk size", path: "chunkSizeBytes", value: int64(1 << 30)},
		{name: "a chunk size that is too large", path: "chunkSizeBytes", value: int64(1<<30 + 1), words: "should be less than or equal to 1073741824"},
		{name: "no chunk size", path: "chunkSizeBytes", value: int64(0), words: "should be greater than or equal to 1"},
		{name: "the smallest chunk size for the object", path: "chunkSizeBytes", value: int64(49208)},
		{name: "too many chunks", path: "chunkSizeBytes", value: int64(49207), words: "at most 100000 chunks"},

		{name: "a digest", path: "digest", value: someDigest},
		{name: "a digest by BLAKE3", path: "digest", value: "blake3" + someDigest[6:]},
		{name: "a digest in capitals", path: "digest", value: "sha256:" + strings.ToUpper(someDigest[7:]), words: "should match"},
		{name: "a digest of another algorithm", path: "digest", value: "sha512" + someDigest[6:], words: "should match"},
		{name: "a digest that begins with something else", path: "digest", value: "x" + someDigest[:70], words: "should match"},
		{name: "a digest that is too short", path: "digest", value: someDigest[:70], words: "at least 71 chars"},
		{name: "a digest that is too long", path: "digest", value: someDigest + "0", words: "Too long"},

		{name: "an algorithm", path: "digestAlgorithm", value: "SHA256"},
		{name: "another algorithm", path: "digestAlgorithm", value: "BLAKE3"},
		{name: "an algorithm in small letters", path: "digestAlgorithm", value: "blake3", words: "Unsupported value"},
		{name: "an algorithm that is none", path: "digestAlgorithm", value: "", words: "Unsupported value"},

		{name: "replace what is there", path: "conflictPolicy", value: "Replace"},
		{name: "fail where something is there", path: "conflictPolicy", value: "Fail"},
		{name: "adopt what is there without a digest", path: "conflictPolicy", value: "Adopt", words: "conflictPolicy Adopt needs digest"},
		{name: "another conflict policy", path: "conflictPolicy", value: "Ignore", words: "Unsupported value"},
		{name: "complete at a call", path: "completion", value: "Explicit"},
		{name: "complete by itself", path: "completion", value: "Automatic"},
		{name: "another completion", path: "completion", value: "Never", words: "Unsupported value"},

		{name: "the object stays", path: "reclaimPolicy", value: "Retain"},
		{name: "the object goes with the session", path: "reclaimPolicy", value: "Delete"},
		{name: "another reclaim policy", path: "reclaimPolicy", value: "Recycle", words: "Unsupported value"},

		{name: "an owner", path: "owner", value: "system:serviceaccount:ml:trainer"},
		{name: "no owner", path: "owner", value: "", words: "at least 1 chars"},
		{name: "the longest owner", path: "owner", value: strings.Repeat("a", 512)},
		{name: "an owner that is too long", path: "owner", value: strings.Repeat("a", 513), words: "Too long"},
		{name: "an owner with a C1 control", path: "owner", value: "a\u009bb", words: "control character"},
		{name: "an owner that was no text", path: "owner", value: "a\ufffdb", words: "U+FFFD"},
		{name: "an owner with a backslash", path: "owner", value: `CORP\alice`},

		{name: "uploaders", path: "uploaders", value: []any{"sender", "a.b"}},
		{name: "as many uploaders as can be", path: "uploaders", value: numbered(16, "sender-%d")},
		{name: "too many uploaders", path: "uploaders", value: numbered(17, "sender-%d"), words: "must have at most 16 items"},
		{name: "uploaders that are none", path: "uploaders", value: []any{}, words: "should have at least 1 items"},
		{name: "an uploader twice", path: "uploaders", value: []any{"a", "a"}, words: "Duplicate value"},
		{name: "an uploader without a name", path: "uploaders", value: []any{""}, words: "should be at least 1 chars long"},
		{name: "a user for an uploader", path: "uploaders", value: []any{"system:serviceaccount:ml:sender"}, words: "must be the name of a ServiceAccount"},
		{name: "an uploader's name that is too long", path: "uploaders", value: []any{strings.Repeat("a", 254)}, words: "Too long"},

		{name: "attributes", path: "attributes", value: map[string]any{"license": "apache-2.0", "Model_1.x": ""}},
		{name: "as many attributes as there may be", path: "attributes", value: many(16)},
		{name: "too many attributes", path: "attributes", value: many(17), words: "must have at most 16 items"},
		{name: "no attributes", path: "attributes", value: map[string]any{}, words: "should have at least 1 properties"},
		{name: "an attribute with a space", path: "attributes", value: map[string]any{"a b": "c"}, words: "attribute names have"},
		{name: "an attribute name that is too long", path: "attributes", value: map[string]any{strings.Repeat("a", 64): "c"}, words: "attribute names have"},
		{name: "an attribute with a C1 control", path: "attributes", value: map[string]any{"a": "b\u0085c"}, words: "control character"},
		{name: "an attribute that turns the direction", path: "attributes", value: map[string]any{"a": "b\u2066c"}, words: "direction mark"},
		{name: "an attribute that was no text", path: "attributes", value: map[string]any{"a": "b\ufffdc"}, words: "U+FFFD"},
		{name: "an attribute in another script", path: "attributes", value: map[string]any{"a": "\u0645\u06cc\u200c\u062e \\ \U0001f469\u200d\U0001f4bb"}},
		{name: "the longest attribute", path: "attributes", value: map[string]any{"a": strings.Repeat("c", 256)}},
		{name: "an attribute that is too long", path: "attributes", value: map[string]any{"a": strings.Repeat("c", 257)}, words: "Too long"},

		{name: "begin suspended", path: "desiredState", value: "Suspended"},
		{name: "begin cancelled", path: "desiredState", value: "Cancelled"},
		{name: "another desired state", path: "desiredState", value: "Paused", words: "Unsupported value"},

		{name: "the shortest queue deadline", path: "queueDeadlineSeconds", value: int64(10)},
		{name: "a queue deadline that is too short", path: "queueDeadlineSeconds", value: int64(9), words: "greater than or equal to 10"},
		{name: "the longest queue deadline", path: "queueDeadlineSeconds", value: int64(2592000)},
		{name: "a queue deadline that is too long", path: "queueDeadlineSeconds", value: int64(2592001), words: "less than or equal to 2592000"},
		{name: "the shortest idle timeout", path: "idleTimeoutSeconds", value: int64(10)},
		{name: "an idle timeout that is too short", path: "idleTimeoutSeconds", value: int64(9), words: "greater than or equal to 10"},
		{name: "the longest idle timeout", path: "idleTimeoutSeconds", value: int64(2592000)},
		{name: "an idle timeout that is too long", path: "idleTimeoutSeconds", value: int64(2592001), words: "less than or equal to 2592000"},
		{name: "the shortest deadline", path: "activeDeadlineSeconds", value: int64(10)},
		{name: "a deadline that is too short", path: "activeDeadlineSeconds", value: int64(9), words: "greater than or equal to 10"},
		{name: "a deadline that is too long", path: "activeDeadlineSeconds", value: int64(2592001), words: "less than or equal to 2592000"},
		{name: "gone as soon as may be", path: "ttlSecondsAfterFinished", value: int64(0)},
		{name: "a negative time to live", path: "ttlSecondsAfterFinished", value: int64(-1), words: "greater than or equal to 0"},
		{name: "a time to live that is too long", path: "ttlSecondsAfterFinished", value: int64(2592001), words: "less than or equal to 2592000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := session
			if test.path != "" {
				spec = spec.set(test.path, test.value)
			}
			err := w.Create(t.Context(), w.make("UploadSession", spec))
			if test.words != "" {
				mustRefuse(t, err, test.words)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// A digest and an algorithm need each other not, but agree.
func TestUploadSessionDigestAlgorithms(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct{ algorithm, digest, words string }{
		{"SHA256", "sha256" + someDigest[6:], ""},
		{"BLAKE3", "blake3" + someDigest[6:], ""},
		{"BLAKE3", "sha256" + someDigest[6:], "digest must be of digestAlgorithm"},
		{"SHA256", "blake3" + someDigest[6:], "digest must be of digestAlgorithm"},
	} {
		spec := session.set("digest", test.digest).set("digestAlgorithm", test.algorithm)
		err := w.Create(t.Context(), w.make("UploadSession", spec))
		if test.words != "" {
			mustRefuse(t, err, test.words)
		} else if err != nil {
			t.Errorf("%s with %s: %v", test.algorithm, test.digest, err)
		}
	}
}

// What is there is adopted by its digest.
func TestUploadSessionAdopts(t *testing.T) {
	w := newWorld(t)
	for _, digest := range []string{someDigest, "blake3" + someDigest[6:]} {
		spec := session.set("conflictPolicy", "Adopt").set("digest", digest)
		if err := w.Create(t.Context(), w.make("UploadSession", spec)); err != nil {
			t.Errorf("with digest %s: %v", digest, err)
		}
	}
}

// Few chunks may be of any size, many may not be small.
func TestUploadSessionSmallChunks(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		size, chunk int64
		words       string
	}{
		{1000, 1, ""},
		{1001, 1, "at least 4096 bytes"},
		{4_095_000, 4095, ""},
		{4_095_001, 4095, "at least 4096 bytes"},
		{100_000 * 4096, 4096, ""},
	} {
		err := w.Create(t.Context(), w.make("UploadSession", session.set("sizeBytes", test.size).set("chunkSizeBytes", test.chunk)))
		if test.words != "" {
			mustRefuse(t, err, test.words)
		} else if err != nil {
			t.Errorf("%d bytes in chunks of %d: %v", test.size, test.chunk, err)
		}
	}
}

func TestUploadSessionDefaults(t *testing.T) {
	w := newWorld(t)
	created := w.make("UploadSession", session)
	if err := w.Create(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{
		"conflictPolicy": "Fail", "completion": "Automatic", "reclaimPolicy": "Retain", "desiredState": "Active",
	} {
		if got, _, _ := unstructured.NestedFieldNoCopy(created.Object, "spec", field); got != want {
			t.Errorf("%s is %v, want %v", field, got, want)
		}
	}
	for _, field := range []string{"chunkSizeBytes", "idleTimeoutSeconds", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "digest", "digestAlgorithm"} {
		if got, found, _ := unstructured.NestedFieldNoCopy(created.Object, "spec", field); found {
			t.Errorf("%s is %v, want none: the store's counts, or nothing", field, got)
		}
	}
}

// What may change of a spec, and what not. COSI's trap: a rule on an optional
// field is skipped when the field comes or goes, so both are tried.
func TestUploadSessionUpdates(t *testing.T) {
	w := newWorld(t)
	full := session.set("chunkSizeBytes", int64(16<<20)).set("owner", "alice").set("digest", someDigest).set("digestAlgorithm", "SHA256").
		set("uploaders", []any{"sender"}).set("attributes", map[string]any{"a": "b"}).set("idleTimeoutSeconds", int64(60)).set("ttlSecondsAfterFinished", int64(60))
	for _, test := range []struct {
		name  string
		from  object
		path  string
		value any
		words string
	}{
		{name: "the store stays", from: full, path: "storeRef.name", value: "other", words: "storeRef is immutable"},
		{name: "the key stays", from: full, path: "key", value: "other", words: "key is immutable"},
		{name: "the size stays", from: full, path: "sizeBytes", value: int64(1), words: "sizeBytes is immutable"},
		{name: "the chunk size stays", from: full, path: "chunkSizeBytes", value: int64(1 << 20), words: "chunkSizeBytes is immutable"},
		{name: "the chunk size does not go", from: full, path: "chunkSizeBytes", words: "chunkSizeBytes is immutable"},
		{name: "the chunk size does not come", from: session, path: "chunkSizeBytes", value: int64(1 << 20), words: "chunkSizeBytes is immutable"},
		{name: "the digest stays", from: full, path: "digest", value: "sha256:" + strings.Repeat("0", 64), words: "digest is immutable"},
		{name: "the digest does not go", from: full, path: "digest", words: "digest is immutable"},
		{name: "the digest does not come", from: session, path: "digest", value: someDigest, words: "digest is immutable"},
		{name: "the algorithm stays", from: session.set("digestAlgorithm", "SHA256"), path: "digestAlgorithm", value: "BLAKE3", words: "digestAlgorithm is immutable"},
		{name: "the algorithm does not go", from: full, path: "digestAlgorithm", words: "digestAlgorithm is immutable"},
		{name: "the algorithm does not come", from: session, path: "digestAlgorithm", value: "SHA256", words: "digestAlgorithm is immutable"},
		{name: "the conflict policy stays", from: full, path: "conflictPolicy", value: "Replace", words: "conflictPolicy is immutable"},
		{name: "the completion stays", from: full, path: "completion", value: "Explicit", words: "completion is immutable"},
		{name: "the object's staying stays", from: full, path: "reclaimPolicy", value: "Delete", words: "reclaimPolicy is immutable"},
		{name: "the object's going stays", from: full.set("reclaimPolicy", "Delete"), path: "reclaimPolicy", value: "Retain", words: "reclaimPolicy is immutable"},
		{name: "the object's going is not left out", from: full.set("reclaimPolicy", "Delete"), path: "reclaimPolicy", words: "reclaimPolicy is immutable"},
		{name: "the owner stays", from: full, path: "owner", value: "bob", words: "owner is immutable"},
		{name: "the owner does not go", from: full, path: "owner", words: "owner is immutable"},
		{name: "the owner does not come", from: session, path: "owner", value: "bob", words: "owner is immutable"},
		{name: "the uploaders stay", from: full, path: "uploaders", value: []any{"other"}, words: "uploaders are immutable"},
		{name: "the uploaders do not go", from: full, path: "uploaders", words: "uploaders are immutable"},
		{name: "the uploaders do not come", from: session, path: "uploaders", value: []any{"sender"}, words: "uploaders are immutable"},
		{name: "the attributes stay", from: full, path: "attributes.a", value: "c", words: "attributes are immutable"},
		{name: "the attributes do not go", from: full, path: "attributes", words: "attributes are immutable"},
		{name: "the attributes do not come", from: session, path: "attributes", value: map[string]any{"a": "b"}, words: "attributes are immutable"},

		{name: "an active session may be suspended", from: full, path: "desiredState", value: "Suspended"},
		{name: "a suspended session may go on", from: full.set("desiredState", "Suspended"), path: "desiredState", value: "Active"},
		{name: "an active session may be cancelled", from: full, path: "desiredState", value: "Cancelled"},
		{name: "a suspended session may be cancelled", from: full.set("desiredState", "Suspended"), path: "desiredState", value: "Cancelled"},
		{name: "a cancelled session stays so", from: full.set("desiredState", "Cancelled"), path: "desiredState", value: "Active", words: "can't leave Cancelled"},
		{name: "a cancelled session is not suspended", from: full.set("desiredState", "Cancelled"), path: "desiredState", value: "Suspended", words: "can't leave Cancelled"},
		{name: "a queue deadline may come", from: full, path: "queueDeadlineSeconds", value: int64(120)},
		{name: "the idle timeout may change", from: full, path: "idleTimeoutSeconds", value: int64(120)},
		{name: "the idle timeout may go", from: full, path: "idleTimeoutSeconds"},
		{name: "the deadline may come", from: session, path: "activeDeadlineSeconds", value: int64(120)},
		{name: "the deadline may go", from: full.set("activeDeadlineSeconds", int64(60)), path: "activeDeadlineSeconds"},
		{name: "the deadline may change", from: full, path: "activeDeadlineSeconds", value: int64(120)},
		{name: "the time to live may come", from: session, path: "ttlSecondsAfterFinished", value: int64(0)},
		{name: "the time to live may go", from: full, path: "ttlSecondsAfterFinished"},
	} {
		t.Run(test.name, func(t *testing.T) {
			created := w.make("UploadSession", test.from)
			if err := w.Create(t.Context(), created); err != nil {
				t.Fatal(err)
			}
			created.Object = object(created.Object).set("spec."+test.path, test.value)
			err := w.Update(t.Context(), created)
			if test.words != "" {
				mustRefuse(t, err, test.words)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

var (
	admission = map[string]any{
		"replica": "models-0", "endpoint": "http://127.0.0.1:8080", "chunkSizeBytes": int64(16 << 20),
		"idleTimeoutSeconds": int64(3600), "reservedBytes": int64(100), "admittedTime": "2026-01-02T03:04:05Z",
	}
	progress = map[string]any{
		"receivedBytes": int64(50), "receivedChunks": int64(1), "totalChunks": int64(2), "percent": int64(50),
		"lastActivityTime": "2026-01-02T03:04:05Z",
	}
	result = map[string]any{
		"outcome": "Published", "reason": "Published", "key": "a", "sizeBytes": int64(100), "digest": someDigest,
		"publishedTime": "2026-01-02T03:04:05Z", "finishedTime": "2026-01-02T03:04:05Z",
	}
)

// withTimes is an admission with all that a store may say of time.
func withTimes(deadline, ttl, maxIdle, maxDeadline int64) map[string]any {
	whole := object(admission).set("activeDeadlineSeconds", deadline).set("ttlSecondsAfterFinished", ttl)
	return whole.set("maxIdleTimeoutSeconds", maxIdle).set("maxActiveDeadlineSeconds", maxDeadline)
}

func TestUploadSessionStatus(t *testing.T) {
	w := newWorld(t)
	status := object{"admission": admission, "progress": progress, "result": result}
	for _, test := range []struct {
		name  string
		path  string
		value any
		words string
	}{
		{name: "a whole status"},
		{name: "an admission has an endpoint", path: "admission.endpoint", words: "Required value"},
		{name: "an endpoint is a URL", path: "admission.endpoint", value: "models", words: "must be a URL"},
		{name: "an admission has a replica", path: "admission.replica", words: "Required value"},
		{name: "an admission has a chunk size", path: "admission.chunkSizeBytes", words: "Required value"},
		{name: "an admission has an idle timeout", path: "admission.idleTimeoutSeconds", words: "Required value"},
		{name: "an admission has the store's times", path: "admission", value: withTimes(60, 0, 10, 2592000)},
		{name: "an admission has no deadline that is too short", path: "admission", value: withTimes(9, 0, 10, 10), words: "greater than or equal to 10"},
		{name: "an admission has no negative time to live", path: "admission", value: withTimes(10, -1, 10, 10), words: "greater than or equal to 0"},
		{name: "an admission has no limit of idle timeouts that is too short", path: "admission", value: withTimes(10, 0, 9, 10), words: "greater than or equal to 10"},
		{name: "an admission has no limit of deadlines that is too long", path: "admission", value: withTimes(10, 0, 10, 2592001), words: "less than or equal to"},
		{name: "an admission has the store's limit of suspensions", path: "admission", value: map[string]any(object(admission).set("maxSuspendedSeconds", int64(10)))},
		{name: "an admission has no limit of suspensions that is too short", path: "admission", value: map[string]any(object(admission).set("maxSuspendedSeconds", int64(9))), words: "greater than or equal to 10"},
		{name: "a suspension has a time", path: "suspendedTime", value: "2026-01-02T03:04:05Z"},
		{name: "a suspension has a time that is one", path: "suspendedTime", value: "yesterday", words: "must be of type date-time"},
		{name: "suspensions add up", path: "suspendedSeconds", value: int64(2592000)},
		{name: "suspensions are no longer than a store lets them", path: "suspendedSeconds", value: int64(2592001), words: "less than or equal to"},
		{name: "an admission says what is reserved", path: "admission.reservedBytes", words: "Required value"},
		{name: "an admission has its time", path: "admission.admittedTime", words: "Required value"},
		{name: "progress counts bytes", path: "progress.receivedBytes", words: "Required value"},
		{name: "progress is not negative", path: "progress.receivedBytes", value: int64(-1), words: "greater than or equal to 0"},
		{name: "progress counts chunks", path: "progress.receivedChunks", value: int64(100001), words: "less than or equal to 100000"},
		{name: "progress ends at a hundred", path: "progress.percent", value: int64(101), words: "less than or equal to 100"},
		{name: "an outcome is one of four", path: "result.outcome", value: "Lost", words: "Unsupported value"},
		{name: "a reason is in CamelCase", path: "result.reason", value: "key exists", words: "should match"},
		{name: "a result by BLAKE3", path: "result.digest", value: "blake3" + someDigest[6:]},
		{name: "a result by another algorithm", path: "result.digest", value: "sha512" + someDigest[6:], words: "should match"},
		{name: "a published result has its digest", path: "result.digest", words: "a published result has"},
		{name: "a published result has its key", path: "result.key", words: "a published result has"},
		{name: "a published result has its size", path: "result.sizeBytes", words: "a published result has"},
		{name: "a published result has its time", path: "result.publishedTime", words: "a published result has"},
		{name: "a result has its time", path: "result.finishedTime", words: "Required value"},
		{name: "a key, an owner and a message are displayed", path: "display", value: displayed("key", "owner", "message")},
		{name: "something is displayed, or nothing", path: "display", value: map[string]any{}, words: "at least 1 properties"},
		{name: "a displayed key is not empty", path: "display.key", value: "", words: "at least 1 chars"},
		{name: "a displayed key has a bound", path: "display.key", value: strings.Repeat("€", 41), words: "Too long"},
		{name: "a displayed owner is not empty", path: "display.owner", value: "", words: "at least 1 chars"},
		{name: "a displayed owner has a bound", path: "display.owner", value: strings.Repeat("€", 41), words: "Too long"},
		{name: "a displayed message is not empty", path: "display.message", value: "", words: "at least 1 chars"},
		{name: "a displayed message has a bound", path: "display.message", value: strings.Repeat("€", 101), words: "Too long"},
		{name: "a message has a bound", path: "result.message", value: strings.Repeat("a", 1025), words: "Too long"},
	} {
		t.Run(test.name, func(t *testing.T) {
			created := w.make("UploadSession", session)
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

func TestUploadSessionStatusIsWrittenOnce(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name  string
		path  string
		value any
		words string
	}{
		{name: "progress goes on", path: "progress.percent", value: int64(60)},
		{name: "an admission stays", path: "admission.replica", value: "models-1", words: "admission is written once"},
		{name: "an admission does not go", path: "admission", words: "admission is written once"},
		{name: "a result stays", path: "result.reason", value: "Other", words: "result is written once"},
		{name: "a result does not go", path: "result", words: "result is written once"},
		{name: "the object's going stays", path: "reclaimedTime", value: "2026-01-02T03:04:06Z", words: "reclaimedTime is written once"},
		{name: "the object's going does not go", path: "reclaimedTime", words: "reclaimedTime is written once"},
	} {
		t.Run(test.name, func(t *testing.T) {
			created := w.make("UploadSession", session)
			if err := w.Create(t.Context(), created); err != nil {
				t.Fatal(err)
			}
			created.Object["status"] = map[string]any{
				"admission": admission, "progress": progress, "result": result, "reclaimedTime": "2026-01-02T03:04:05Z",
			}
			if err := w.Status().Update(t.Context(), created); err != nil {
				t.Fatal(err)
			}
			created.Object = object(created.Object).set("status."+test.path, test.value)
			err := w.Status().Update(t.Context(), created)
			if test.words != "" {
				mustRefuse(t, err, test.words)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// The status is a subresource: who may write the spec can't say how far it is.
func TestUploadSessionStatusIsASubresource(t *testing.T) {
	w := newWorld(t)
	created := w.make("UploadSession", session)
	created.Object["status"] = map[string]any{"progress": progress}
	if err := w.Create(t.Context(), created); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"observedGeneration": int64(-1)}, created.Object["status"]); diff != "" {
		t.Errorf("the status of what nobody has looked at differs (-want +got):\n%s", diff)
	}
}

// The dataplane watches its own sessions by these fields.
func TestUploadSessionsAreSelectedByStoreAndReplica(t *testing.T) {
	w := newWorld(t)
	mine := w.make("UploadSession", session)
	other := w.make("UploadSession", session.set("storeRef.name", "other"))
	waiting := w.make("UploadSession", session)
	for _, s := range []*unstructured.Unstructured{mine, other, waiting} {
		if err := w.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	mine.Object["status"] = map[string]any{"admission": admission}
	if err := w.Status().Update(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(mine.GroupVersionKind())
	err := w.List(t.Context(), list, client.InNamespace(w.namespace),
		client.MatchingFields{"spec.storeRef.name": "models", "status.admission.replica": "models-0"})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].GetName() != mine.GetName() {
		t.Errorf("selected %d sessions, want the one that was admitted to models-0", len(list.Items))
	}
}
