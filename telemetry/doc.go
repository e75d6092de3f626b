// Package telemetry is how both programs tell what they do, beside metrics:
// traces, which the standard OTEL_ variables switch on, log lines that name
// their trace, and profiles on a port of their own.
//
// What may not enter: what is traced. Rooms that know of uploads or of resources
// make their spans themselves.
package telemetry
