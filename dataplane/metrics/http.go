package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// HTTP is the metrics of the chunk protocol.
type HTTP struct {
	Chunks *Chunks

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	denied   *prometheus.CounterVec
	tickets  prometheus.Counter
}

// Denial is why a request was denied.
type Denial string

// The denials.
const (
	Unauthenticated Denial = "unauthenticated"
	Forbidden       Denial = "forbidden"
)

// NewHTTP makes the metrics of the chunk protocol; with a nil registry nobody sees them.
func NewHTTP(registry prometheus.Registerer) *HTTP {
	auto := promauto.With(registry)
	m := &HTTP{
		Chunks: newChunks(registry),
		requests: auto.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total",
			Help: "Requests that were answered, by route, method and class of the status. A route is the last fixed part of the path.",
		}, []string{"route", "method", "code"}),
		duration: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:    prefix + "request_duration_seconds",
			Help:    "How long requests took from their header to the end of the answer, by route and method. It has the client's own pace in it.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"route", "method"}),
		inFlight: auto.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "requests_in_flight",
			Help: "Requests that are being served now, those that wait among them.",
		}),
		denied: auto.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "denied_requests_total",
			Help: "Requests that were denied, by reason: unauthenticated (no valid credentials) or forbidden (the caller may not).",
		}, []string{"reason"}),
		tickets: auto.NewCounter(prometheus.CounterOpts{
			Name: prefix + "tickets_minted_total",
			Help: "Tickets that were made.",
		}),
	}
	for _, d := range []Denial{Unauthenticated, Forbidden} {
		m.denied.WithLabelValues(string(d))
	}
	return m
}

// Began is told of a request. Route.Done ends it.
func (m *HTTP) Began() { m.inFlight.Inc() }

// Denied is told of a request that was denied.
func (m *HTTP) Denied(why Denial) { m.denied.WithLabelValues(string(why)).Inc() }

// TicketMinted is told of a ticket that was made.
func (m *HTTP) TicketMinted() { m.tickets.Inc() }

// Route is the metrics of one route, resolved.
type Route struct {
	http    *HTTP
	methods map[string]series
	others  series // of methods that the route does not have
}

// series is those of one route and method.
type series struct {
	duration prometheus.Observer
	classes  [len(classes)]prometheus.Counter
}

// classes are those of statuses, by their first digit.
var classes = [...]string{2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

// Route resolves the metrics of a route that has these methods. All other methods are one.
func (m *HTTP) Route(route string, methods ...string) *Route {
	r := &Route{http: m, methods: map[string]series{}, others: m.series(route, "other")}
	for _, method := range methods {
		r.methods[method] = m.series(route, method)
	}
	return r
}

func (m *HTTP) series(route, method string) series {
	s := series{duration: m.duration.WithLabelValues(route, method)}
	for digit, class := range classes {
		if class != "" {
			s.classes[digit] = m.requests.WithLabelValues(route, method, class)
		}
	}
	return s
}

// Done is told of the end of a request. A status of no known class, or none at
// all, is a failure of the server.
func (r *Route) Done(method string, status int, took time.Duration) {
	r.http.inFlight.Dec()
	s, ok := r.methods[method]
	if !ok {
		s = r.others
	}
	class := status / 100
	if class >= len(classes) || classes[class] == "" {
		class = http.StatusInternalServerError / 100
	}
	s.classes[class].Inc()
	s.duration.Observe(took.Seconds())
}
