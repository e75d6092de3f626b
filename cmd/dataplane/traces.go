package main

import (
	"net/http"

	"github.com/slipway-dev/slipway/dataplane/trace"
)

// volume is the sink, in whose place stands one that is traced where there are traces.
func (d *dataplane) volume() trace.Volume {
	if !d.traces.On() {
		return d.sink
	}
	return trace.Sink(d.sink, d.traces.Provider())
}

// traced is the handler, with a span of each request where there are traces.
func (d *dataplane) traced(handler http.Handler) http.Handler {
	if !d.traces.On() {
		return handler
	}
	return trace.Requests(handler, d.traces.Provider())
}
