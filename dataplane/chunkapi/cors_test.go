package chunkapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// console is where the scripts come from that are let in.
const console = "https://console.example.com"

func TestOriginsAreAllowed(t *testing.T) {
	t.Parallel()
	config := newBooth(t).config()
	w := newWorld(t, options{api: config})
	w.accepted("a", 4, 4)
	made := w.ask("a", "").ticket(t)
	handler := AllowOrigins(w.handler, []string{console})
	ask := func(method, path, origin string, headers ...string) *http.Response {
		var body io.Reader
		if method != http.MethodOptions {
			body = strings.NewReader("0123")
		}
		r := httptest.NewRequestWithContext(t.Context(), method, path, body)
		r.Header.Set("Origin", origin)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		return recorder.Result()
	}
	preflight := func(path, origin string) *http.Response {
		return ask(http.MethodOptions, path, origin, "Access-Control-Request-Method", "PUT",
			"Access-Control-Request-Headers", "authorization,content-digest,content-type")
	}
	there, missing := preflight(chunkPath("a", 0), console), preflight(chunkPath("b", 0), console)
	defer there.Body.Close()
	defer missing.Body.Close()
	if there.StatusCode != http.StatusNoContent || there.Header.Get("Access-Control-Allow-Origin") != console ||
		there.Header.Get("Access-Control-Allow-Methods") != "PUT" || !strings.Contains(there.Header.Get("Access-Control-Allow-Headers"), "authorization") {
		t.Errorf("preflight: %d %v", there.StatusCode, there.Header)
	}
	for field := range there.Header {
		if there.Header.Get(field) != missing.Header.Get(field) {
			t.Errorf("a preflight tells by %s that there is a session", field)
		}
	}
	if there.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Error("what the browser keeps is let in")
	}
	for _, origin := range []string{"https://evil.example.com", "http://console.example.com", console + ".evil.example.com", "null"} {
		refused := preflight(chunkPath("a", 0), origin)
		if got := refused.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s is allowed as %s", origin, got)
		}
		_ = refused.Body.Close()
	}
	put := ask(http.MethodPut, chunkPath("a", 0), console, holding(made)...)
	defer put.Body.Close()
	exposed := strings.Split(strings.ToLower(strings.ReplaceAll(put.Header.Get("Access-Control-Expose-Headers"), " ", "")), ",")
	if put.StatusCode != http.StatusCreated || put.Header.Get("Access-Control-Allow-Origin") != console {
		t.Errorf("a chunk: %d %v", put.StatusCode, put.Header)
	}
	for _, field := range []string{"location", "retry-after", "x-request-id", "etag", "www-authenticate", "slipway-state", "slipway-received-bytes"} {
		if !slices.Contains(exposed, field) {
			t.Errorf("%s is not exposed: %q", field, exposed)
		}
	}
	// What is no preflight is a request like any other.
	plain := ask(http.MethodOptions, base("a"), console)
	defer plain.Body.Close()
	if plain.StatusCode != http.StatusUnauthorized {
		t.Errorf("OPTIONS: %d", plain.StatusCode)
	}
}
