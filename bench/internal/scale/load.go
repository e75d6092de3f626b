package scale

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/bench/internal/client"
	"github.com/slipway-dev/slipway/bench/internal/contender"
	"github.com/slipway-dev/slipway/test/controlplane"
)

const (
	// inFlight is how many writes of progress may have been called and not yet made, or made late:
	// as many as the dataplane has workers.
	inFlight = 16
	// rampUp is after how long the first progress is written for sure: an upload's own waits 5 s.
	rampUp = 6 * time.Second
)

// everything selects every write.
var everything = controlplane.Filter{Namespace: namespace}

// create creates the sessions of a load, as fast as the options allow.
func (r *run) create(ctx context.Context) error {
	pace := rate.NewLimiter(rate.Limit(r.options.CreatesPerSecond), r.options.Connections)
	return r.eachSession(func(i int) error {
		if err := pace.Wait(ctx); err != nil {
			return err
		}
		return r.api.Create(ctx, r.session(r.name(i)))
	})
}

func (r *run) session(name string) *v1alpha1.UploadSession {
	return &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: storeName}, Key: name,
			SizeBytes: ptr.To(r.options.objectBytes()), ChunkSizeBytes: r.options.ChunkBytes,
			// No session of the load may end by itself, however slow the machine is.
			IdleTimeoutSeconds: 24 * 3600,
		},
	}
}

// eachSession does something for every session, many at a time.
func (r *run) eachSession(f func(i int) error) error {
	return contender.Parallel(r.sessions, r.options.Connections, f)
}

// put sends a session's next chunk, again where the server is busy.
func (r *run) put(ctx context.Context, i int) error {
	r.turns[i].Lock()
	defer r.turns[i].Unlock()
	chunk := r.sent[i]
	request := client.Request{
		Method: http.MethodPut, Body: r.contents.of(i),
		Path:   fmt.Sprintf("/v1/namespaces/%s/uploadsessions/%s/chunks/%d", namespace, r.name(i), chunk),
		Offset: int64(chunk) * r.options.ChunkBytes, Length: r.options.ChunkBytes,
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if ctx.Err() != nil {
			return ctx.Err() // a chunk on its way does not look at it
		}
		reply, err := r.chunks.Do(ctx, request)
		if err != nil {
			return err
		}
		if reply.Status != http.StatusServiceUnavailable && reply.Status != http.StatusTooManyRequests {
			r.sent[i]++
			return reply.Want(http.StatusCreated)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: the last reply was: %w", ctx.Err(), reply.Want(http.StatusCreated))
		}
	}
}

// complete sends all chunks of a session that are missing.
func (r *run) complete(ctx context.Context, i int) error {
	for r.sent[i] < r.options.Chunks {
		if err := r.put(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// acknowledged is how many chunks were, in all; nothing may be on its way.
func (r *run) acknowledged() int {
	sum := 0
	for _, n := range r.sent {
		sum += n
	}
	return sum
}

// steady trickles chunks into all sessions in turn, and completes some of them
// in the second half. It returns when it was, and the part in which none ended.
func (r *run) steady(ctx context.Context) (all, pure span, err error) {
	o := r.options
	some := r.sessions - o.Finishing // the others come last, and end here
	most := some * (o.Chunks - 1)    // none ends of itself
	per := min(o.ChunksPerSecond, float64(most)/o.Steady.Seconds())
	pace := rate.NewLimiter(rate.Limit(per), 1)
	began := time.Now()
	half := began.Add(o.Steady / 2)
	stopAt := began.Add(o.Steady)
	var posted atomic.Int64
	end := r.watch("chunks while all are active", int(per*o.Steady.Seconds()), func() int { return int(posted.Load()) })
	finished := make(chan error, 1)
	go func() { finished <- r.finishSome(ctx, some, half, stopAt) }()
	err = contender.Parallel(most, o.Connections, func(n int) error {
		if time.Now().After(stopAt) || pace.Wait(ctx) != nil {
			return ctx.Err()
		}
		posted.Add(1)
		return r.put(ctx, n%some)
	})
	if other := <-finished; err == nil {
		err = other
	}
	end()
	r.results.SteadyChunks = r.acknowledged()
	all = span{began, time.Now()}
	return all, span{began.Add(min(rampUp, o.Steady/4)), half}, err
}

// finishSome completes the sessions from a number on, spread over a time, and
// notes how long each result takes to be seen.
func (r *run) finishSome(ctx context.Context, from int, begin, end time.Time) error {
	count := r.sessions - from
	acknowledged := make([]time.Time, count)
	every := end.Sub(begin) / time.Duration(count)
	for n := range count {
		select {
		case <-time.After(time.Until(begin.Add(time.Duration(n) * every))):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := r.complete(ctx, from+n); err != nil {
			return err
		}
		acknowledged[n] = time.Now()
	}
	seen := func(t *tracker) int {
		missing := 0
		for n := range count {
			if k := t.sessions[r.name(from+n)]; k == nil || k.outcome == "" {
				missing++
			}
		}
		return missing
	}
	if err := r.await(ctx, "sessions without a result", seen, none); err != nil {
		return err
	}
	for n := range count {
		k, _ := r.tracker.look(r.name(from + n))
		r.results.ResultSeconds = append(r.results.ResultSeconds, max(0, k.resulted.Sub(acknowledged[n]).Seconds()))
	}
	slices.Sort(r.results.ResultSeconds)
	return nil
}

// remove deletes the sessions of a load, and waits until they are gone and the
// volume holds nothing staged. It returns how long that took and how many
// writes to sessions it was.
func (r *run) remove(ctx context.Context) (seconds float64, count int, err error) {
	deleting := span{from: time.Now()}
	end := r.watch("deleted", r.sessions, func() int { return r.sessions - r.tracker.number(leftOf) })
	err = r.eachSession(func(i int) error {
		u := &v1alpha1.UploadSession{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: r.name(i)}}
		return kube.IgnoreNotFound(r.api.Delete(ctx, u))
	})
	if err == nil {
		err = r.awaitGone(ctx)
	}
	seconds = end().Seconds()
	if err != nil {
		return seconds, 0, err
	}
	writes, err := r.plane.Writes(ctx, everything)
	deleting.to = time.Now()
	for _, w := range writes {
		if deleting.has(w.Time) && w.Resource == "uploadsessions" {
			count++
		}
	}
	return seconds, count, err
}
