package scale

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/machine"
)

// Results is everything that was measured, and on what. Times are in seconds.
type Results struct {
	Began   time.Time       `json:"began"`
	Command string          `json:"command"`
	Version string          `json:"version"`
	Machine machine.Machine `json:"machine"`
	Options Options         `json:"options"`

	// LoadAverage is that of the machine before anything was started.
	LoadAverage float64 `json:"loadAverage"`

	// CreateSeconds is from the first creation to the last, AdmitSeconds from the first creation
	// until all are admitted.
	CreateSeconds float64 `json:"createSeconds"`
	AdmitSeconds  float64 `json:"admitSeconds"`

	// While all are active: all writes a second, and those of progress.
	SteadySeconds           float64 `json:"steadySeconds"`
	SteadyWritesPerSecond   float64 `json:"steadyWritesPerSecond"`
	SteadyProgressPerSecond float64 `json:"steadyProgressPerSecond"`
	SteadyChunks            int     `json:"steadyChunks"`
	// ResultSeconds are from the acknowledgement of a session's last chunk until its result was
	// seen, of sessions that ended while all others went on.
	ResultSeconds []float64 `json:"resultSeconds"`

	FinishSeconds float64 `json:"finishSeconds"`
	FinishChunks  int     `json:"finishChunks"`
	DeleteSeconds float64 `json:"deleteSeconds"`

	Writes Writes `json:"writes"`
	// Deletion is what the deletion of all wrote.
	Deletion int `json:"deletion"`
	// EtcdWrites is what the API server counts itself of sessions, until all had ended.
	EtcdWrites int `json:"etcdWrites"`

	// Reconciles are by controller, until all had ended.
	OperatorReconciles  map[string]int `json:"operatorReconciles"`
	DataplaneReconciles int            `json:"dataplaneReconciles"`

	// Usage is what the processes took until all had ended, and WallSeconds how long that was,
	// since they were started.
	WallSeconds float64 `json:"wallSeconds"`
	Usage       Usages  `json:"usage"`

	// Of the load that a quota lets start in steps.
	QueueSeconds            float64   `json:"queueSeconds,omitempty"`
	StepSeconds             []float64 `json:"stepSeconds,omitempty"`
	OperatorRestartSeconds  float64   `json:"operatorRestartSeconds,omitempty"`
	DataplaneRestartSeconds float64   `json:"dataplaneRestartSeconds,omitempty"`
	QueueDeleteSeconds      float64   `json:"queueDeleteSeconds,omitempty"`
	// QueueUsage is what the processes took until the end of that load, from their beginning.
	QueueUsage Usages `json:"queueUsage"`

	Violations []string `json:"violations"`
}

// Usages are what all processes took.
type Usages struct {
	Operator  Usage `json:"operator"`
	Dataplane Usage `json:"dataplane"`
	APIServer Usage `json:"apiserver"`
	Etcd      Usage `json:"etcd"`
	Client    Usage `json:"client"`
}

// Usage is the resident memory that a process had at most, and the CPU time
// that it took, user and system.
type Usage struct {
	PeakBytes  int64   `json:"peakBytes"`
	CPUSeconds float64 `json:"cpuSeconds"`
}

// WritesPerSession is what a session costs, without progress.
func (r *Results) WritesPerSession() float64 {
	return float64(r.Writes.Lasting()) / float64(r.Options.Sessions)
}

// ReconcilesPerSession is how often the operator looked at a session.
func (r *Results) ReconcilesPerSession() float64 {
	return float64(r.OperatorReconciles["uploadsession"]) / float64(r.Options.Sessions)
}

// Figure is one line for scripts.
func (r *Results) Figure() string {
	return fmt.Sprintf("scale: sessions=%d admit_seconds=%.1f writes_total=%d writes_per_session=%.2f steady_writes_per_second=%.1f "+
		"steady_progress_per_second=%.1f result_p50_seconds=%.3f result_p99_seconds=%.3f reconciles_per_session=%.2f "+
		"operator_rss_mib=%.0f operator_cpu_seconds=%.1f dataplane_rss_mib=%.0f dataplane_cpu_seconds=%.1f violations=%d",
		r.Options.Sessions, r.AdmitSeconds, r.Writes.Total(), r.WritesPerSession(), r.SteadyWritesPerSecond,
		r.SteadyProgressPerSecond, quantile(r.ResultSeconds, 0.5), quantile(r.ResultSeconds, 0.99), r.ReconcilesPerSession(),
		mib(r.Usage.Operator.PeakBytes), r.Usage.Operator.CPUSeconds, mib(r.Usage.Dataplane.PeakBytes), r.Usage.Dataplane.CPUSeconds, len(r.Violations))
}

// Save writes the raw file.
func (r *Results) Save(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// quantile is the least of the values that is at least as great as that part
// of them; 0 of none.
func quantile(values []float64, part float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := int(part*float64(len(sorted))+1-1e-9) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}
