package scale

import (
	"strings"
	"testing"
)

func TestTheDefaultCanBeMeasured(t *testing.T) {
	if err := Default().Check(); err != nil {
		t.Error(err)
	}
}

func TestWhatCantBeMeasuredIsRefused(t *testing.T) {
	for says, spoil := range map[string]func(*Options){
		"-sessions":                   func(o *Options) { o.Sessions = 9 },
		"-chunks must":                func(o *Options) { o.Chunks = 3 },
		"-chunk-bytes":                func(o *Options) { o.ChunkBytes = 0 },
		"-steady":                     func(o *Options) { o.Steady = 0 },
		"-finishing":                  func(o *Options) { o.Finishing = 0 },
		"-queued":                     func(o *Options) { o.Queued = -1 },
		"-steps":                      func(o *Options) { o.Steps = 0 },
		"-chunks-per-second":          func(o *Options) { o.ChunksPerSecond = 0 },
		"-creates-per-second":         func(o *Options) { o.CreatesPerSecond = 0 },
		"-progress-writes-per-second": func(o *Options) { o.ProgressWritesPerSecond = 0 },
		"-connections":                func(o *Options) { o.Connections = 0 },
	} {
		o := Default()
		spoil(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v", says, err)
		}
	}
}
