package trace_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/minio/crc64nvme"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/trace"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	path    = "/v1/namespaces/ml/uploadsessions/a"
)

// served is a handler over a real volume, traced, on which session ml/a of one chunk has begun.
func served(t *testing.T) (http.Handler, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	volume, err := file.Open(t.TempDir(), file.Options{Replica: "models-0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = volume.Close() })
	sink := trace.Sink(volume, provider)
	log := slog.New(slog.DiscardHandler)
	uploads := upload.NewService(upload.Config{
		Core: session.NewService(session.Config{Sink: sink, Checksum: crc64nvme.New}), Publisher: sink, Log: log,
	})
	t.Cleanup(uploads.Close)
	if err := uploads.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	grant := upload.Grant{ID: "uid-1", Name: upload.Name{Namespace: "ml", Name: "a"}, Key: "a", Size: 4, ChunkSize: 4, Explicit: true}
	if _, err := uploads.Accept(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	return trace.Requests(chunkapi.New(chunkapi.Config{Uploads: uploads, Log: log}), provider), spans
}

// TestSpansOfAnUpload: the request is below the client's own span, and what it waited for is below the request.
func TestSpansOfAnUpload(t *testing.T) {
	before := otel.GetTextMapPropagator()
	defer otel.SetTextMapPropagator(before)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	handler, spans := served(t)
	for _, call := range []struct {
		method, path, body string
		status             int
	}{
		{http.MethodPut, path + "/chunks/0", "0123", http.StatusCreated},
		{http.MethodPost, path + "/complete", "", http.StatusOK},
	} {
		r := httptest.NewRequestWithContext(context.Background(), call.method, call.path, strings.NewReader(call.body))
		if call.body != "" {
			r.Header.Set("Content-Length", "4")
		}
		r.Header.Set("traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")
		r.Header.Set("X-Request-Id", "mine")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != call.status {
			t.Fatalf("%s %s: %d %s", call.method, call.path, w.Code, w.Body)
		}
	}
	found := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range spans.Ended() {
		found[s.Name()] = s
	}
	const put = "PUT /v1/namespaces/{namespace}/uploadsessions/{name}/chunks/{index}"
	for name, want := range map[string][]attribute.KeyValue{
		put: {
			attribute.String("slipway.session.namespace", "ml"), attribute.String("slipway.session.name", "a"), attribute.Int("slipway.chunk.index", 0),
			attribute.String("slipway.request.id", "mine"),
		},
		"receive and write": {attribute.String("slipway.session.uid", "uid-1"), attribute.Int("slipway.chunk.index", 0)},
		"sync":              {attribute.String("slipway.session.uid", "uid-1"), attribute.Int("slipway.chunk.index", 0), attribute.Int64("slipway.chunk.bytes", 4)},
		"publish":           {attribute.String("slipway.session.uid", "uid-1")},
		"reserve":           {attribute.String("slipway.session.uid", "uid-1")},
		"save record":       {attribute.String("slipway.session.uid", "uid-1")},
		"POST /v1/namespaces/{namespace}/uploadsessions/{name}/complete": {attribute.String("slipway.session.name", "a")},
	} {
		s := found[name]
		if s == nil {
			t.Errorf("there is no span %q", name)
			continue
		}
		has := attribute.NewSet(s.Attributes()...)
		for _, a := range want {
			if v, ok := has.Value(a.Key); !ok || v != a.Value {
				t.Errorf("%q has %s %v, want %v", name, a.Key, v.AsString(), a.Value.AsString())
			}
		}
	}
	for _, name := range []string{"receive and write", "sync"} {
		if s, parent := found[name], found[put]; s == nil || parent == nil || s.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("%q is not below the request", name)
		}
	}
	if got := found[put].SpanContext().TraceID().String(); got != traceID {
		t.Errorf("the trace is %s, not the client's", got)
	}
}

// TestNamesOfSpansAreFew: nothing that anybody makes up is in one.
func TestNamesOfSpansAreFew(t *testing.T) {
	handler, spans := served(t)
	for _, r := range []struct{ method, path, want string }{
		{http.MethodGet, "/etc/passwd", "GET"},
		{"MAKEUP", path, "HTTP /v1/namespaces/{namespace}/uploadsessions/{name}"},
		{http.MethodGet, path + "/chunks/0/more", "GET"},
		{http.MethodGet, path + "/made-up", "GET"},
		{http.MethodPost, "/v1/namespaces/ml/uploadsessions", "POST /v1/namespaces/{namespace}/uploadsessions"},
		{http.MethodPut, path + "/chunks/x", "PUT /v1/namespaces/{namespace}/uploadsessions/{name}/chunks/{index}"},
	} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(r.method, r.path, http.NoBody))
		ended := spans.Ended()
		if got := ended[len(ended)-1].Name(); got != r.want {
			t.Errorf("%s %s is %q, want %q", r.method, r.path, got, r.want)
		}
	}
}

// TestDeadlinesReachTheConnection through the span's wrapper, over either protocol.
func TestDeadlinesReachTheConnection(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		set := make(chan error, 2)
		server := httptest.NewUnstartedServer(trace.Requests(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c := http.NewResponseController(w)
			set <- c.SetReadDeadline(time.Now().Add(time.Minute))
			set <- c.SetWriteDeadline(time.Now().Add(time.Minute))
		}), sdktrace.NewTracerProvider()))
		server.EnableHTTP2 = http2
		server.StartTLS()
		r, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close() // there is none
		for range 2 {
			if err := <-set; err != nil {
				t.Errorf("%s: %v", r.Proto, err)
			}
		}
		server.Close()
	}
}
