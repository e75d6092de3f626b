package agent

import (
	"context"
	"flag"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/uploader"
)

// Upload is the report of an upload.
type Upload struct {
	// State and Digest are the dataplane's.
	State  chunkapi.State `json:"state"`
	Digest string         `json:"digest"`
	// Sent is how many chunks were acknowledged to this agent.
	Sent int `json:"sent"`
	// Again is how many requests were sent again, by why.
	Again map[string]int `json:"again,omitempty"`
	// Seconds is how long it took from the first chunk to the reply of the completion.
	Seconds float64 `json:"seconds"`
}

// uploading uploads a made up object to a session, however often the dataplane goes away meanwhile.
type uploading struct {
	namespace, session string
	endpoint           string
	seed               string
	bytesPerSecond     int64
	patience           time.Duration
}

func (u *uploading) register(flags *flag.FlagSet) {
	flags.StringVar(&u.namespace, "namespace", "", "of the session")
	flags.StringVar(&u.session, "session", "", "its name; it is waited for")
	flags.StringVar(&u.endpoint, "endpoint", "", "of a dataplane; the one that the session names when empty")
	flags.StringVar(&u.seed, "seed", "", "of the content; its size is the session's")
	flags.Int64Var(&u.bytesPerSecond, "bytes-per-second", 0, "at most; 0 for as fast as it goes")
	flags.DurationVar(&u.patience, "patience", 3*time.Minute, "how long nothing may get through before the upload is given up")
}

func (u *uploading) run(ctx context.Context) (any, error) {
	place, err := find(ctx, u.namespace, u.session, u.endpoint)
	if err != nil {
		return nil, err
	}
	pace := rate.NewLimiter(rate.Inf, math.MaxInt)
	if u.bytesPerSecond > 0 {
		pace = rate.NewLimiter(rate.Limit(u.bytesPerSecond), int(max(u.bytesPerSecond/4, place.chunkSize)))
	}
	again := newPatience(u.patience)
	var stored atomic.Int64
	up := &uploader.Uploader{
		Caller:  uploader.Caller{HTTP: place.client},
		Base:    place.url,
		Content: uploader.Content{Seed: u.seed, Size: place.size},
		Before:  func(ctx context.Context, bytes int64) error { return pace.WaitN(ctx, int(bytes)) },
		Stored: func(_ int, bytes int64) {
			again.progress()
			logProgress(stored.Add(bytes), bytes, place.size)
		},
		Again: again.wait,
	}
	began := time.Now()
	sent, err := up.Send(ctx)
	if err != nil {
		return nil, fmt.Errorf("after %d chunks: %w; requests sent again: %v", sent, err, again.counts())
	}
	st, err := up.Complete(ctx)
	if err != nil {
		return nil, fmt.Errorf("complete: %w; requests sent again: %v", err, again.counts())
	}
	report := Upload{State: st.State, Sent: sent, Again: again.counts(), Seconds: time.Since(began).Seconds()}
	if st.Result != nil {
		report.Digest = string(st.Result.Digest)
	}
	return report, nil
}
