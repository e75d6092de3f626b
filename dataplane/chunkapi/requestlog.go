package chunkapi

import (
	"log/slog"
	"net/http"
	"time"
)

// note logs a request once it was served, at the level DEBUG: at others only
// what went wrong is logged, so that chunks cost no lines.
func (a *api) note(w *reply, r *http.Request, began time.Time) {
	if !a.log.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	a.log.DebugContext(r.Context(), "request served", "session", sessionOf(r), "user", callerOf(r).User,
		"method", r.Method, "path", r.URL.Path, "status", w.status, "sentBytes", w.sent, "receivedBytes", max(r.ContentLength, 0),
		"duration", time.Since(began), "protocol", r.Proto, "requestID", w.Header().Get(requestIDHeader))
}

// sessionOf is the session that the path of a request names, as all logs have it; empty where none is named.
func sessionOf(r *http.Request) string {
	if r.PathValue("name") == "" {
		return ""
	}
	return r.PathValue("namespace") + "/" + r.PathValue("name")
}
