package chunkapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

// strictGate knows Eve by her token, and lets her do nothing.
type strictGate struct{ auth.Open }

func (strictGate) Authenticate(r *http.Request) (auth.Caller, error) {
	if r.Header.Get("Authorization") != "Bearer of-eve" {
		return auth.Caller{}, auth.ErrUnauthenticated
	}
	return auth.Caller{User: "eve"}, nil
}

func (strictGate) Authorize(_ context.Context, c auth.Caller, a auth.Action) error {
	return auth.Forbid(c, a)
}

// TestDeniedRequestsAreLogged: one line each, that says who, what and under which id, and no credentials.
func TestDeniedRequestsAreLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{Gate: strictGate{}}})
	for _, c := range []struct {
		token, id string
		status    int
		user      string
	}{
		{"Bearer of-eve", "first", http.StatusForbidden, "user=eve"},
		{"Bearer of-mallory", "second", http.StatusUnauthorized, `user=""`},
	} {
		w.do(http.MethodGet, base("secret"), nil, "Authorization", c.token, requestIDHeader, c.id).want(t, c.status)
		var lines []string
		for line := range strings.SplitSeq(w.log.String(), "\n") {
			if strings.Contains(line, "request denied") && strings.Contains(line, "requestID="+c.id) {
				lines = append(lines, line)
			}
		}
		if len(lines) != 1 || !strings.Contains(lines[0], c.user) || !strings.Contains(lines[0], "path="+base("secret")) || !strings.Contains(lines[0], "method=GET") {
			t.Errorf("%s: the log has %q", c.id, lines)
		}
	}
	if strings.Contains(w.log.String(), "of-") {
		t.Errorf("the log has credentials:\n%s", w.log)
	}
}
