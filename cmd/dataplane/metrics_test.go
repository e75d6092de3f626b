package main

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// served runs a dataplane until the test ends and returns the address of its probes.
func served(t *testing.T, args ...string) (*dataplane, string) {
	t.Helper()
	d, err := newDataplane(t, t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- d.serve(t.Context()) }()
	t.Cleanup(func() {
		if err := <-stopped; err != nil {
			t.Errorf("it stopped with %v", err)
		}
		d.close()
	})
	probes := "http://" + d.probes.Addr().String()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if status, _ := ask(t, http.MethodGet, probes+"/readyz", nil); status == http.StatusOK {
			return d, probes
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not become ready")
		}
	}
}

// Every metric is documented, every one that is documented is served, and all are named as is usual.
func TestMetricsAreDocumented(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, 1)
	d, probes := served(t, "--tls-dir="+dir, "--insecure-no-auth")
	d.meters.ended(upload.Status{Result: &upload.Result{Reason: upload.Published}})

	_, page := ask(t, http.MethodGet, probes+"/metrics", nil)
	have := names(`(?m)^# HELP (slipway_[a-z_]+)`, page)
	docs, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := slices.DeleteFunc(names("(?m)^\\| `(slipway_[a-z_]+)", string(docs)), func(name string) bool {
		return !strings.HasPrefix(name, "slipway_dataplane_")
	})
	if diff := cmp.Diff(documented, have); diff != "" {
		t.Errorf("the documented metrics are not those that are served (-documented +served):\n%s", diff)
	}
	families, err := d.meters.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint says %v, %v", problems, err)
	}
}

// What clients do shows, by route, and who has no upload there has no series of their own.
func TestRequestsAreCounted(t *testing.T) {
	d, probes := served(t, "--insecure-no-auth")
	chunk := d.endpoint() + "/v1/namespaces/ml/uploadsessions/nobody/chunks/"
	ask(t, http.MethodPut, chunk+"0", strings.NewReader("x"))
	ask(t, http.MethodPut, d.endpoint()+"/v1/namespaces/ml/uploadsessions/no_body/chunks/0", strings.NewReader("x"))
	ask(t, http.MethodPatch, chunk+"0", strings.NewReader("x"))
	ask(t, http.MethodGet, d.endpoint()+"/elsewhere", nil)

	_, page := ask(t, http.MethodGet, probes+"/metrics", nil)
	for _, want := range []string{
		`slipway_dataplane_requests_total{code="4xx",method="PUT",route="chunks"} 1`,
		`slipway_dataplane_requests_total{code="5xx",method="PUT",route="chunks"} 1`,
		`slipway_dataplane_requests_total{code="4xx",method="other",route="chunks"} 1`,
		`slipway_dataplane_requests_total{code="4xx",method="other",route="other"} 1`,
		`slipway_dataplane_request_duration_seconds_count{method="PUT",route="chunks"} 2`,
		`slipway_dataplane_requests_in_flight 0`,
		`slipway_dataplane_chunks_total{outcome="refused"} 1`,
		`slipway_dataplane_chunks_total{outcome="not_ready"} 1`,
		`slipway_dataplane_chunks_in_flight 0`,
		`slipway_dataplane_sessions{state="open"} 0`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the metrics don't have %s", want)
		}
	}
	if strings.Contains(page, "nobody") || strings.Contains(page, "no_body") || strings.Contains(page, "elsewhere") {
		t.Error("what a client wrote is in the metrics")
	}
}

func names(pattern, text string) []string {
	var list []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		list = append(list, match[1])
	}
	slices.Sort(list)
	return list
}
