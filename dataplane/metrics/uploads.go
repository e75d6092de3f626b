package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Uploads is the metrics of the uploads that a dataplane holds.
type Uploads struct {
	ended     *prometheus.CounterVec
	published prometheus.Counter
	recovery  prometheus.Gauge
	recovered prometheus.Gauge
	census    census
}

// NewUploads makes the metrics of uploads; with a nil registry nobody sees them.
func NewUploads(registry prometheus.Registerer) *Uploads {
	auto := promauto.With(registry)
	m := &Uploads{
		ended: auto.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "uploads_ended_total",
			Help: "Uploads that ended here, by the reason of their result, such as Published, IdleTimeout or DigestMismatch.",
		}, []string{"reason"}),
		published: auto.NewCounter(prometheus.CounterOpts{
			Name: prefix + "published_bytes_total",
			Help: "Bytes of the objects that were published.",
		}),
		recovery: auto.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "recovery_duration_seconds",
			Help: "How long the process took to take up what its volume held when it started; 0 until it has.",
		}),
		recovered: auto.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "recovered_sessions",
			Help: "Sessions that the process took up from its volume when it started, those that had ended among them.",
		}),
	}
	register(registry, &m.census)
	return m
}

// Ended is told of the end of an upload; bytes are those of its object, 0 where none was published.
func (m *Uploads) Ended(reason string, bytes int64) {
	m.ended.WithLabelValues(reason).Inc()
	m.published.Add(float64(bytes))
}

// Recovered is told how long it took to take up so many sessions.
func (m *Uploads) Recovered(sessions int, took time.Duration) {
	m.recovered.Set(float64(sessions))
	m.recovery.Set(took.Seconds())
}

// Census is how many sessions a dataplane holds.
type Census struct {
	// Open sessions take chunks, Sealed ones are being completed, and Ended ones are kept until
	// their UploadSession is gone.
	Open, Sealed, Ended int
	// HeldBytes are those of chunks that were acknowledged, of sessions that have not ended.
	HeldBytes int64
}

// Watch has each scrape ask how many sessions there are.
func (m *Uploads) Watch(ask func() Census) { m.census.ask.Store(&ask) }

// census collects the Census.
type census struct{ ask atomic.Pointer[func() Census] }

var (
	censusSessions = prometheus.NewDesc(prefix+"sessions",
		"Sessions on the volume, by state: open, sealed (being verified and published) and ended (kept until the UploadSession is gone).",
		[]string{"state"}, nil)
	censusBytes = prometheus.NewDesc(prefix+"held_bytes",
		"Bytes of acknowledged chunks of sessions that have not ended.", nil, nil)
)

// Describe is for prometheus.Collector.
func (*census) Describe(to chan<- *prometheus.Desc) {
	to <- censusSessions
	to <- censusBytes
}

// Collect is for prometheus.Collector.
func (c *census) Collect(to chan<- prometheus.Metric) {
	ask := c.ask.Load()
	if ask == nil {
		return
	}
	n := (*ask)()
	gauge(to, censusSessions, n.Open, "open")
	gauge(to, censusSessions, n.Sealed, "sealed")
	gauge(to, censusSessions, n.Ended, "ended")
	gauge(to, censusBytes, n.HeldBytes)
}
