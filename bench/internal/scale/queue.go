package scale

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// probe is a session that shows that the operator works.
const probe = "probe"

// queue is the load that waits for a quota, starts in steps, sees both programs
// restarted, and is deleted half way.
func (r *run) queue(ctx context.Context) error {
	if r.options.Queued == 0 {
		return nil
	}
	r.begin("b", r.options.Queued)
	n := r.sessions
	quota := &v1alpha1.UploadQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "scale"},
		Spec:       v1alpha1.UploadQuotaSpec{Hard: v1alpha1.UploadQuotaHard{ActiveSessions: ptr.To[int32](0)}},
	}
	if err := r.api.Create(ctx, quota); err != nil {
		return err
	}
	if err := r.awaitQuota(ctx); err != nil {
		return err
	}
	r.tracker.allow(0)
	end := r.watch("told that they wait", n, func() int { return r.tracker.number(toldOf) })
	err := r.create(ctx)
	if err == nil {
		err = r.await(ctx, "told that they wait", toldOf, atLeast(n))
	}
	r.results.QueueSeconds = end().Seconds()
	if err != nil {
		return err
	}
	for step := range r.options.Steps {
		if err := r.raise(ctx, quota, n*(step+1)/r.options.Steps); err != nil {
			return err
		}
	}
	if err := r.restart(ctx, quota); err != nil {
		return err
	}
	if r.results.QueueDeleteSeconds, _, err = r.remove(ctx); err != nil {
		return err
	}
	if over := r.tracker.number(overOf); over > 0 {
		r.violated("more sessions were active than the quota allowed, after %d events", over)
	}
	return r.use(&r.results.QueueUsage)
}

// awaitQuota waits until the operator knows the quota: one that is new holds
// for sessions that come after that.
func (r *run) awaitQuota(ctx context.Context) error {
	r.tracker.allow(1)
	for {
		if err := r.api.Create(ctx, r.session(probe)); err != nil {
			return err
		}
		if err := r.await(ctx, "told how they stand", toldOf, atLeast(1)); err != nil {
			return err
		}
		waits, _ := r.tracker.look(probe)
		if err := r.api.Delete(ctx, r.session(probe)); err != nil {
			return err
		}
		if err := r.awaitGone(ctx); err != nil {
			return err
		}
		if !waits.admitted {
			return nil
		}
	}
}

// raise lets more sessions start and waits until they have.
func (r *run) raise(ctx context.Context, quota *v1alpha1.UploadQuota, to int) error {
	before := r.tracker.number(admittedOf)
	end := r.watch("started after the quota was raised", to-before, func() int { return r.tracker.number(admittedOf) - before })
	r.tracker.allow(to)
	err := r.patchQuota(ctx, quota, to)
	if err == nil {
		err = r.await(ctx, "started", admittedOf, atLeast(to))
	}
	r.results.StepSeconds = append(r.results.StepSeconds, end().Seconds())
	return err
}

func (r *run) patchQuota(ctx context.Context, quota *v1alpha1.UploadQuota, to int) error {
	before := quota.DeepCopy()
	quota.Spec.Hard.ActiveSessions = ptr.To(int32(to)) // a number of sessions
	return r.api.Patch(ctx, quota, kube.MergeFrom(before))
}

// restart starts both programs anew while all sessions are active and hold a
// chunk, and measures how long it takes until they work again.
func (r *run) restart(ctx context.Context, quota *v1alpha1.UploadQuota) error {
	n := r.sessions
	end := r.watch("chunks before the restarts", n, r.acknowledgedSoFar)
	err := r.eachSession(func(i int) error { return r.put(ctx, i) })
	end()
	if err != nil {
		return err
	}
	end = r.watch("dataplane restarts", 1, func() int { return 0 })
	if err := r.dataplane.stop(); err != nil {
		return err
	}
	r.chunks.Close() // its connections are gone
	began := time.Now()
	if err := r.dataplane.start(ctx); err != nil {
		return err
	}
	if err := r.put(ctx, 0); err != nil {
		return err
	}
	r.results.DataplaneRestartSeconds = time.Since(began).Seconds()
	end()

	end = r.watch("operator restarts", 1, func() int { return 0 })
	if err := r.operator.stop(); err != nil {
		return err
	}
	r.tracker.allow(n + 1)
	if err := r.patchQuota(ctx, quota, n+1); err != nil {
		return err
	}
	if err := r.api.Create(ctx, r.session(probe)); err != nil {
		return err
	}
	began = time.Now()
	if err := r.operator.start(ctx); err != nil {
		return err
	}
	if err := r.await(ctx, "admitted after the restart", admittedOf, atLeast(n+1)); err != nil {
		return err
	}
	r.results.OperatorRestartSeconds = time.Since(began).Seconds()
	end()
	return r.api.Delete(ctx, r.session(probe))
}

// acknowledgedSoFar is acknowledged while chunks are on their way.
func (r *run) acknowledgedSoFar() int {
	sum := 0
	for i := range r.sent {
		r.turns[i].Lock()
		sum += r.sent[i]
		r.turns[i].Unlock()
	}
	return sum
}
