package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// health is what probes and Prometheus ask.
type health struct {
	// ready is true from the moment when every session on the volume is taken up until the
	// process is told to stop.
	ready atomic.Bool
	// failed returns why only another process can go on with the volume, or nil.
	failed func() error
	// metrics serves what is counted.
	metrics http.Handler
}

func (h *health) server() *http.Server {
	mux := http.NewServeMux()
	// What Kubernetes does about a liveness probe that fails is what the volume needs.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.failed(); err != nil {
			answer(w, http.StatusInternalServerError, err.Error())
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if h.ready.Load() {
			answer(w, http.StatusOK, "ok")
			return
		}
		answer(w, http.StatusServiceUnavailable, "the sessions on the volume are not taken up yet, or the process is about to stop")
	})
	mux.Handle("GET /metrics", h.metrics)
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // a probe that has gone needs no answer
}
