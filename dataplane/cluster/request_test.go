package cluster

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestNamesOfKeys(t *testing.T) {
	names := map[string][2]string{}
	for _, pair := range [][2]string{
		{"alice", "1"},
		{"alice", "2"},
		{"bob", "1"},
		{"alice1", ""},
		{"", "alice1"},
		{"a", "lice1"},
		{"alice\x00", "1"},
		{"alice", "\x001"},
		{strings.Repeat("o", 512), strings.Repeat("k", 255)},
	} {
		name := nameFor(pair[0], pair[1])
		if other, taken := names[name]; taken {
			t.Errorf("%q and %q both have the name %s", pair, other, name)
		}
		names[name] = pair
		if name != nameFor(pair[0], pair[1]) {
			t.Errorf("%q has two names", pair)
		}
		if why := validation.IsDNS1123Label(name); len(why) > 0 {
			t.Errorf("%q is no name: %v", name, why)
		}
		if !regexp.MustCompile(`^upl-[a-z2-7]{32}$`).MatchString(name) { // 160 bits
			t.Errorf("%q does not look like a name", name)
		}
	}
	// Clients retry across releases of the dataplane: the name of a key never changes.
	if got, want := nameFor("system:serviceaccount:ml:trainer", "8e03978e-40d5-43dd-bc93-6894a57f9324"), "upl-p6sim3rdolx47knxfanycp5zn7rmehkm"; got != want {
		t.Errorf("the name is %s, was %s", got, want)
	}
}

func TestWhatIsTheSameSpec(t *testing.T) {
	const spec = `{"key": "a", "sizeBytes": 10, "attributes": {"x": "1", "y": "2"}}`
	of := func(owner, key, spec string) request {
		t.Helper()
		r, err := here.requestOf(upload.CreateRequest{Namespace: "ml", Owner: owner, Key: key, Spec: []byte(spec)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := of("alice", "1", spec)
	for _, same := range []string{
		` { "attributes":{"y":"2","x":"1"},"sizeBytes":10,"key":"\u0061" } `,
		`{"key": "a", "sizeBytes": 10, "attributes": {"x": "1", "y": "2"}, "owner": "alice"}`,
		`{"key": "a", "sizeBytes": 1.0e1, "attributes": {"x": "1", "y": "2"}}`,
		`{"key": "a", "sizeBytes": 10, "attributes": {"x": "1", "y": "2"}, "storeRef": {"name": "models"}}`,
	} {
		if again := of("alice", "1", same); again.fingerprint != first.fingerprint || again.name != first.name {
			t.Errorf("%s is another spec", same)
		}
	}
	for _, other := range []string{
		`{"key": "b", "sizeBytes": 10, "attributes": {"x": "1", "y": "2"}}`,
		`{"key": "a", "sizeBytes": 11, "attributes": {"x": "1", "y": "2"}}`,
		`{"key": "a", "sizeBytes": 10, "attributes": {"x": "2", "y": "1"}}`,
		`{"key": "a", "sizeBytes": 10}`,
		`{"key": "a", "sizeBytes": 10, "attributes": {"x": "1", "y": "2"}, "conflictPolicy": "Replace"}`,
	} {
		if of("alice", "1", other).fingerprint == first.fingerprint {
			t.Errorf("%s is the same spec", other)
		}
	}
	if bob := of("bob", "1", spec); bob.fingerprint == first.fingerprint || bob.name == first.name {
		t.Error("another owner's session is the same")
	}
	if of("alice", "", spec).name != "" {
		t.Error("a session without a key has a name before it is created")
	}
	// What the client sent goes to the API server as it is, to be judged there.
	if zero := of("alice", "1", `{"key": "", "chunkSizeBytes": 0}`).spec; zero["key"] != "" || zero["chunkSizeBytes"] != int64(0) {
		t.Errorf("sent on: %v", zero)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for spec, want := range map[string]error{
		``:                                   upload.ErrMalformedSpec,
		`null`:                               upload.ErrMalformedSpec,
		`[]`:                                 upload.ErrMalformedSpec,
		`"key"`:                              upload.ErrMalformedSpec,
		`{`:                                  upload.ErrMalformedSpec,
		`{} {}`:                              upload.ErrMalformedSpec,
		`{"kye": "a"}`:                       upload.ErrMalformedSpec,
		`{"Key": "a"}`:                       upload.ErrMalformedSpec,
		`{"key": "a", "key": "a"}`:           upload.ErrMalformedSpec,
		`{"key": 1}`:                         upload.ErrMalformedSpec,
		`{"sizeBytes": "10"}`:                upload.ErrMalformedSpec,
		`{"sizeBytes": 1.5}`:                 upload.ErrMalformedSpec,
		`{"sizeBytes": 1e400}`:               upload.ErrMalformedSpec,
		`{"idleTimeoutSeconds": 9999999999}`: upload.ErrMalformedSpec,
		"{\"key\": \"x\xe9.bin\", \"sizeBytes\": 1}":         upload.ErrMalformedSpec,
		"{\"attributes\": {\"a\": \"\xff\"}}":                upload.ErrMalformedSpec,
		`{"storeRef": {"name": "models", "namespace": "x"}}`: upload.ErrMalformedSpec,
		`{"apiVersion": "v1", "spec": {}}`:                   upload.ErrMalformedSpec,
		`{"attributes": {"a": "1", "a": "2"}}`:               upload.ErrMalformedSpec,
		`{"storeRef": {"name": "others"}}`:                   upload.ErrOtherStore,
		`{"owner": "bob"}`:                                   upload.ErrForbidden,
	} {
		if _, err := here.requestOf(upload.CreateRequest{Namespace: "ml", Owner: "alice", Spec: []byte(spec)}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", spec, err, want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error has several lines: %v", spec, err)
		} else if strings.Contains(err.Error(), "unmarshal") {
			t.Errorf("%s: the error is in words of Go: %v", spec, err)
		}
	}
	_, err := here.requestOf(upload.CreateRequest{Namespace: "other", Owner: "alice", Spec: []byte(`{}`)})
	if !errors.Is(err, upload.ErrOtherStore) {
		t.Errorf("another namespace: %v", err)
	}
}

// FuzzSpec: no body panics; what is taken names this store and the caller, and
// is the same spec once it was written out and read again.
func FuzzSpec(f *testing.F) {
	for _, seed := range []string{
		`{"key": "a/b", "sizeBytes": 10, "attributes": {"x": "1"}}`, `{}`, `null`, `{"owner": "alice"}`, `{"owner": null}`,
		`{"storeRef": {"name": "models"}}`, `{"storeRef": null}`, `{"storeRef": {}}`, `{"sizeBytes": 1e3}`, `{"sizeBytes": -0}`,
		`{"sizeBytes": 9223372036854775807}`, `{"key": "\ud800"}`, `{"key": "<&>\u2028"}`, `{"a": {"a": {"a": [[[]]]}}}`, `{"key":"a","key":"b"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := here.requestOf(upload.CreateRequest{Namespace: "ml", Owner: "alice", Key: "1", Spec: body})
		if err != nil {
			if !errors.Is(err, upload.ErrMalformedSpec) && !errors.Is(err, upload.ErrOtherStore) && !errors.Is(err, upload.ErrForbidden) {
				t.Errorf("unexpected: %v", err)
			}
			return
		}
		if first.spec["owner"] != "alice" || !reflect.DeepEqual(first.spec["storeRef"], map[string]any{"name": "models"}) {
			t.Errorf("the spec is another's: %v", first.spec)
		}
		again, err := here.requestOf(upload.CreateRequest{Namespace: "ml", Owner: "alice", Key: "1", Spec: canonical(first.spec)})
		if err != nil || again.fingerprint != first.fingerprint {
			t.Errorf("%s read again: %v, fingerprint %s, was %s", body, err, again.fingerprint, first.fingerprint)
		}
	})
}
