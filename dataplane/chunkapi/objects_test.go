package chunkapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const objects = "/v1/namespaces/ml/uploadstores/models/objects/"

var ofModels = options{api: Config{Store: upload.Name{Namespace: "ml", Name: "models"}}}

func TestAnObjectIsServedByItsKeyWhenItsSessionIsGone(t *testing.T) {
	w := newWorld(t, ofModels)
	publish(w, "obj", []byte("0123456789"))
	if err := w.uploads.Forget(t.Context(), "uid-1"); err != nil {
		t.Fatal(err)
	}
	digest := digestOf([]byte("0123456789"))
	whole := w.do(http.MethodGet, objects+"models/obj", nil)
	whole.want(t, http.StatusOK)
	if string(whole.body) != "0123456789" || whole.Header.Get("ETag") != fmt.Sprintf("%q", digest) || whole.Header.Get(reprDigestHeader) != formatDigest(digest) {
		t.Errorf("it is %q, with header %v", whole.body, whole.Header)
	}
	head := w.do(http.MethodHead, objects+"models/obj", nil)
	head.want(t, http.StatusOK)
	if head.ContentLength != 10 || head.Header.Get(reprDigestHeader) != formatDigest(digest) {
		t.Errorf("HEAD tells %d bytes and %v", head.ContentLength, head.Header)
	}
	part := w.do(http.MethodGet, objects+"models%2Fobj", nil, "Range", "bytes=2-3")
	part.want(t, http.StatusPartialContent)
	if string(part.body) != "23" {
		t.Errorf("a part of it is %q", part.body)
	}
	w.do(http.MethodGet, objects+"models/obj", nil, "Range", "bytes=10-").want(t, http.StatusRequestedRangeNotSatisfiable)
	w.do(http.MethodGet, objects+"models/obj", nil, "If-None-Match", whole.Header.Get("ETag")).want(t, http.StatusNotModified)
	w.do(http.MethodGet, objects+"models/obj", nil, "If-Match", `"another"`).want(t, http.StatusPreconditionFailed)
}

func TestAnObjectThatNoSessionPublishedIsReadAndStays(t *testing.T) {
	w := newWorld(t, ofModels)
	publish(w, "obj", []byte("0123456789"))
	path := func(name string) string { return filepath.Join(w.root, "models", name) }
	for name, change := range map[string]func() error{
		"plain": func() error { return os.WriteFile(path("plain"), []byte("plain"), 0o600) },
		"written to": func() error {
			later := time.Now().Add(time.Hour)
			return os.Chtimes(path("obj"), later, later)
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		at := objects + "models/" + strings.ReplaceAll(name, "written to", "obj")
		got := w.do(http.MethodGet, at, nil)
		got.want(t, http.StatusOK)
		if tag := got.Header.Get("ETag"); !strings.HasPrefix(tag, `"object:`) || got.Header.Get(reprDigestHeader) != "" {
			t.Errorf("%s has ETag %s and digest %q", name, tag, got.Header.Get(reprDigestHeader))
		}
		if p := w.do(http.MethodDelete, at, nil, "If-Match", got.Header.Get("ETag")).problem(t); p.Code != CodeNotOurs || p.Status != 409 {
			t.Errorf("removing what is %s: %+v", name, p)
		}
		w.do(http.MethodGet, at, nil).want(t, http.StatusOK)
	}
}

func TestAnObjectIsRemovedByItsKey(t *testing.T) {
	w := newWorld(t, ofModels)
	publish(w, "obj", []byte("0123456789"))
	at := objects + "models/obj"
	tag := w.do(http.MethodHead, at, nil).Header.Get("ETag")
	for _, other := range []string{`"another"`, "W/" + tag, ""} {
		if p := w.do(http.MethodDelete, at, nil, "If-Match", other).problem(t); p.Code != CodePreconditionFailed {
			t.Errorf("with If-Match %q: %+v", other, p)
		}
	}
	w.do(http.MethodDelete, at, nil, "If-Match", `"another", `+tag).want(t, http.StatusNoContent)
	for _, method := range []string{http.MethodDelete, http.MethodGet} {
		if p := w.do(method, at, nil).problem(t); p.Code != CodeUnknownObject || p.Status != 404 {
			t.Errorf("%s of what is gone: %+v", method, p)
		}
	}
	if p := w.do(http.MethodGet, base("obj")+"/content", nil).problem(t); p.Code != CodeObjectReplaced {
		t.Errorf("its session says %+v", p)
	}
	publish(w, "again", []byte("0123"))
	w.do(http.MethodDelete, objects+"models/again", nil).want(t, http.StatusNoContent)
}

// Whatever the path, nothing but an object is served or removed.
func TestWhatIsNoObjectIsNotServed(t *testing.T) {
	w := newWorld(t, ofModels)
	publish(w, "obj", []byte("0123456789"))
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": outside, "within": "obj", "dir": filepath.Dir(outside)} {
		if err := os.Symlink(to, filepath.Join(w.root, "models", link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, code := range map[string]Code{
		"models/link": CodeUnknownObject, "models/within": CodeUnknownObject, "models/dir/secret": CodeUnknownObject,
		"models": CodeUnknownObject, "models/nothing": CodeUnknownObject, "models/obj/x": CodeUnknownObject,
		"": CodeNotFound, "models%2F": CodeInvalidKey, "%2e%2e": CodeInvalidKey, "models%2F..%2F..%2Fx": CodeInvalidKey,
		"%2Fetc": CodeInvalidKey, ".slipway%2F.lock": CodeInvalidKey, ".slipway/models-0.replica/uid-1/record": CodeInvalidKey,
		"a%00b": CodeInvalidKey, "a%5Cb": CodeInvalidKey, "%ff": CodeInvalidKey, strings.Repeat("a", 2000): CodeInvalidKey,
		strings.Repeat("a", 255): CodeUnknownObject,
	} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			if p := w.do(method, objects+path, nil).problem(t); p.Code != code {
				t.Errorf("%s %s: %+v, want %s", method, path, p, code)
			}
		}
	}
	w.do(http.MethodGet, objects+"models/obj", nil).want(t, http.StatusOK)
	for _, left := range []string{outside, filepath.Join(w.root, "models", "link"), filepath.Join(w.root, "models", "dir"), filepath.Join(w.root, ".slipway", ".lock")} {
		if _, err := os.Lstat(left); err != nil {
			t.Error(err)
		}
	}
}

// keyedGate lets in as a test says, and keeps what it was asked.
type keyedGate struct {
	auth.Open
	asked []auth.Action
	err   error
}

// Authorize keeps what it is asked.
func (g *keyedGate) Authorize(_ context.Context, _ auth.Caller, a auth.Action) error {
	g.asked = append(g.asked, a)
	return g.err
}

func TestObjectsHaveARightOfTheirOwn(t *testing.T) {
	gate := &keyedGate{}
	w := newWorld(t, options{api: Config{Store: upload.Name{Namespace: "ml", Name: "models"}, Gate: gate}})
	for _, path := range []string{allObjects, allObjects + "?prefix=models/"} {
		gate.asked, gate.err = nil, auth.ErrForbidden
		w.do(http.MethodGet, path, nil).want(t, http.StatusForbidden)
		want := auth.Action{Verb: auth.List, Subresource: auth.Objects, Namespace: "ml", Name: "models"}
		if len(gate.asked) != 1 || gate.asked[0] != want {
			t.Errorf("%s: asked was %v, want %v", path, gate.asked, want)
		}
		gate.err = nil
		w.do(http.MethodGet, "/v1/namespaces/ml/uploadstores/other/objects", nil).want(t, http.StatusMisdirectedRequest)
	}
	for method, verb := range map[string]auth.Verb{http.MethodGet: auth.Get, http.MethodHead: auth.Get, http.MethodDelete: auth.Delete} {
		gate.asked, gate.err = nil, auth.ErrForbidden
		w.do(method, objects+"models/obj", nil).want(t, http.StatusForbidden)
		want := auth.Action{Verb: verb, Subresource: auth.Objects, Namespace: "ml", Name: "models"}
		if len(gate.asked) != 1 || gate.asked[0] != want {
			t.Errorf("%s: asked was %v, want %v", method, gate.asked, want)
		}
		gate.err = nil
		for _, other := range []string{"/v1/namespaces/ml/uploadstores/other/objects/a", "/v1/namespaces/other/uploadstores/models/objects/a"} {
			w.do(method, other, nil).want(t, http.StatusMisdirectedRequest)
		}
	}
	if got := (auth.Action{Verb: auth.Get, Subresource: auth.Objects, Namespace: "ml", Name: "models"}).String(); got != `get uploadstores/objects "models" in namespace "ml"` {
		t.Errorf("the action is %s", got)
	}
	if (&auth.Ticket{Namespace: "ml", Name: "models", Verbs: []auth.Verb{auth.Get}}).Allows(gate.asked[0]) {
		t.Error("a ticket lets in to objects")
	}
}

// FuzzObjectPath: whatever follows the path of objects, what is not under a key that an object can have is refused.
func FuzzObjectPath(f *testing.F) {
	for _, seed := range []string{"models/obj", "..", "%2e%2e/x", ".slipway/.lock", "a//b", "a%2f%2fb", "%", "a?b", "\\", "%00", "%ff"} {
		f.Add(seed)
	}
	w := newWorld(f, ofModels)
	publish(w, "obj", []byte("0123456789"))
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.base+objects+path, http.NoBody)
		if err != nil {
			t.Skip() // it is no URL
		}
		resp, err := w.client.Do(r)
		if err != nil {
			t.Skip()
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		a := answer{resp, body}
		key := strings.TrimPrefix(r.URL.Path, objects)
		switch {
		case a.StatusCode == http.StatusOK && key != "models/obj":
			t.Errorf("%q is served as key %q", path, key)
		case a.StatusCode == http.StatusOK, a.problem(t).Code == CodeNotFound:
		case session.CheckName(key) != nil && a.StatusCode != http.StatusBadRequest:
			t.Errorf("%q, which is key %q, gets status %d", path, key, a.StatusCode)
		}
	})
}
