package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProbes(t *testing.T) {
	for _, c := range []struct {
		name         string
		failed       error
		ready        bool
		live, served int
	}{
		{"starting", nil, false, http.StatusOK, http.StatusServiceUnavailable},
		{"serving", nil, true, http.StatusOK, http.StatusOK},
		{"the volume failed", errors.New("lost"), true, http.StatusInternalServerError, http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := health{failed: func() error { return c.failed }, metrics: http.NotFoundHandler()}
			h.ready.Store(c.ready)
			for path, want := range map[string]int{"/healthz": c.live, "/readyz": c.served} {
				w := httptest.NewRecorder()
				h.server().Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
				if w.Code != want {
					t.Errorf("%s: %d, want %d", path, w.Code, want)
				}
			}
		})
	}
}
