package chunkapi

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadRequestsOverHTTP2 sends those of the corpus that can be said in HTTP/2 at all: each
// gets the problem that it gets over HTTP/1.1, byte for byte.
func TestBadRequestsOverHTTP2(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad-requests/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	w := newVictim(t, options{http2: true})
	count := 0
	for _, path := range files {
		for _, c := range readBadRequests(t, path) {
			r, body := sayable(t, c)
			if r == nil {
				continue
			}
			count++
			_, want, _ := strings.Cut(c.reply, "\n\n")
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt")+"/"+c.name, func(t *testing.T) {
				before := w.everything(t)
				p := w.dialHTTP2(t)
				id := p.begin(fields(r.Method, r.RequestURI, headerOf(r)...), len(body) > 0)
				if len(body) > 0 {
					begun := body[:min(len(body), 16<<10)] // more than one frame is not waited for
					p.must(p.WriteData(id, len(begun) == len(body), begun))
				}
				p.flush()
				status, got := p.reply(id)
				if masked(string(got), c.request) != want || decode[Problem](t, got).Status != status {
					t.Errorf("got %d %s, over HTTP/1.1 %s", status, got, want)
				}
				wantUnchanged(t, before, w.everything(t))
			})
		}
	}
	if count < 100 {
		t.Errorf("only %d of the corpus can be said", count)
	}
}

// sayable returns a request of the corpus and its body. It returns nil where what
// is wrong is how HTTP/1.1 says it, so that there is no such thing in HTTP/2, and where its
// reply is not one problem.
func sayable(t *testing.T, c badRequest) (*http.Request, []byte) {
	t.Helper()
	header, _, _ := strings.Cut(c.reply, "\n\n")
	if strings.HasPrefix(c.request, halfClose) || strings.Count(c.reply, "HTTP/1.1 ") != 1 || !strings.Contains(header, "application/problem+json") {
		return nil, nil
	}
	for _, early := range earlyCases() {
		if strings.Contains(c.reply, `"code":"`+string(early.code)+`"`) {
			return nil, nil
		}
	}
	in := bufio.NewReader(bytes.NewReader(onTheWire(t, c.request)))
	r, err := http.ReadRequest(in)
	if err != nil || r.ContentLength < 0 || r.Host != "slipway" || r.Method == http.MethodHead || r.Method == http.MethodConnect {
		return nil, nil
	}
	for _, field := range []string{"Connection", "Expect", "Upgrade"} {
		if r.Header.Get(field) != "" {
			return nil, nil
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || in.Buffered() > 0 {
		return nil, nil
	}
	return r, body
}

// headerOf is the header as fields takes it.
func headerOf(r *http.Request) []string {
	var all []string
	for name, values := range r.Header {
		for _, value := range values {
			all = append(all, name, value)
		}
	}
	return all
}
