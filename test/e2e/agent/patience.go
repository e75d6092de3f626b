package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/uploader"
)

// pause is between two tries where the dataplane names no time.
const pause = 250 * time.Millisecond

// patience sends requests again, as docs/protocol.md tells clients to: those that got no
// reply, and those that were refused with a Retry-After.
type patience struct {
	most time.Duration // without progress

	mu    sync.Mutex
	last  time.Time // of progress
	count map[string]int
}

func newPatience(most time.Duration) *patience {
	return &patience{most: most, last: time.Now(), count: map[string]int{}}
}

// progress says that something got through.
func (p *patience) progress() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

// counts is how often requests were sent again, by why.
func (p *patience) counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.count)
}

// wait waits before a request is sent again, or says why it is not.
func (p *patience) wait(ctx context.Context, err error) error {
	why, after := passing(err)
	if ctx.Err() != nil || why == "" {
		return err
	}
	p.mu.Lock()
	p.count[why]++
	first := p.count[why] == 1
	idle := time.Since(p.last)
	p.mu.Unlock()
	if first {
		slog.Info("a request is sent again", "why", why, "error", err)
	}
	if idle > p.most {
		return fmt.Errorf("nothing got through for %s: %w", idle.Round(time.Second), err)
	}
	select {
	case <-time.After(after):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing says, in a few words, what kind of error that may pass this is, and
// when to try again. It is empty for all others.
func passing(err error) (why string, after time.Duration) {
	var refusal *uploader.Refusal
	var broken *url.Error
	switch {
	case errors.As(err, &refusal):
		if refusal.RetryAfter > 0 || refusal.Status >= http.StatusInternalServerError || refusal.Code == chunkapi.CodeSuperseded {
			return fmt.Sprintf("%d %s", refusal.Status, refusal.Code), max(refusal.RetryAfter, pause)
		}
		return "", 0
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "", 0
	case errors.As(err, &broken), errors.Is(err, io.ErrUnexpectedEOF):
		return "no reply", pause
	}
	return "", 0
}
