package chunkapi

import (
	"cmp"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/fair"
	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Config is what New makes a handler of.
type Config struct {
	// Uploads is what the protocol speaks to.
	Uploads *upload.Service
	// MaxConcurrentChunks bounds the chunks that are received at once, and with them the memory
	// that chunks take; 0 is DefaultMaxConcurrentChunks. For each of them WaitersPerChunk more
	// requests may wait for their turn.
	MaxConcurrentChunks int
	// MaxConcurrentChunksPerSession bounds those of one session in the same way; 0 is
	// DefaultShare of MaxConcurrentChunks, and it is never more than that.
	MaxConcurrentChunksPerSession int
	// ChunkWait is how long a chunk waits for its turn, at most half of IdleTimeout; 0 is
	// DefaultChunkWait.
	ChunkWait time.Duration
	// TakeOverAfter is for chunks that wait for their turn what session.Config.TakeOverAfter is for
	// those that have it: a chunk that is being received and has had no byte for so long ends when
	// another request for it waits; 0 is session.DefaultTakeOverAfter.
	TakeOverAfter time.Duration
	// Stopping is closed when the server is about to stop: chunks that wait for their turn are
	// refused from then on, and those who wait for an admission get their answer. With nil they wait as ever.
	Stopping <-chan struct{}
	// IdleTimeout is how long a client may neither send nor take a byte while it should; 0 is
	// DefaultIdleTimeout.
	IdleTimeout time.Duration
	// CompleteWait is how long a request to complete or to abort waits for the verification that
	// is going on; 0 is DefaultCompleteWait.
	CompleteWait time.Duration
	// Creator creates sessions for clients; with nil the protocol has no such call.
	Creator upload.Creator
	// CreateWait is how long a request to create waits for the session's admission; 0 is
	// DefaultCreateWait.
	CreateWait time.Duration
	// Store is whose objects are served by their keys; with the zero Name the protocol has no such calls.
	Store upload.Name
	// Gate says who calls, which becomes the owner of the sessions that they create, and what
	// they may do; nil is auth.Open.
	Gate auth.Gate
	// Forwarder has other replicas answer requests about what they hold; with nil their clients are
	// told where to go.
	Forwarder Forwarder
	// MaxForwarded bounds the requests that are sent on at once; 0 is DefaultMaxForwarded.
	MaxForwarded int
	// MaxReaders bounds the requests that read content at once; 0 is DefaultMaxReaders.
	MaxReaders int
	// Pace says who is too slow to keep a slot that others want: of the chunks that are received, of the requests
	// that are sent on, and of those that read content. The zero value is fair.DefaultRule.
	Pace fair.Rule
	// Tickets makes tickets, which Gate must know; with nil the protocol has no such call.
	Tickets Minter
	// Entrance decides which connections stay where there are too many; with nil all do.
	Entrance Entrance
	// Endpoint is the base URL under which clients reach this replica, for links; without one
	// there are none.
	Endpoint string
	// Log is told what clients are not; nil is slog.Default.
	Log *slog.Logger
	// Metrics is told of every request; nil where nobody wants to know.
	Metrics *metrics.HTTP
}

// Defaults of Config.
const (
	DefaultMaxConcurrentChunks = 64
	DefaultChunkWait           = 10 * time.Second
	DefaultIdleTimeout         = time.Minute
	DefaultCompleteWait        = 10 * time.Second
	DefaultCreateWait          = 10 * time.Second
)

const (
	basePath        = "/v1/namespaces/{namespace}/uploadsessions/{name}"
	requestIDHeader = "X-Request-Id"
	// maxSlotWait bounds how long a request waits for a slot that is not one of a chunk.
	maxSlotWait  = 2 * time.Second
	maxRequestID = 128
)

type api struct {
	uploads       *upload.Service
	turns         *turns
	receiving     *receiving
	senders       *fair.Crowd // who has a slot of turns
	readers       *fair.Slots // one for each request that reads content
	listing       *fair.Slots // one for each request that lists objects
	chunkWait     time.Duration
	takeOverAfter time.Duration
	stopping      <-chan struct{}
	idle          time.Duration
	completeWait  time.Duration
	creator       upload.Creator
	createWait    time.Duration
	creating      *fair.Slots // one for each request to create
	forwarder     Forwarder
	forwarding    *fair.Slots // one for each request that is being sent on
	store         upload.Name
	gate          auth.Gate
	tickets       Minter
	entrance      Entrance
	lingering     *lingering
	endpoint      string
	log           *slog.Logger
	metrics       *metrics.HTTP
	routes        map[string]watched // by pattern
	others        watched
	mux           *http.ServeMux
}

// endpoint serves one call. It returns an error only where it wrote nothing.
type endpoint func(w http.ResponseWriter, r *http.Request, name upload.Name) error

// New returns the handler of the protocol. It answers every path: one that is
// not of the protocol gets a problem too.
func New(c Config) http.Handler {
	idle := cmp.Or(c.IdleTimeout, DefaultIdleTimeout)
	rule := cmp.Or(c.Pace, fair.DefaultRule())
	slotWait := min(maxSlotWait, idle/4)
	a := &api{
		uploads:       c.Uploads,
		turns:         newTurns(boundsOf(c)),
		chunkWait:     min(cmp.Or(c.ChunkWait, DefaultChunkWait), idle/2),
		receiving:     newReceiving(),
		takeOverAfter: cmp.Or(c.TakeOverAfter, session.DefaultTakeOverAfter),
		stopping:      c.Stopping,
		idle:          idle,
		completeWait:  cmp.Or(c.CompleteWait, DefaultCompleteWait),
		creator:       c.Creator,
		createWait:    cmp.Or(c.CreateWait, DefaultCreateWait),
		creating:      fair.NewSlots(maxConcurrentCreates, slotWait, rule),
		forwarder:     c.Forwarder,
		forwarding:    fair.NewSlots(cmp.Or(c.MaxForwarded, DefaultMaxForwarded), slotWait, rule),
		readers:       fair.NewSlots(cmp.Or(c.MaxReaders, DefaultMaxReaders), slotWait, rule),
		listing:       fair.NewSlots(maxListings, slotWait, rule),
		senders:       fair.NewCrowd(rule, nil),
		store:         c.Store,
		gate:          c.Gate,
		tickets:       c.Tickets,
		entrance:      c.Entrance,
		lingering:     &lingering{most: maxLingering},
		endpoint:      c.Endpoint,
		log:           cmp.Or(c.Log, slog.Default()),
		metrics:       c.Metrics,
		routes:        map[string]watched{},
		mux:           http.NewServeMux(),
	}
	if a.metrics == nil {
		a.metrics = metrics.NewHTTP(nil)
	}
	a.metrics.Chunks.Watch(a.turns.occupancy)
	a.others.Route = a.metrics.Route(otherRoute)
	if a.gate == nil {
		a.gate = auth.Open{}
	}
	if a.entrance == nil {
		a.entrance = openEntrance{}
	}
	if a.creator != nil {
		a.route(collectionPath, namespaceOf, map[string]call{http.MethodPost: {auth.Create, auth.Whole, a.create, nil}})
	}
	// ServeMux lets HEAD in wherever GET is.
	a.route(basePath, nameOf, map[string]call{
		http.MethodGet:    {auth.Get, auth.Content, a.getStatus, nil},
		http.MethodDelete: {auth.Delete, auth.Content, a.abort, nil},
	})
	a.route(basePath+"/chunks/{index}", nameOf, map[string]call{http.MethodPut: {auth.Update, auth.Content, a.putChunk, nil}})
	a.route(basePath+"/complete", nameOf, map[string]call{http.MethodPost: {auth.Update, auth.Content, a.complete, nil}})
	a.route(basePath+"/content", nameOf, map[string]call{http.MethodGet: {auth.Get, auth.Content, a.getContent, nil}})
	if a.tickets != nil {
		a.route(basePath+"/tickets", nameOf, map[string]call{
			http.MethodPost: {auth.Create, auth.Tickets, a.makeTicket, a.checkTicketRequest},
		})
	}
	if a.store != (upload.Name{}) {
		a.routeObjects()
	}
	a.mux.HandleFunc("/", a.unknownPath)
	return a
}

// route registers the methods of one path of sessions. The
// upload that a request is about is read from its path by named.
func (a *api) route(pattern string, named func(*http.Request) (upload.Name, error), methods map[string]call) {
	a.routeTo(pattern, methods, func(w http.ResponseWriter, r *http.Request, c call) error {
		name, err := named(r)
		if err == nil {
			err = a.authorize(r, c, name)
		}
		if err == nil {
			if r.Method == http.MethodPost && r.Body != http.NoBody && a.forwarder != nil {
				r.Body = &seenBody{ReadCloser: r.Body}
			}
			err = a.admit(w, r, name, c)
		}
		if errors.Is(err, upload.ErrElsewhere) {
			if err = a.forward(w, r, name, err); err == nil {
				note(w, metrics.Forwarded) // what became of it the owner counts
			}
		}
		return err
	})
}

// routeTo registers the methods of one path, and what any other method gets.
func (a *api) routeTo(pattern string, methods map[string]call, serve func(http.ResponseWriter, *http.Request, call) error) {
	for method, c := range methods {
		a.mux.HandleFunc(method+" "+pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r, c); err != nil {
				a.fail(w, r, err)
			}
		})
	}
	allowed := slices.Sorted(maps.Keys(methods))
	if methods[http.MethodGet].serve != nil {
		allowed = append(allowed, http.MethodHead)
	}
	a.watch(pattern, allowed)
	allow := strings.Join(allowed, ", ")
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		a.fail(w, r, refuse(CodeMethodNotAllowed, "%s is not among %s", r.Method, allow))
	})
}

func (a *api) unknownPath(w http.ResponseWriter, r *http.Request) {
	a.fail(w, r, refuse(CodeNotFound, ""))
}

// ServeHTTP serves one request. When it was answered, what is left of its body is read on for a moment.
func (a *api) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := newReply(rw, a.idle)
	w.unread = a.watchBody(w, r)
	defer w.unread.end()
	a.serve(w, r)
	w.unread.afterReply()
}

func (a *api) serve(w *reply, r *http.Request) {
	began := time.Now()
	a.metrics.Began()
	defer func() { a.observe(w, r, began) }() // the request as it is then: with its pattern
	id := r.Header.Get(requestIDHeader)
	if !saneRequestID(id) {
		id = rand.Text()
	}
	w.Header().Set(requestIDHeader, id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.tickets != nil {
		w.Header().Set("Referrer-Policy", "no-referrer") // a link may have a ticket in it
	}
	if r.ContentLength != 0 {
		_ = w.setReadDeadline(time.Now().Add(a.idle)) // see newIncomingBody
	}
	defer func() { a.note(w, r, began) }()
	defer a.recoverPanic(w, r)
	r, err := a.authenticate(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	served := sync.OnceFunc(a.entrance.LetIn(r.Context()))
	defer served()
	w.unread.ifRefused(served)
	// ServeMux would redirect a path that is not clean, with an answer that is no problem.
	if p := r.URL.EscapedPath(); !strings.HasPrefix(p, "/") || path.Clean(p) != p {
		a.unknownPath(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

func (a *api) recoverPanic(w *reply, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	a.log.ErrorContext(r.Context(), "request panicked", "panic", v, "stack", string(debug.Stack()),
		"session", sessionOf(r), "method", r.Method, "path", r.URL.Path, "requestID", w.Header().Get(requestIDHeader))
	if w.begun {
		// The client must not take what it got for the whole.
		panic(http.ErrAbortHandler)
	}
	writeProblem(w, r, kindWith(CodeInternal), "", Members{})
}

// saneRequestID reports whether a client's request ID may be logged and sent back.
func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for _, c := range []byte(id) {
		if !isAlphanumeric(c) && (c < 'A' || c > 'Z') && !strings.ContainsRune("-_.:/+=", rune(c)) {
			return false
		}
	}
	return true
}
