package main

import (
	"net/http"

	"github.com/slipway-dev/slipway/dataplane/trace"
)

// volume is the sink as it is measured, and traced where there are traces.
func (d *dataplane) volume() trace.Volume {
	measured := d.meters.Volume.Measure(d.sink)
	if !d.traces.On() {
		return measured
	}
	return trace.Sink(measured, d.traces.Provider())
}

// traced is the handler, with a span of each request where there are traces.
func (d *dataplane) traced(handler http.Handler) http.Handler {
	if !d.traces.On() {
		return handler
	}
	return trace.Requests(handler, d.traces.Provider())
}
