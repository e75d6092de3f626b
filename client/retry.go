package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// What is tried again, and how. judge is pure and holds every rule; operation applies them.

// verdict is what to do about a request that failed.
type verdict struct {
	// again says that the same request is worth sending once more.
	again bool
	// waits says that the session itself is not ready: that does not use up patience.
	waits bool
	// crowded says that too many requests are under way at once.
	crowded bool
	// renew says that the credentials were refused.
	renew bool
	// elsewhere says that the session may be served at another address now.
	elsewhere bool
	// pause is how long to wait at least.
	pause time.Duration
	// most bounds how often in a row this is tried; 0 for no bound but patience.
	most int
}

const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 15 * time.Second
	// maxCorrupted is how often bytes may arrive other than they were sent before that is an error.
	maxCorrupted = 5
)

// judge decides what to do about an error of a request.
func judge(err error) verdict {
	if isFinal(err) {
		return verdict{}
	}
	problem := (*Problem)(nil)
	if !errors.As(err, &problem) {
		// No reply: every request of this package is safe to repeat.
		return verdict{again: true, elsewhere: true}
	}
	v := verdict{again: true, pause: problem.RetryAfter}
	switch problem.Code {
	case CodeNotAdmitted, CodeSuspended, CodeComparing:
		v.waits = true
		v.pause = max(v.pause, time.Second)
		return v
	case CodeMisdirected, CodeReplicaAway:
		v.elsewhere = true
		return v
	case CodeUnauthenticated:
		v.renew = true
		return v
	case CodeTooManyChunks, CodeBusy, CodeTooSlow:
		v.crowded = true
		return v
	case CodeDigestMismatch:
		v.most = maxCorrupted
		v.again = problem.Result == nil // of the whole object otherwise
		return v
	case CodeSuperseded, CodeIncompleteBody, CodeSessionDeleting, CodeVolumeFull:
		return v
	}
	switch {
	case problem.Status == http.StatusTooManyRequests:
		v.crowded = true
	case problem.Status == http.StatusRequestTimeout, problem.Status == http.StatusTooEarly:
	case problem.Status >= http.StatusInternalServerError:
		// A proxy in between says 502 or 504 in its own words.
		v.elsewhere = problem.Code == ""
	default:
		v.again = false
	}
	return v
}

// finalError is an error that no further request can change.
type finalError struct{ error }

// Unwrap returns the cause.
func (e finalError) Unwrap() error { return e.error }

// final marks err so that nothing is tried again.
func final(err error) error {
	if err == nil {
		return nil
	}
	return finalError{err}
}

func isFinal(err error) bool {
	return errors.As(err, new(finalError)) || errors.Is(err, context.Canceled)
}

// backoff is the pause before attempt n (from 1 on) that failed: it doubles, and half of it is random so that many
// clients do not come back at once.
func backoff(n int, jitter float64) time.Duration {
	d := maxBackoff
	if n < 10 {
		d = min(minBackoff<<(n-1), maxBackoff)
	}
	return d/2 + time.Duration(jitter*float64(d/2))
}

// patience is how long nothing has moved, over all requests of one operation. It may be used concurrently.
type patience struct {
	limit time.Duration
	mu    sync.Mutex
	since time.Time
}

func newPatience(limit time.Duration) *patience { return &patience{limit: limit, since: time.Now()} }

// moved begins the patience anew.
func (p *patience) moved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
}

// spent reports whether nothing has moved for too long.
func (p *patience) spent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.since) > p.limit
}

// operation is one call of this package, and what its requests have in common.
type operation struct {
	client   *Client
	patience *patience
	// crowded is called when a dataplane has too many requests; nil where nobody acts on it.
	crowded func()
	// waiting is called with the reason why the session is not ready; nil where nobody acts on it.
	waiting func(*Problem)
	// elsewhere is called when the session may have moved; nil where it cannot.
	elsewhere func(ctx context.Context)
}

// run makes a request until it succeeds or is not worth trying again. try gets the number of the attempt, from 1 on.
func (o operation) run(ctx context.Context, try func(ctx context.Context, attempt int) error) error {
	refused := 0
	for attempt := 1; ; attempt++ {
		err := try(ctx, attempt)
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		v := judge(err)
		switch {
		case !v.again:
			return err
		case v.most > 0 && attempt >= v.most:
			return fmt.Errorf("tried %d times: %w", attempt, err)
		case v.renew:
			// call has asked for another token already; a second refusal in a row is an answer.
			refused++
			if refused > 1 {
				return err
			}
			continue
		case v.waits:
			o.patience.moved()
		case o.patience.spent():
			return fmt.Errorf("nothing has moved for %s: %w", o.patience.limit, err)
		}
		refused = 0
		o.tell(ctx, v, err)
		pause := max(v.pause, backoff(attempt, rand.Float64()))
		if v.waits {
			pause = v.pause
		}
		if err := o.client.wait(ctx, pause); err != nil {
			return err
		}
	}
}

func (o operation) tell(ctx context.Context, v verdict, err error) {
	problem := (*Problem)(nil)
	if v.crowded && o.crowded != nil {
		o.crowded()
	}
	if v.waits && o.waiting != nil && errors.As(err, &problem) {
		o.waiting(problem)
	}
	if v.elsewhere && o.elsewhere != nil {
		o.elsewhere(ctx)
	}
}
