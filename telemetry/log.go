package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// Handler is for all lines of a program. It adds the trace and the span that a line is logged in to the
// line, as traceID and spanID. What strangers can have written is bounded: the values of a line are plain and
// short (see Plain), and warnings and errors of one place in the code come at most once a second after the
// first 100, where the next one says how many were left out, as suppressed.
func Handler(next slog.Handler) slog.Handler { return handler{next, newThrottle()} }

type handler struct {
	slog.Handler
	throttle *throttle
}

// Handle adds what the context knows.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	suppressed, ok := 0, true
	if r.Level >= slog.LevelWarn {
		suppressed, ok = h.throttle.pass(placeOf(r), r.Time)
	}
	if !ok {
		return nil
	}
	out := slog.NewRecord(r.Time, r.Level, Plain(r.Message, maxError), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(plainAttr(a))
		return true
	})
	if suppressed > 0 {
		out.AddAttrs(slog.Int("suppressed", suppressed))
	}
	if c := trace.SpanContextFromContext(ctx); c.IsValid() {
		out.AddAttrs(slog.String("traceID", c.TraceID().String()), slog.String("spanID", c.SpanID().String()))
	}
	return h.Handler.Handle(ctx, out)
}

// WithAttrs keeps the handler around the next one, as WithGroup does.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	plain := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		plain[i] = plainAttr(a)
	}
	return handler{h.Handler.WithAttrs(plain), h.throttle}
}

// WithGroup is for slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.throttle}
}
