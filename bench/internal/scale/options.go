package scale

import (
	"errors"
	"time"
)

// Options say how large the load is. Default fills them in.
type Options struct {
	// Sessions is how many UploadSessions there are at once.
	Sessions int `json:"sessions"`
	// Chunks and ChunkBytes are the shape of each object.
	Chunks     int   `json:"chunks"`
	ChunkBytes int64 `json:"chunkBytes"`
	// Steady is how long chunks trickle in while every session is active, and ChunksPerSecond how
	// many at most, of all sessions together.
	Steady          time.Duration `json:"steady"`
	ChunksPerSecond float64       `json:"chunksPerSecond"`
	// Finishing is how many sessions are completed meanwhile.
	Finishing int `json:"finishing"`
	// ProgressWritesPerSecond is the dataplane's budget.
	ProgressWritesPerSecond float64 `json:"progressWritesPerSecond"`
	// Queued is how many sessions a second load has, which an UploadQuota lets start in so many
	// Steps; 0 leaves that load out.
	Queued int `json:"queued"`
	Steps  int `json:"steps"`
	// CreatesPerSecond and Connections bound the client.
	CreatesPerSecond float64 `json:"createsPerSecond"`
	Connections      int     `json:"connections"`
}

// Default is the load that counts.
func Default() Options {
	return Options{
		Sessions: 10_000, Chunks: 16, ChunkBytes: 4 << 10,
		Steady: 90 * time.Second, ChunksPerSecond: 300, Finishing: 200, ProgressWritesPerSecond: 20,
		Queued: 10_000, Steps: 4, CreatesPerSecond: 1000, Connections: 32,
	}
}

// Check says what can't be measured.
func (o Options) Check() error {
	var errs []error
	for name, ok := range map[string]bool{
		"-sessions must be at least 10":                         o.Sessions >= 10,
		"-chunks must be from 4 to 1000":                        o.Chunks >= 4 && o.Chunks <= 1000,
		"-chunk-bytes must be from 1 to 1 MiB":                  o.ChunkBytes >= 1 && o.ChunkBytes <= 1<<20,
		"-steady must be at least 2s":                           o.Steady >= 2*time.Second,
		"-finishing must be from 1 to a fifth of -sessions":     o.Finishing >= 1 && o.Finishing <= o.Sessions/5,
		"-queued must not be negative":                          o.Queued >= 0,
		"-steps must be from 1 to -queued":                      o.Queued == 0 || o.Steps >= 1 && o.Steps <= o.Queued,
		"-chunks-per-second and -creates-per-second must be >0": o.ChunksPerSecond > 0 && o.CreatesPerSecond > 0,
		"-progress-writes-per-second must be >0":                o.ProgressWritesPerSecond > 0,
		"-connections must be from 1 to 1000":                   o.Connections >= 1 && o.Connections <= 1000,
	} {
		if !ok {
			errs = append(errs, errors.New(name))
		}
	}
	return errors.Join(errs...)
}

// objectBytes is the size of each object.
func (o Options) objectBytes() int64 { return int64(o.Chunks) * o.ChunkBytes }
