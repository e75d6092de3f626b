package chunkapi

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// FuzzChunkIndex: an index has one spelling.
func FuzzChunkIndex(f *testing.F) {
	for _, seed := range []string{"", "0", "00", "1", "01", "-0", "-1", "+1", "99999", "100000", "1_0", "0x1", "1e1", "9223372036854775808", "١", " 1", "1\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		index, err := parseIndex(s)
		if err == nil && (fmt.Sprint(index) != s || index < 0 || index >= session.MaxChunks) {
			t.Errorf("%q is read as %d", s, index)
		}
		if want, e := strconv.ParseUint(s, 10, 16); err != nil && e == nil && fmt.Sprint(want) == s {
			t.Errorf("%q is refused: %v", s, err)
		}
	})
}

// FuzzIdempotencyKey: no field panics, and a key that is taken is the same key
// when it is sent as the draft has it.
func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{
		"", `""`, `"a"`, "a", `"a`, `a"`, `"a" b`, `"a";x=1`, `"a", "b"`, `"\"\\"`, `"\a"`, "\"\x7f\"", "\"\u00e4\"", "8e03978e-40d5-43dd-bc93-6894a57f9324",
		":YQ==:", "1.5", "?1", "a b", " a", `" "`, `"` + strings.Repeat("a", 255) + `"`, strings.Repeat("a", 256),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		key, err := idempotencyKey(http.Header{idempotencyKeyHeader: {field}})
		if err != nil {
			if no, ok := errors.AsType[*refusal](err); !ok || no.kind.code != CodeInvalidIdempotencyKey {
				t.Errorf("%q: %v", field, err)
			}
			return
		}
		if key == "" || len(key) > maxIdempotencyKey || strings.Trim(key, printable) != "" {
			t.Errorf("%q is read as %q", field, key)
		}
		sent, err := httpsfv.Marshal(httpsfv.NewItem(key))
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if again, err := idempotencyKey(http.Header{idempotencyKeyHeader: {sent}}); err != nil || again != key {
			t.Errorf("%q is read as %q, and %s as %q, %v", field, key, sent, again, err)
		}
	})
}

// FuzzCreate: no request to create panics, gets 500 or an error that is no
// problem, or asks for a session without an owner, with a key that is out of
// bounds or was not sent, or with another body than was sent.
func FuzzCreate(f *testing.F) {
	for _, seed := range []struct{ path, key, contentType, body string }{
		{"ml", `"1"`, "application/json", `{"key": "a", "sizeBytes": 10}`},
		{"ml", "", "application/json; charset=utf-8", ""},
		{"ml", "1", "text/json", "{}"},
		{"ml", "", "application/json;", "null"},
		{"..", `"`, "", "{}"},
		{"m%2Fl", `"1"`, "application/json", "{}"},
	} {
		f.Add(seed.path, seed.key, seed.contentType, []byte(seed.body))
	}
	w := newWorld(f, options{})
	w.creator.create = func(r upload.CreateRequest) (upload.Created, error) {
		return upload.Created{ID: "uid-1", Name: upload.Name{Namespace: r.Namespace, Name: "made"}, Size: int64(len(r.Spec)), ChunkSize: 3, Waits: &upload.Waits{}}, nil
	}
	f.Fuzz(func(t *testing.T, namespace, key, contentType string, body []byte) {
		target := "/v1/namespaces/" + namespace + "/uploadsessions"
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip() // net/http refuses it before the handler
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body)).WithContext(t.Context())
		r.URL, r.RequestURI = u, target
		if key != "" {
			r.Header.Set(idempotencyKeyHeader, key)
		}
		r.Header.Set("Content-Type", contentType)
		w.creator.asked = nil
		recorder := httptest.NewRecorder()
		w.handler.ServeHTTP(recorder, r)
		if recorder.Code != http.StatusCreated {
			if recorder.Code == http.StatusInternalServerError || recorder.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s: %s", recorder.Code, recorder.Header().Get("Content-Type"), recorder.Body)
			}
			if len(w.creator.asked) > 0 {
				t.Errorf("%d, and a session was asked for", recorder.Code)
			}
			return
		}
		if len(w.creator.asked) != 1 {
			t.Fatalf("asked for %d sessions", len(w.creator.asked))
		}
		asked := w.creator.asked[0]
		if asked.Owner != auth.Anonymous || (asked.Key == "") != (key == "") || len(asked.Key) > maxIdempotencyKey || !bytes.Equal(asked.Spec, body) || !isLabel(asked.Namespace) {
			t.Errorf("asked for %+v", asked)
		}
	})
}

// FuzzHandler: no request panics, gets 500 or an error that is no problem of the
// table, changes a session unless it is a valid chunk, a completion or an abort,
// or changes bytes that are held.
func FuzzHandler(f *testing.F) {
	session0, one := base("obj"), base("obj")+"/chunks/1"
	for _, seed := range []struct{ method, target, headers, body string }{
		{"PUT", one, "", "4567"},
		{"PUT", one, "Content-Digest: crc32c=:AAAAAA==:", "4567"},
		{"PUT", one, "Content-Length: 4\nContent-Encoding: gzip", "4567"},
		{"PUT", base("obj") + "/chunks/2", "Expect: 100-continue", "89"},
		{"PUT", one, "Transfer-Encoding: chunked", "4567"},
		{"POST", session0 + "/complete", "Transfer-Encoding: chunked", "4567"},
		{"PUT", base("obj") + "/chunks/01", "", "4567"},
		{"PUT", base("obj") + "/chunks/%31", "", "4567"},
		{"GET", session0, "X-Request-Id: a b", ""},
		{"HEAD", session0, "", ""},
		{"DELETE", session0, "", "x"},
		{"POST", session0 + "/complete", "Repr-Digest: sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:", "{}"},
		{"GET", session0 + "/content", "Range: bytes=0-1,2-3", ""},
		{"GET", "/v1/namespaces/ml/uploadsessions/ended/content", "Range: bytes=5-\nIf-Match: x", ""},
		{"PUT", "/v1/namespaces/ml/uploadsessions/ended/chunks/0", "", "4567"},
		{"DELETE", "/v1/namespaces/ml/uploadsessions/ended", "", ""},
		{"POST", "/v1/namespaces/ml/uploadsessions", "Content-Type: application/json\nIdempotency-Key: 1", "{}"},
		{"OPTIONS", "*", "", ""},
		{"CONNECT", "host:80", "", ""},
		{"CONNECT", session0, "", ""},
		{"GET", "//", "", ""},
		{"GET", "/v1/../v1/namespaces/ml/uploadsessions/obj", "", ""},
		{"GET", "/v1/namespaces/ml/uploadsessions/..%2fobj", "", ""},
		{"PATCH", session0 + "/", "", ""},
	} {
		f.Add(seed.method, seed.target, seed.headers, []byte(seed.body))
	}
	w := newWorld(f, options{})
	publish(w, "ended", []byte("0123"))
	var name upload.Name
	fresh := func() {
		name = w.accepted("obj", 10, 4)
		w.put("obj", 0, []byte("0123"))
	}
	fresh()
	f.Fuzz(func(t *testing.T, method, target, headers string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || method == "" {
			t.Skip() // net/http refuses it before the handler
		}
		r := httptest.NewRequest(http.MethodGet, "/", bytes.NewReader(body)).WithContext(t.Context())
		r.Method, r.URL, r.RequestURI = method, u, target
		r.Header.Set("Content-Length", fmt.Sprint(len(body)))
		for line := range strings.Lines(headers) {
			if field, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				r.Header.Add(field, strings.TrimSpace(value))
			}
		}
		if r.Header.Get("Transfer-Encoding") != "" {
			r.ContentLength = -1
		}
		w.t = t
		before := w.meta(name)
		recorder := httptest.NewRecorder()
		w.handler.ServeHTTP(recorder, r)
		after := w.meta(name)
		code := recorder.Code
		if code == http.StatusInternalServerError {
			t.Errorf("500: %s", recorder.Body)
		}
		if code >= 300 && code != http.StatusNotModified {
			wantKind(t, recorder)
		}
		if before.State == session.Open && after.State == session.Open {
			wantHeld(t, w, after.ID)
		}
		if before.State == after.State && before.HeldChunks == after.HeldChunks {
			return
		}
		path, is := strings.CutPrefix(u.Path, session0)
		switch {
		case is && method == http.MethodDelete && path == "" && code == http.StatusNoContent:
		case is && method == http.MethodPost && path == "/complete" && before.Complete() && code == http.StatusOK:
		case is && method == http.MethodPut && strings.HasPrefix(path, "/chunks/") && code == http.StatusCreated && after.HeldBytes == before.HeldBytes+int64(len(body)):
		default:
			t.Errorf("%s %s with status %d changed the session from %+v to %+v", method, target, code, before, after)
		}
		if after.State.Ended() {
			if err := w.uploads.Forget(t.Context(), after.ID); err != nil {
				t.Fatal(err)
			}
			if err := w.removeObject("obj"); err != nil {
				t.Fatal(err)
			}
			fresh()
		}
	})
}

// wantHeld wants the first chunk of the session as it was sent, and the rest of
// the volume without anything that no session put there.
func wantHeld(t *testing.T, w *world, id session.ID) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.root, ".slipway", "models-0.replica", string(id), "data"))
	if err != nil || len(b) != 10 || string(b[:4]) != "0123" {
		t.Errorf("the bytes that are held are %q, %v", b, err)
	}
	entries, err := os.ReadDir(w.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != ".slipway" && e.Name() != "models" {
			t.Errorf("on the volume is %s", e.Name())
		}
	}
}
