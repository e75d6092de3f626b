package chunkapi

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

// TestRequestsAreLogged at DEBUG, each with its session, its status and its id, and at INFO not at all.
func TestRequestsAreLogged(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]bool{slog.LevelDebug: true, slog.LevelInfo: false} {
		var log bytes.Buffer
		handler := New(Config{Uploads: newWorld(t, options{}).uploads, Gate: auth.Open{}, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: level}))})
		r := httptest.NewRequest(http.MethodGet, base("nobody"), http.NoBody)
		r.Header.Set(requestIDHeader, "mine")
		handler.ServeHTTP(httptest.NewRecorder(), r)
		if log.Len() > 0 != want {
			t.Fatalf("%s: the log is %q", level, &log)
		}
		if !want {
			continue
		}
		line := map[string]any{}
		if err := json.Unmarshal(log.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		for key, value := range map[string]any{
			"msg": "request served", "session": "ml/nobody", "method": "GET", "path": base("nobody"), "status": 404.0, "requestID": "mine", "protocol": "HTTP/1.1",
		} {
			if line[key] != value {
				t.Errorf("%s is %v, want %v", key, line[key], value)
			}
		}
		if sent, ok := line["sentBytes"].(float64); !ok || sent == 0 {
			t.Errorf("sentBytes is %v", line["sentBytes"])
		}
	}
}
