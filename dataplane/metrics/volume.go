package metrics

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Volume is the metrics of what is made durable.
type Volume struct {
	create, commit, save, publish, free, remove, withdraw operation

	unreadable prometheus.Gauge
}

// operation is the metrics of one kind of work on the volume, resolved.
type operation struct {
	duration      prometheus.Observer
	noSpace, lost prometheus.Counter
}

// NewVolume makes the metrics of the volume; with a nil registry nobody sees them.
func NewVolume(registry prometheus.Registerer) *Volume {
	auto := promauto.With(registry)
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name: prefix + "volume_sync_duration_seconds",
		Help: "How long it took until work on the volume was durable, by operation: create, commit (a chunk), save_record, publish, free, remove and withdraw.",
		// From a cached SSD to a network volume that hangs.
		Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
	}, []string{"operation"})
	failures := auto.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "volume_errors_total",
		Help: "Work on the volume that failed, by operation and reason: no_space or io.",
	}, []string{"operation", "reason"})
	of := func(name string) operation {
		return operation{
			duration: duration.WithLabelValues(name),
			noSpace:  failures.WithLabelValues(name, "no_space"), lost: failures.WithLabelValues(name, "io"),
		}
	}
	return &Volume{
		create: of("create"), commit: of("commit"), save: of("save_record"), publish: of("publish"),
		free: of("free"), remove: of("remove"), withdraw: of("withdraw"),
		unreadable: auto.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "unreadable_sessions",
			Help: "Sessions on the volume that could not be read when the process started, and were left as they are.",
		}),
	}
}

// told are errors by which a volume that is well says what it was asked.
var told = []error{
	session.ErrNotFound, session.ErrExists, session.ErrUnusableName, session.ErrInvalid, session.ErrUnsupported,
	context.Canceled, context.DeadlineExceeded,
}

// since is told how work that began at that time ended, and returns err.
func (o *operation) since(began time.Time, err error) error {
	o.duration.Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
	case errors.Is(err, session.ErrNoSpace):
		o.noSpace.Inc()
	case !isTold(err):
		o.lost.Inc()
	}
	return err
}

func isTold(err error) bool {
	for _, t := range told {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// Sink is a sink that can publish.
type Sink interface {
	session.ByteSink
	session.Publisher
}

// Measure returns the sink, measured. It promises what the sink does.
func (m *Volume) Measure(s Sink) Sink { return &measuredSink{Sink: s, volume: m} }

// measuredSink measures what makes something durable; all else goes straight through.
type measuredSink struct {
	Sink
	volume *Volume
}

// Create measures until the session's directory is durable.
func (s *measuredSink) Create(ctx context.Context, r session.Record) error {
	return s.volume.create.since(time.Now(), s.Sink.Create(ctx, r))
}

// SaveRecord measures until the record is durable.
func (s *measuredSink) SaveRecord(ctx context.Context, r session.Record) error {
	return s.volume.save.since(time.Now(), s.Sink.SaveRecord(ctx, r))
}

// Free measures until the staged bytes are freed.
func (s *measuredSink) Free(ctx context.Context, id session.ID) error {
	return s.volume.free.since(time.Now(), s.Sink.Free(ctx, id))
}

// Remove measures until nothing of the session is left.
func (s *measuredSink) Remove(ctx context.Context, id session.ID) error {
	return s.volume.remove.since(time.Now(), s.Sink.Remove(ctx, id))
}

// Publish measures until the object is visible, durably.
func (s *measuredSink) Publish(ctx context.Context, id session.ID, name string, replace bool, attributes map[string]string) error {
	return s.volume.publish.since(time.Now(), s.Sink.Publish(ctx, id, name, replace, attributes))
}

// Withdraw measures until the object is gone, durably.
func (s *measuredSink) Withdraw(ctx context.Context, name, identity string) (bool, error) {
	began := time.Now()
	did, err := s.Sink.Withdraw(ctx, name, identity)
	return did, s.volume.withdraw.since(began, err)
}

// Open returns a session's bytes, whose commits are measured.
func (s *measuredSink) Open(ctx context.Context, id session.ID) (session.Staged, error) {
	staged, err := s.Sink.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	return &measuredStaged{Staged: staged, commit: &s.volume.commit}, nil
}

// Recover counts the sessions that can't be read.
func (s *measuredSink) Recover(ctx context.Context) iter.Seq2[session.Recovered, error] {
	return func(yield func(session.Recovered, error) bool) {
		for r, err := range s.Sink.Recover(ctx) {
			if err != nil && r.ID != "" {
				s.volume.unreadable.Inc()
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// measuredStaged measures the commits of chunks.
type measuredStaged struct {
	session.Staged
	commit *operation
}

// Commit measures until the chunk and its slot are durable.
func (s *measuredStaged) Commit(ctx context.Context, index int, offset int64, slot session.Slot) error {
	return s.commit.since(time.Now(), s.Staged.Commit(ctx, index, offset, slot))
}
