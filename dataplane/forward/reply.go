package forward

import (
	"maps"
	"net/http"
)

// finalReply is the owner's reply without the informational ones before it: 100
// Continue is between the two replicas, and net/http sends the client its own.
type finalReply struct {
	to     http.ResponseWriter
	header http.Header
}

// Header is what the owner sends.
func (w *finalReply) Header() http.Header { return w.header }

// WriteHeader sends a final status, with what the owner sends besides the fields that are there already.
func (w *finalReply) WriteHeader(status int) {
	if status < http.StatusOK {
		return
	}
	h := w.to.Header()
	maps.DeleteFunc(w.header, func(field string, _ []string) bool { return h[field] != nil })
	maps.Copy(h, w.header)
	w.to.WriteHeader(status)
}

// Write writes.
func (w *finalReply) Write(p []byte) (int, error) { return w.to.Write(p) }

// Unwrap is for http.ResponseController.
func (w *finalReply) Unwrap() http.ResponseWriter { return w.to }
