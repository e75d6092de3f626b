package chunkapi

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/slipway-dev/slipway/dataplane/metrics"
)

// otherRoute is the route of requests that are of no call of the protocol.
const otherRoute = "other"

// chunksRoute is the route of chunks.
const chunksRoute = "chunks"

// routeOf names a path for the metrics: by its last fixed part.
func routeOf(pattern string) string {
	switch rest, ofSession := strings.CutPrefix(pattern, basePath); {
	case strings.HasPrefix(pattern, listPath):
		return "objects"
	case !ofSession:
		return "uploadsessions"
	case rest == "":
		return "uploadsession"
	default:
		name, _, _ := strings.Cut(rest[1:], "/")
		return name
	}
}

// watched is a route, and whether its requests are chunks.
type watched struct {
	*metrics.Route
	chunks bool
}

// watch has the requests of a path counted that have one of the methods, or another.
func (a *api) watch(pattern string, methods []string) {
	route := watched{a.metrics.Route(routeOf(pattern), methods...), routeOf(pattern) == chunksRoute}
	a.routes[pattern] = route
	for _, method := range methods {
		a.routes[method+" "+pattern] = route
	}
}

// observe counts a request that has been answered. Of one that was refused before its path
// was looked at, the path is looked at now.
func (a *api) observe(w *reply, r *http.Request, began time.Time) {
	pattern := r.Pattern
	if pattern == "" {
		_, pattern = a.mux.Handler(r)
	}
	route, ok := a.routes[pattern]
	if !ok {
		route = a.others
	}
	route.Done(r.Method, w.status, time.Since(began))
	if route.chunks && r.Method == http.MethodPut {
		a.metrics.Chunks.Done(cmp.Or(w.outcome, metrics.Failed), r.ContentLength)
	}
}

// noteChunk notes what became of a chunk that was taken.
func noteChunk(w http.ResponseWriter, added bool) {
	outcome := metrics.Held
	if added {
		outcome = metrics.Stored
	}
	note(w, outcome)
}

// noteProblem notes what became of a chunk, if the request is one, that was not taken.
func noteProblem(w http.ResponseWriter, k kind) { note(w, outcomeOf(k)) }

// note notes what became of a chunk first: one that was stored is, whatever comes after that.
func note(w http.ResponseWriter, outcome metrics.Outcome) {
	if w, ok := w.(*reply); ok {
		w.outcome = cmp.Or(w.outcome, outcome)
	}
}

// outcomeOf is what a problem means for a chunk.
func outcomeOf(k kind) metrics.Outcome {
	if k.end != "" {
		return metrics.Ended
	}
	switch k.code {
	case CodeChunkConflict:
		return metrics.Conflict
	case CodeDigestMismatch:
		return metrics.DigestMismatch
	case CodeSuperseded:
		return metrics.Superseded
	case CodeRequestTimeout, CodeIncompleteBody, CodeTooSlow:
		return metrics.Interrupted
	case CodeTooManyChunks, CodeBusy:
		return metrics.Busy
	case CodeNotAdmitted, CodeSuspended, CodeComparing, CodeCompleting, CodeUnavailable, CodeReplicaAway:
		return metrics.NotReady
	case CodeSessionEnded, CodeAlreadyEnded, CodeTicketEnded:
		return metrics.Ended
	case CodeVolumeFull:
		return metrics.VolumeFull
	case CodeUnauthenticated, CodeForbidden:
		return metrics.Denied
	}
	if k.status < http.StatusInternalServerError {
		return metrics.Refused
	}
	return metrics.Failed
}

// occupancy is how the slots are taken now.
func (t *turns) occupancy() metrics.Occupancy {
	t.mu.Lock()
	defer t.mu.Unlock()
	return metrics.Occupancy{Taken: t.taken, Limit: t.slots, Waiting: t.waiting, WaitingLimit: t.waiters}
}
