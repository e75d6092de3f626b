package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Outcome is what became of a chunk that a client sent.
type Outcome string

// The outcomes of a chunk.
const (
	Stored         Outcome = "stored"
	Held           Outcome = "held"
	Forwarded      Outcome = "forwarded"
	Conflict       Outcome = "conflict"
	DigestMismatch Outcome = "digest_mismatch"
	Superseded     Outcome = "superseded"
	Interrupted    Outcome = "interrupted"
	Busy           Outcome = "busy"
	NotReady       Outcome = "not_ready"
	Ended          Outcome = "ended"
	VolumeFull     Outcome = "volume_full"
	Denied         Outcome = "denied"
	Refused        Outcome = "refused"
	Failed         Outcome = "failed"
)

var outcomes = []Outcome{
	Stored, Held, Forwarded, Conflict, DigestMismatch, Superseded, Interrupted, Busy, NotReady, Ended, VolumeFull, Denied, Refused, Failed,
}

// Chunks is the metrics of chunks on their way in.
type Chunks struct {
	outcomes    map[Outcome]prometheus.Counter
	received    prometheus.Counter
	storedBytes prometheus.Counter
	slots       slots
}

func newChunks(registry prometheus.Registerer) *Chunks {
	auto := promauto.With(registry)
	total := auto.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "chunks_total",
		Help: "Chunks that clients sent, by what became of them: stored, held (the same bytes were held already), forwarded (to the replica that holds the session, which counts it too), conflict (other bytes were), " +
			"digest_mismatch, superseded, interrupted, busy, not_ready, ended, volume_full, denied, refused (another error of the client) and failed.",
	}, []string{"outcome"})
	m := &Chunks{
		outcomes: map[Outcome]prometheus.Counter{},
		received: auto.NewCounter(prometheus.CounterOpts{
			Name: prefix + "received_bytes_total",
			Help: "Bytes of chunks that arrived, whatever became of them.",
		}),
		storedBytes: auto.NewCounter(prometheus.CounterOpts{
			Name: prefix + "stored_bytes_total",
			Help: "Bytes of chunks that were stored durably and are new.",
		}),
	}
	for _, o := range outcomes {
		m.outcomes[o] = total.WithLabelValues(string(o))
	}
	register(registry, &m.slots)
	return m
}

// Received is told of bytes as they arrive.
func (m *Chunks) Received(bytes int) { m.received.Add(float64(bytes)) }

// Done is told of the end of a chunk of so many bytes.
func (m *Chunks) Done(o Outcome, bytes int64) {
	m.outcomes[o].Inc()
	if o == Stored {
		m.storedBytes.Add(float64(bytes))
	}
}

// Occupancy is how the slots for chunks are taken.
type Occupancy struct {
	// Taken slots are of Limit, and Waiting chunks wait for one, of WaitingLimit that may.
	Taken, Limit, Waiting, WaitingLimit int
}

// Watch has each scrape ask how the slots are taken.
func (m *Chunks) Watch(ask func() Occupancy) { m.slots.ask.Store(&ask) }

// slots collects the occupancy.
type slots struct {
	ask atomic.Pointer[func() Occupancy]
}

var (
	slotsTaken = prometheus.NewDesc(prefix+"chunks_in_flight",
		"Chunks that are being received now.", nil, nil)
	slotsLimit = prometheus.NewDesc(prefix+"chunks_in_flight_limit",
		"Chunks that can be received at once.", nil, nil)
	slotsWaiting = prometheus.NewDesc(prefix+"chunks_waiting",
		"Chunks that wait for their turn to be received.", nil, nil)
	slotsWaitingLimit = prometheus.NewDesc(prefix+"chunks_waiting_limit",
		"Chunks that can wait for their turn at once; more are refused.", nil, nil)
)

// Describe is for prometheus.Collector.
func (*slots) Describe(to chan<- *prometheus.Desc) {
	to <- slotsTaken
	to <- slotsLimit
	to <- slotsWaiting
	to <- slotsWaitingLimit
}

// Collect is for prometheus.Collector.
func (s *slots) Collect(to chan<- prometheus.Metric) {
	ask := s.ask.Load()
	if ask == nil {
		return
	}
	o := (*ask)()
	gauge(to, slotsTaken, o.Taken)
	gauge(to, slotsLimit, o.Limit)
	gauge(to, slotsWaiting, o.Waiting)
	gauge(to, slotsWaitingLimit, o.WaitingLimit)
}

func gauge[N int | int64](to chan<- prometheus.Metric, desc *prometheus.Desc, value N, labels ...string) {
	to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
}
