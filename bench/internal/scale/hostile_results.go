package scale

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/machine"
)

// HostileResults is what one namespace did to the operator, and to another.
type HostileResults struct {
	Began       time.Time       `json:"began"`
	Command     string          `json:"command"`
	Version     string          `json:"version"`
	Machine     machine.Machine `json:"machine"`
	Options     HostileOptions  `json:"options"`
	LoadAverage float64         `json:"loadAverage"`
	// LimitBytes is the operator's memory limit as it ships.
	LimitBytes int64 `json:"limitBytes"`
	// Stages are in the order in which they came.
	Stages     []Stage  `json:"stages"`
	Violations []string `json:"violations"`
}

// Stage is one part of the run.
type Stage struct {
	Title   string  `json:"title"`
	Seconds float64 `json:"seconds"`
	// AdmissionSeconds are from the creation of a session of the neighbour until it was seen to be admitted.
	AdmissionSeconds []float64 `json:"admissionSeconds"`
	// PeakBytes is the operator's resident memory at most, LiveBytes what was reachable of its heap at the end; 0
	// where it did not rest then.
	PeakBytes int64 `json:"peakBytes"`
	LiveBytes int64 `json:"liveBytes"`
}

func (s Stage) String() string {
	return fmt.Sprintf("%.1fs, %d admissions of the neighbour in the median %s and at most %s, operator %.0f MiB at most, %.0f MiB live",
		s.Seconds, len(s.AdmissionSeconds), milliseconds(quantile(s.AdmissionSeconds, 0.5)), milliseconds(quantile(s.AdmissionSeconds, 1)),
		mib(s.PeakBytes), mib(s.LiveBytes))
}

// of is the stage with a title; an empty one where there is none.
func (r *HostileResults) of(title string) Stage {
	for _, s := range r.Stages {
		if s.Title == title {
			return s
		}
	}
	return Stage{}
}

// BytesPerSession is what lives in the operator's heap for each hostile session that waits.
func (r *HostileResults) BytesPerSession() float64 {
	return float64(r.of("all wait").LiveBytes-r.of("nobody else is there").LiveBytes) / float64(r.Options.Sessions)
}

// PeakBytes is the most memory that the operator had.
func (r *HostileResults) PeakBytes() (most int64) {
	for _, s := range r.Stages {
		most = max(most, s.PeakBytes)
	}
	return most
}

// Slower is how many times as long as alone the neighbour's admissions take in the median while all hostile sessions wait.
func (r *HostileResults) Slower() float64 {
	return quantile(r.of("all wait").AdmissionSeconds, 0.5) / quantile(r.of("nobody else is there").AdmissionSeconds, 0.5)
}

// Figure is one line for scripts.
func (r *HostileResults) Figure() string {
	return fmt.Sprintf("hostile: sessions=%d operator_limit_mib=%.0f operator_peak_mib=%.0f bytes_per_session=%.0f neighbour_slower=%.2f violations=%d",
		r.Options.Sessions, mib(r.LimitBytes), mib(r.PeakBytes()), r.BytesPerSession(), r.Slower(), len(r.Violations))
}

// Save writes the raw file.
func (r *HostileResults) Save(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
