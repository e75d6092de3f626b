package chunkapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// gate is an auth.Gate that goes by two headers and remembers what it was asked.
type gate struct {
	mu    sync.Mutex
	asked []auth.Action
}

func (g *gate) Authenticate(r *http.Request) (auth.Caller, error) {
	r.Header.Del("Authorization") // as the one that asks the API server does
	switch user := r.Header.Get("X-User"); user {
	case "":
		return auth.Caller{}, fmt.Errorf("%w: there is no token", auth.ErrUnauthenticated)
	case "nobody-knows":
		return auth.Caller{}, fmt.Errorf("%w: secret", auth.ErrUnavailable)
	default:
		return auth.Caller{User: user}, nil
	}
}

func (g *gate) Authorize(_ context.Context, c auth.Caller, a auth.Action) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, a)
	if c.User == "mallory" || a.Verb == auth.AccessOthers && c.User != "administrator" {
		return auth.Forbid(c, a)
	}
	return nil
}

func (g *gate) taken() []auth.Action {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := g.asked
	g.asked = nil
	return asked
}

// calls are all calls of the protocol about a session, with what its caller must be allowed to do.
func calls(name string) map[string]auth.Action {
	on := func(v auth.Verb, s auth.Subresource) auth.Action {
		return auth.Action{Verb: v, Subresource: s, Namespace: "ml", Name: name}
	}
	return map[string]auth.Action{
		"POST " + collection:                   {Verb: auth.Create, Namespace: "ml"},
		"GET " + base(name):                    on(auth.Get, auth.Content),
		"HEAD " + base(name):                   on(auth.Get, auth.Content),
		"DELETE " + base(name):                 on(auth.Delete, auth.Content),
		"PUT " + base(name) + "/chunks/0":      on(auth.Update, auth.Content),
		"POST " + base(name) + "/complete":     on(auth.Update, auth.Content),
		"GET " + base(name) + "/content":       on(auth.Get, auth.Content),
		"HEAD " + base(name) + "/content":      on(auth.Get, auth.Content),
		"PUT " + base(name) + "/chunks/999999": on(auth.Update, auth.Content),
		"POST " + base(name) + "/tickets":      on(auth.Create, auth.Tickets),
	}
}

func TestEveryCallIsAuthorized(t *testing.T) {
	t.Parallel()
	g := &gate{}
	w := newWorld(t, options{api: Config{Gate: g, Tickets: newBooth(t).Gate}})
	for line, want := range calls("abc") {
		method, path, _ := strings.Cut(line, " ")
		a := w.do(method, path, strings.NewReader("0123"), "X-User", "mallory")
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: status %d, want 403", line, a.StatusCode)
		}
		if got := g.taken(); !slices.Equal(got, []auth.Action{want}) {
			t.Errorf("%s: asked for %v, want %v", line, got, want)
		}
	}
}

// A session that is for some users only is for nobody else, whatever RBAC lets them do in the namespace.
func TestASessionForSomeUsers(t *testing.T) {
	t.Parallel()
	const sender = "system:serviceaccount:ml:sender"
	g := &gate{}
	w := newWorld(t, options{api: Config{Gate: g, Tickets: newBooth(t).Gate}})
	w.accepted("aaa", 10, 4, func(g *upload.Grant) { g.Users = []string{"alice", sender} })
	others := auth.Action{Verb: auth.AccessOthers, Namespace: "ml", Name: "aaa"}
	for line := range calls("aaa") {
		method, path, _ := strings.Cut(line, " ")
		if path == collection {
			continue
		}
		g.taken()
		body := strings.NewReader("0123")
		if strings.HasSuffix(path, "/tickets") {
			body = strings.NewReader("") // what is no request for a ticket is refused before anybody looks for a session
		}
		a := w.do(method, path, body, "X-User", "bob")
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s as another user: status %d, want 403", line, a.StatusCode)
		}
		if asked := g.taken(); !slices.Contains(asked, others) {
			t.Errorf("%s: asked for %v, and not for %v", line, asked, others)
		}
	}
	for _, user := range []string{"alice", sender, "administrator"} {
		w.do(http.MethodGet, base("aaa"), nil, "X-User", user).want(t, http.StatusOK)
	}
	w.put("aaa", 0, []byte("0123"), "X-User", "bob").want(t, http.StatusForbidden)
	w.put("aaa", 0, []byte("0123"), "X-User", sender).want(t, http.StatusCreated)
}

// Who may not look is told the same whether there is something to see or not.
func TestADeniedCallerLearnsNothing(t *testing.T) {
	t.Parallel()
	for user, status := range map[string]int{"": http.StatusUnauthorized, "mallory": http.StatusForbidden, "nobody-knows": http.StatusServiceUnavailable} {
		w := newWorld(t, options{api: Config{Gate: &gate{}, Tickets: newBooth(t).Gate}})
		n := w.accepted("aaa", 10, 4)
		lookups := w.directory.calls()
		there, missing := calls("aaa"), calls("bbb")
		for line := range there {
			method, path, _ := strings.Cut(line, " ")
			other := strings.Replace(path, "aaa", "bbb", 1)
			if _, ok := missing[method+" "+other]; !ok {
				t.Fatalf("no twin of %s", line)
			}
			send := func(path string) answer {
				var headers []string
				if user != "" {
					headers = []string{"X-User", user}
				}
				a := w.do(method, path, strings.NewReader("0123"), append(headers, "X-Request-Id", "1")...)
				a.Header.Del("Date")
				if a.StatusCode != status {
					t.Errorf("%s as %q: status %d, want %d", line, user, a.StatusCode, status)
				}
				return a
			}
			a, b := send(path), send(other)
			if fmt.Sprint(a.Header) != fmt.Sprint(b.Header) || strings.ReplaceAll(string(a.body), "aaa", "bbb") != string(b.body) {
				t.Errorf("%s as %q tells that there is a session: %v %s\nand %v %s", line, user, a.Header, a.body, b.Header, b.body)
			}
			if strings.Contains(string(a.body), "secret") {
				t.Errorf("%s as %q tells of the inside: %s", line, user, a.body)
			}
		}
		if got := w.directory.calls(); got != lookups {
			t.Errorf("as %q the directory was asked %d times", user, got-lookups)
		}
		if m := w.meta(n); m.HeldChunks != 0 || m.State.Ended() {
			t.Errorf("as %q the session became %+v", user, m)
		}
	}
}

// Without credentials not even the paths are told apart.
func TestStrangersGetOneAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{Gate: &gate{}}})
	for _, line := range []string{"GET /", "GET /metrics", "PATCH " + base("abc"), "GET /v1/namespaces/ML/uploadsessions/a", "PUT " + base("abc") + "/chunks/x", "GET /v1//x"} {
		method, path, _ := strings.Cut(line, " ")
		a := w.do(method, path, nil)
		if p := a.problem(t); a.StatusCode != http.StatusUnauthorized || p.Code != CodeUnauthenticated || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: %d %s %v", line, a.StatusCode, p.Code, a.Header)
		}
	}
}

func TestDenialsAreLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{Gate: &gate{}}})
	w.do(http.MethodGet, base("abc"), nil, "X-User", "mallory", "X-Request-Id", "denied-1", "Authorization", "Bearer hush").want(t, http.StatusForbidden)
	w.do(http.MethodGet, base("abc"), nil, "X-Request-Id", "denied-2", "Authorization", "Bearer hush").want(t, http.StatusUnauthorized)
	w.do(http.MethodGet, base("abc"), nil, "X-Request-Id", "let-in", "X-User", "alice")
	log := w.log.String()
	for _, want := range []string{"requestID=denied-1", "requestID=denied-2", "user=mallory", "path=" + base("abc")} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, "hush") || strings.Contains(log, "let-in") {
		t.Errorf("the log tells too much:\n%s", log)
	}
}
