package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestCheckLoopback(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"": true, "127.0.0.1:6060": true, "[::1]:0": true, "localhost:6060": true,
		":6060": false, "0.0.0.0:6060": false, "10.0.0.1:6060": false, "127.0.0.1": false, "[::]:6060": false,
	} {
		if _, err := CheckLoopback(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := CheckLoopback("0.0.0.0:1"); err == nil || !strings.Contains(err.Error(), "not a loopback address") {
		t.Errorf("got %v", err)
	}
}

func TestProfilesAreServed(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	listener, err := ListenForProfiles(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ServeProfiles(ctx, listener, slog.New(slog.DiscardHandler))
	}()
	for path, want := range map[string]int{"/debug/pprof/": http.StatusOK, "/debug/pprof/heap": http.StatusOK, "/": http.StatusNotFound} {
		r, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close() // the status says all
		if r.StatusCode != want {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	stop()
	<-done
	ServeProfiles(t.Context(), nil, nil) // nobody wants them
}
