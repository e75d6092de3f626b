package trace

import (
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// The attributes of spans that are Slipway's own.
const (
	sessionNamespace = attribute.Key("slipway.session.namespace")
	sessionName      = attribute.Key("slipway.session.name")
	sessionUID       = attribute.Key("slipway.session.uid")
	chunkIndex       = attribute.Key("slipway.chunk.index")
	requestID        = attribute.Key("slipway.request.id")
)

// Requests makes a span of each request that next serves, below the one that the client names in
// traceparent. Its name is the route, which has neither names nor indexes in it.
func Requests(next http.Handler, provider trace.TracerProvider) http.Handler {
	described := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		span := trace.SpanFromContext(r.Context())
		span.SetAttributes(routeOf(r.URL.Path).attributes...)
		defer func() { span.SetAttributes(requestID.String(w.Header().Get("X-Request-Id"))) }()
		next.ServeHTTP(w, r)
	})
	return otelhttp.NewHandler(described, "request", otelhttp.WithTracerProvider(provider),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return nameOf(r) }))
}

const sessionsPath = "/v1/namespaces/{namespace}/uploadsessions"

// route is a path of the protocol, and what of it is not the route.
type route struct {
	pattern    string // empty where there is no such path
	attributes []attribute.KeyValue
}

// nameOf is a name for the span of a request. What anybody makes up makes no new one.
func nameOf(r *http.Request) string {
	method := r.Method
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions:
	default:
		method = "HTTP"
	}
	return strings.TrimSpace(method + " " + routeOf(r.URL.Path).pattern)
}

func routeOf(path string) route {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) < 4 || parts[0] != "v1" || parts[1] != "namespaces" || parts[3] != "uploadsessions" {
		return route{}
	}
	r := route{sessionsPath, []attribute.KeyValue{sessionNamespace.String(parts[2])}}
	if len(parts) == 4 {
		return r
	}
	r.pattern += "/{name}"
	r.attributes = append(r.attributes, sessionName.String(parts[4]))
	switch rest := parts[5:]; {
	case len(rest) == 0:
	case len(rest) == 1 && (rest[0] == "complete" || rest[0] == "content" || rest[0] == "tickets"):
		r.pattern += "/" + rest[0]
	case len(rest) == 2 && rest[0] == "chunks":
		r.pattern += "/chunks/{index}"
		if index, err := strconv.Atoi(rest[1]); err == nil {
			r.attributes = append(r.attributes, chunkIndex.Int(index))
		}
	default:
		return route{}
	}
	return r
}
