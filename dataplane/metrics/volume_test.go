package metrics_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/sink/sinktest"
)

// failing is a sink whose Free fails.
type failing struct {
	metrics.Sink
	err error
}

func (f failing) Free(context.Context, session.ID) error { return f.err }

func counts(t *testing.T, registry *prometheus.Registry) (synced map[string]uint64, failures map[string]float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	synced, failures = map[string]uint64{}, map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				key += l.GetValue() + " "
			}
			switch family.GetName() {
			case "slipway_dataplane_volume_sync_duration_seconds":
				if n := m.GetHistogram().GetSampleCount(); n > 0 {
					synced[key] = n
				}
			case "slipway_dataplane_volume_errors_total":
				if v := m.GetCounter().GetValue(); v > 0 {
					failures[key] = v
				}
			}
		}
	}
	return synced, failures
}

func TestFailuresOfTheVolumeAreCounted(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a disk that fails":        {errors.New("input/output error"), "free io "},
		"a disk that is full":      {session.ErrNoSpace, "free no_space "},
		"a session that is gone":   {session.ErrNotFound, ""},
		"a caller who went away":   {context.Canceled, ""},
		"a disk that does its job": {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			sink := metrics.NewVolume(registry).Measure(failing{err: c.err})
			if err := sink.Free(t.Context(), "a"); !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v", err, c.err)
			}
			synced, failures := counts(t, registry)
			if synced["free "] != 1 || len(failures) != min(1, len(c.want)) || c.want != "" && failures[c.want] != 1 {
				t.Errorf("got %v and %v", synced, failures)
			}
		})
	}
}

// A sink that is measured keeps the promises of one that is not.
func TestAMeasuredSinkIsASink(t *testing.T) {
	sinktest.Run(t, func(dir string) (sinktest.Volume, error) {
		sink, err := file.Open(dir, file.Options{Replica: "models-0"})
		if err != nil {
			return sinktest.Volume{}, err
		}
		staging := func(id session.ID, name string) string {
			return filepath.Join(dir, session.ReservedElement, "models-0.replica", string(id), name)
		}
		return sinktest.Volume{
			Sink: metrics.NewVolume(nil).Measure(sink), Close: sink.Close, Crash: sink.Close,
			EditSlot: func(id session.ID, index int, edit func(slot []byte)) error {
				stored, err := os.ReadFile(staging(id, "ledger"))
				if err != nil {
					return err
				}
				edit(stored[index*session.SlotSize : (index+1)*session.SlotSize])
				return os.WriteFile(staging(id, "ledger"), stored, 0o600)
			},
			DamageRecord: func(id session.ID) error { return os.Truncate(staging(id, "record"), 40) },
		}, nil
	})
}
