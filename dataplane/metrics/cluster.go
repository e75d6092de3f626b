package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Report is what is written of an upload to its UploadSession.
type Report string

// The reports.
const (
	Progress Report = "progress"
	Result   Report = "result"
)

// Answer is what came of an attempt to write to the API server.
type Answer string

// The answers.
const (
	Written      Answer = "written"
	OutOfDate    Answer = "conflict"
	NotAvailable Answer = "failed"
)

// Cluster is the metrics of what a dataplane tells the API server.
type Cluster struct {
	reports    *prometheus.CounterVec
	lag        *prometheus.HistogramVec
	sweeps     *prometheus.CounterVec
	swept      prometheus.Counter
	sweptBytes prometheus.Counter
	registry   prometheus.Registerer
}

// NewCluster makes the metrics of what the API server is told; with a nil registry nobody sees them.
func NewCluster(registry prometheus.Registerer) *Cluster {
	auto := promauto.With(registry)
	m := &Cluster{
		registry: registry,
		reports: auto.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "reports_total",
			Help: "Writes to the status of UploadSessions, by what they report (progress or result) and what came of them (written, conflict or failed).",
		}, []string{"kind", "outcome"}),
		lag: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "report_lag_seconds",
			Help: "How long after it was known here the API server had a result, or progress (which is written at intervals), by kind.",
			Buckets: []float64{
				0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 3600,
			},
		}, []string{"kind"}),
		sweeps: auto.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "sweeps_total",
			Help: "Looks for uploads without a session, by what came of them: complete or failed.",
		}, []string{"outcome"}),
		swept: auto.NewCounter(prometheus.CounterOpts{
			Name: prefix + "swept_sessions_total",
			Help: "Uploads without a session that were swept from the volume.",
		}),
		sweptBytes: auto.NewCounter(prometheus.CounterOpts{
			Name: prefix + "swept_bytes_total",
			Help: "Staged bytes that uploads without a session held when they were swept.",
		}),
	}
	for _, kind := range []Report{Progress, Result} {
		m.lag.WithLabelValues(string(kind))
		for _, answer := range []Answer{Written, OutOfDate, NotAvailable} {
			m.reports.WithLabelValues(string(kind), string(answer))
		}
	}
	for _, outcome := range []string{"complete", "failed"} {
		m.sweeps.WithLabelValues(outcome)
	}
	return m
}

// Reported is told of an attempt to write a report, and how long ago what it tells
// became known; the zero time where that is not known.
func (m *Cluster) Reported(kind Report, answer Answer, known, now time.Time) {
	m.reports.WithLabelValues(string(kind), string(answer)).Inc()
	if answer == Written && !known.IsZero() {
		m.lag.WithLabelValues(string(kind)).Observe(max(0, now.Sub(known)).Seconds())
	}
}

// WatchPending has each scrape ask for how long the oldest of what is not reported yet is known.
func (m *Cluster) WatchPending(oldest func() time.Duration) {
	register(m.registry, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: prefix + "report_pending_seconds",
		Help: "For how long the oldest result or progress is known here that the API server does not have yet.",
	}, func() float64 { return oldest().Seconds() }))
}

// Swept is told of an upload that was swept, with the staged bytes that it held.
func (m *Cluster) Swept(bytes int64) {
	m.swept.Inc()
	m.sweptBytes.Add(float64(bytes))
}

// Sweep is told of a look at the whole volume.
func (m *Cluster) Sweep(err error) {
	outcome := "complete"
	if err != nil {
		outcome = "failed"
	}
	m.sweeps.WithLabelValues(outcome).Inc()
}
