package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"

	"github.com/slipway-dev/slipway/telemetry"
)

// TestSpansReachACollector: what a client uploads over HTTP/2 is found at the collector that the environment
// names, with the deadlines of the streams set through all that stands around the handler.
func TestSpansReachACollector(t *testing.T) {
	sent := make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sent <- string(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	before, propagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	defer func() {
		otel.SetTracerProvider(before)
		otel.SetTextMapPropagator(propagator)
	}()
	traces, err := telemetry.OpenTraces(t.Context(), "slipway-dataplane", "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := serveOverTLS(t, traces)
	if r := s.do(s.client(t), http.MethodPut, "/chunks/0", strings.NewReader("0123"), 4); r.status != http.StatusCreated {
		t.Fatalf("got %+v", r)
	}
	s.stop()
	if err := receive(t, "end", s.stopped); err != nil {
		t.Errorf("it stopped with %v", err)
	}
	if err := traces.Close(); err != nil {
		t.Fatal(err)
	}
	got := receive(t, "spans", sent)
	for _, want := range []string{
		"PUT /v1/namespaces/{namespace}/uploadsessions/{name}/chunks/{index}", "sync", "receive and write", "slipway.session.uid", "slipway-dataplane",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the collector has no %q", want)
		}
	}
}
