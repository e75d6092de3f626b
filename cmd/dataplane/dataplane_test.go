package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/telemetry"
)

// nowhere is an API server that is away.
var nowhere = &rest.Config{Host: "http://127.0.0.1:1"}

func newDataplane(t *testing.T, root string, args ...string) (*dataplane, error) {
	t.Helper()
	return newTraced(t, telemetry.Traces{}, root, args...)
}

func newTraced(t *testing.T, traces telemetry.Traces, root string, args ...string) (*dataplane, error) {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	o, err := parse(t, append(args, "--root="+root, "--listen=127.0.0.1:0", "--shutdown-grace=20s")...)
	if err != nil {
		t.Fatal(err)
	}
	o.healthAddress = "127.0.0.1:0"
	return open(o, nowhere, traces, slog.New(slog.DiscardHandler))
}

func ask(t *testing.T, method, url string, body io.Reader) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func TestItServesWithoutAnAPIServer(t *testing.T) {
	root := t.TempDir()
	d, err := newDataplane(t, root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if _, err := newDataplane(t, root); !errors.Is(err, file.ErrLocked) {
		t.Errorf("a second dataplane on the volume: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- d.serve(ctx) }()

	probes := "http://" + d.probes.Addr().String()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if status, _ := ask(t, http.MethodGet, probes+"/readyz", nil); status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not become ready")
		}
	}
	if status, _ := ask(t, http.MethodGet, probes+"/healthz", nil); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	if status, answer := ask(t, http.MethodGet, probes+"/metrics", nil); status != http.StatusOK || !strings.Contains(answer, "go_goroutines") {
		t.Errorf("metrics: %d", status)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, answer := ask(t, http.MethodGet, probes+"/metrics", nil); strings.Contains(answer, `controller_runtime_reconcile_total{controller="uploadsession"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the metrics don't tell of reconciles")
		}
	}
	if strings.HasSuffix(d.endpoint(), ":0") {
		t.Errorf("endpoint: %s", d.endpoint())
	}
	status, answer := ask(t, http.MethodPut, d.endpoint()+"/v1/namespaces/ml/uploadsessions/a/chunks/0", strings.NewReader("x"))
	if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"unavailable"`) {
		t.Errorf("a chunk of a session that nobody knows: %d %s", status, answer)
	}

	cancel()
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("it stopped with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not stop")
	}
	if d.health.ready.Load() {
		t.Error("it is ready after it stopped")
	}
	d.close()
	again, err := newDataplane(t, root)
	if err != nil {
		t.Fatal(err)
	}
	again.close()
}

func TestItRefusesABadVolume(t *testing.T) {
	if _, err := newDataplane(t, t.TempDir()+"/missing"); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("got %v", err)
	}
}
