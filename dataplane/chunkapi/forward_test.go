package chunkapi

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// forwarder is a Forwarder that reads what it gets and answers, or fails.
type forwarder struct {
	err error

	mu  sync.Mutex
	got []string // method, path, owner, credentials and body
}

func (f *forwarder) Forward(w http.ResponseWriter, r *http.Request, _ upload.Name, owner string) error {
	if f.err != nil {
		return f.err
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.got = append(f.got, fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL.Path, owner, r.Header.Get("Authorization"), b))
	f.mu.Unlock()
	w.WriteHeader(http.StatusTeapot)
	return nil
}

func (f *forwarder) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.got
	f.got = nil
	return got
}

// TestEveryCallIsSentOn to the owner, with the whole body, wherever it was found out whose it is.
func TestEveryCallIsSentOn(t *testing.T) {
	t.Parallel()
	f := &forwarder{}
	w := newWorld(t, options{api: Config{Forwarder: f, Gate: &gate{}, Tickets: newBooth(t).Gate}})
	w.directory.set(upload.Name{Namespace: "ml", Name: "abc"}, &upload.ElsewhereError{Replica: "models-1"})
	for line, action := range calls("abc") {
		if action.Name == "" || strings.HasSuffix(line, "/999999") {
			continue // sessions are created here, and what is wrong with a path alone is told here
		}
		method, path, _ := strings.Cut(line, " ")
		headers, body := []string{"X-User", "alice", "Authorization", "Bearer hers"}, "0123"
		switch {
		case action.Subresource == auth.Tickets:
			body = `{"verbs": ["get"]}`
			headers = append(headers, "Content-Type", "application/json")
		case method == http.MethodGet || method == http.MethodHead || method == http.MethodDelete:
			body = ""
		}
		a := w.do(method, path, strings.NewReader(body), headers...)
		if a.StatusCode != http.StatusTeapot {
			t.Errorf("%s: status %d: %s", line, a.StatusCode, a.body)
		}
		if got, want := f.taken(), fmt.Sprintf("%s %s models-1 Bearer hers %s", method, path, body); len(got) != 1 || got[0] != want {
			t.Errorf("%s: sent on %q, want %q", line, got, want)
		}
	}
}

// TestOnlyWhoMayIsSentOn: to others it makes no difference whose a session is.
func TestOnlyWhoMayIsSentOn(t *testing.T) {
	t.Parallel()
	f := &forwarder{}
	w := newWorld(t, options{api: Config{Forwarder: f, Gate: &gate{}, Tickets: newBooth(t).Gate}})
	w.directory.set(upload.Name{Namespace: "ml", Name: "aaa"}, &upload.ElsewhereError{Replica: "models-1"})
	for _, user := range []string{"", "mallory", "nobody-knows"} {
		for line := range calls("aaa") {
			method, path, _ := strings.Cut(line, " ")
			send := func(path string) string {
				var headers []string
				if user != "" {
					headers = []string{"X-User", user}
				}
				a := w.do(method, path, strings.NewReader("0123"), append(headers, "X-Request-Id", "1")...)
				a.Header.Del("Date")
				return fmt.Sprint(a.StatusCode, a.Header, strings.ReplaceAll(string(a.body), "aaa", "bbb"))
			}
			if there, missing := send(path), send(strings.Replace(path, "aaa", "bbb", 1)); there != missing {
				t.Errorf("%s as %q tells that there is a session: %s\nand %s", line, user, there, missing)
			}
		}
	}
	if got := f.taken(); len(got) > 0 || w.directory.calls() > 0 {
		t.Errorf("sent on %q, and looked up %d times", got, w.directory.calls())
	}
}

// TestAChunkThatIsSentOnDidNotFail: what became of it is the owner's to count.
func TestAChunkThatIsSentOnDidNotFail(t *testing.T) {
	t.Parallel()
	for want, f := range map[metrics.Outcome]*forwarder{metrics.Forwarded: {}, metrics.NotReady: {err: upload.ErrAway}} {
		registry := prometheus.NewRegistry()
		w := newWorld(t, options{api: Config{Forwarder: f, Metrics: metrics.NewHTTP(registry)}})
		w.directory.set(upload.Name{Namespace: "ml", Name: "abc"}, &upload.ElsewhereError{Replica: "models-1"})
		w.put("abc", 0, []byte("0123"))
		counted := func() map[metrics.Outcome]float64 {
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			counted := map[metrics.Outcome]float64{}
			for _, family := range families {
				if family.GetName() != "slipway_dataplane_chunks_total" {
					continue
				}
				for _, m := range family.GetMetric() {
					if n := m.GetCounter().GetValue(); n > 0 {
						counted[metrics.Outcome(m.GetLabel()[0].GetValue())] = n
					}
				}
			}
			return counted
		}
		eventually(t, "the chunk is counted", func() bool { return len(counted()) > 0 })
		if got := counted(); len(got) != 1 || got[want] != 1 {
			t.Errorf("counted %v, want one %s", got, want)
		}
	}
}
