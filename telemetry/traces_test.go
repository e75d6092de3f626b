package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestWanted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"OTEL_SERVICE_NAME": "a", "OTEL_TRACES_SAMPLER": "always_on"}, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "console"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "TRUE"}, false},
	} {
		if got := wanted(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}

// TestTracesAreSent to a collector that the environment names, with the names that it gives; and nothing is
// sent without it.
func TestTracesAreSent(t *testing.T) {
	none, err := OpenTraces(t.Context(), "slipway-test", "v1", slog.New(slog.DiscardHandler))
	if err != nil || none.On() || none.Close() != nil {
		t.Fatalf("without a word of the environment: %+v, %v", none, err)
	}
	sent := make(chan []byte, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent <- body
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	t.Setenv("OTEL_SERVICE_NAME", "called-otherwise")
	before := otel.GetTracerProvider()
	defer otel.SetTracerProvider(before)
	traces, err := OpenTraces(t.Context(), "slipway-test", "v1", slog.New(slog.DiscardHandler))
	if err != nil || !traces.On() {
		t.Fatalf("%+v, %v", traces, err)
	}
	var log bytes.Buffer
	ctx, span := traces.Provider().Tracer("test").Start(t.Context(), "a span of the test")
	slog.New(Handler(slog.NewTextHandler(&log, nil))).With("a", "b").WithGroup("g").InfoContext(ctx, "said")
	span.End()
	if err := traces.Close(); err != nil {
		t.Fatal(err)
	}
	for got, wants := range map[string][]string{
		string(<-sent): {"a span of the test", "called-otherwise", "v1"},
		log.String():   {"traceID=" + span.SpanContext().TraceID().String(), "spanID=" + span.SpanContext().SpanID().String()},
	} {
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in %q", want, got)
			}
		}
	}
}

func TestAnExporterThatThereIsNot(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "nonesuch")
	if _, err := OpenTraces(t.Context(), "slipway-test", "v1", slog.Default()); err == nil || !strings.Contains(err.Error(), "OTEL_TRACES_EXPORTER") {
		t.Errorf("got %v", err)
	}
}

// TestReconciler: each reconcile is a span with what it was about, and how it failed.
func TestReconciler(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	before := otel.GetTracerProvider()
	defer otel.SetTracerProvider(before)
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	failure := errors.New("conflict")
	r := Reconciler("uploadstore", reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
		return reconcile.Result{}, failure
	}))
	var request reconcile.Request
	request.Namespace, request.Name = "ml", "models"
	if _, err := r.Reconcile(t.Context(), request); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	ended := spans.Ended()
	if len(ended) != 1 || ended[0].Name() != "reconcile uploadstore" || ended[0].Status().Description != "conflict" {
		t.Fatalf("got %+v", ended)
	}
	if got := ended[0].Attributes(); len(got) != 2 || got[0].Value.AsString() != "ml" || got[1].Value.AsString() != "models" {
		t.Errorf("got %v", got)
	}
}
