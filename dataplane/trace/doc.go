// Package trace makes the spans of a dataplane: one of each request, by its route,
// and below it those of what makes chunks and objects durable. It stands around the handler and the
// sink, which know nothing of it; without traces nobody puts it there.
//
// What may not enter: when and where spans are sent, which is package telemetry's.
package trace
