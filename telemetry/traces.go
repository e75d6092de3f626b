package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// flushTimeout is how long the last spans may take to be sent when the process ends.
const flushTimeout = 5 * time.Second

// Traces makes spans and sends them; its zero value makes none.
type Traces struct{ provider *sdktrace.TracerProvider }

// OpenTraces begins to trace if the environment says so: where OTEL_TRACES_EXPORTER or an
// endpoint for OTLP is set, and neither says none. What the exporter, the sampler and the
// resource are is read from the environment too, as OpenTelemetry specifies; service is
// the name of the program unless OTEL_SERVICE_NAME is set.
func OpenTraces(ctx context.Context, service, version string, log *slog.Logger) (Traces, error) {
	if !wanted(os.Getenv) {
		return Traces{}, nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return Traces{}, fmt.Errorf("traces, as OTEL_TRACES_EXPORTER and OTEL_EXPORTER_OTLP_* say: %w", err)
	}
	// What is later counts.
	about, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", service), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return Traces{}, errors.Join(fmt.Errorf("traces, as OTEL_RESOURCE_ATTRIBUTES says: %w", err), exporter.Shutdown(ctx))
	}
	t := Traces{sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))}
	otel.SetTracerProvider(t.provider)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are lost", "error", err) }))
	return t, nil
}

// wanted reports whether the environment asks for traces.
func wanted(env func(string) string) bool {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") || env("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	for _, name := range []string{"OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		if env(name) != "" {
			return true
		}
	}
	return false
}

// On reports whether there are traces.
func (t Traces) On() bool { return t.provider != nil }

// Provider is for who makes spans; it makes none while there are no traces.
func (t Traces) Provider() trace.TracerProvider {
	if t.provider == nil {
		return noop.NewTracerProvider()
	}
	return t.provider
}

// Close sends what is left.
func (t Traces) Close() error {
	if t.provider == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	return t.provider.Shutdown(ctx)
}
