package trace

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Volume is a sink that can publish.
type Volume interface {
	session.ByteSink
	session.Publisher
}

// Sink makes spans of what a volume makes durable: the creation of a session, its
// records, each chunk, and the publication of the object. What is done for a request is below its
// span. What else a volume does has none: it is quick, or nobody waits for it.
func Sink(volume Volume, provider trace.TracerProvider) Volume {
	return &sink{Volume: volume, tracer: provider.Tracer("github.com/slipway-dev/slipway/dataplane/trace")}
}

type sink struct {
	Volume
	tracer trace.Tracer
}

// do makes a span of what f does for a session.
func (s *sink) do(ctx context.Context, name string, id session.ID, f func(context.Context) error, more ...attribute.KeyValue) error {
	ctx, span := s.tracer.Start(ctx, name, trace.WithAttributes(append(more, sessionUID.String(string(id)))...))
	defer span.End()
	err := f(ctx)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

// Create implements session.ByteSink.
func (s *sink) Create(ctx context.Context, r session.Record) error {
	return s.do(ctx, "reserve", r.ID, func(ctx context.Context) error { return s.Volume.Create(ctx, r) })
}

// SaveRecord implements session.ByteSink.
func (s *sink) SaveRecord(ctx context.Context, r session.Record) error {
	return s.do(ctx, "save record", r.ID, func(ctx context.Context) error { return s.Volume.SaveRecord(ctx, r) })
}

// Publish implements session.Publisher.
func (s *sink) Publish(ctx context.Context, id session.ID, name string, replace bool, attributes map[string]string) error {
	return s.do(ctx, "publish", id, func(ctx context.Context) error { return s.Volume.Publish(ctx, id, name, replace, attributes) })
}

// Open implements session.ByteSink.
func (s *sink) Open(ctx context.Context, id session.ID) (session.Staged, error) {
	opened, err := s.Volume.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	return &staged{Staged: opened, sink: s, id: id, opened: time.Now()}, nil
}

// staged tells of the chunks that are committed through it.
type staged struct {
	session.Staged
	sink   *sink
	id     session.ID
	opened time.Time
}

// Commit implements session.Staged. Before it the bytes were received and written, which
// is a span of its own, from when the bytes of the session were opened.
func (s *staged) Commit(ctx context.Context, index int, offset int64, slot session.Slot) error {
	_, received := s.sink.tracer.Start(ctx, "receive and write", trace.WithTimestamp(s.opened),
		trace.WithAttributes(sessionUID.String(string(s.id)), chunkIndex.Int(index)))
	received.End()
	return s.sink.do(ctx, "sync", s.id, func(ctx context.Context) error {
		return s.Staged.Commit(ctx, index, offset, slot)
	}, chunkIndex.Int(index), attribute.Int64("slipway.chunk.bytes", slot.Length))
}
