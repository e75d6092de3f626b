package scale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/bench/internal/machine"
	"github.com/slipway-dev/slipway/bench/internal/proc"
)

// patience bounds each wait: what takes longer hangs.
const patience = 15 * time.Minute

// perSession is how many writes a session may cost, its event among them and
// its progress not.
const perSession = 6

// run is one run.
type run struct {
	*world
	teller
	options  Options
	contents *contents
	tracker  *tracker
	results  *Results

	// The load that is under way: the prefix of its names, how many sessions it has, and how many
	// chunks of each are acknowledged, in order.
	load     string
	sessions int
	sent     []int
	turns    []sync.Mutex // for sent
}

// Programs are where the programs are.
type Programs struct {
	// Root is the repository, Bin the folder with the manager and the dataplane.
	Root, Bin string
}

// Measure runs the load. dir is an empty folder on the filesystem to measure,
// and out hears how far it is. Violations are in the results; an error means
// that nothing was measured.
func Measure(ctx context.Context, p Programs, dir string, o Options, out io.Writer) (_ *Results, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := &run{
		teller: teller{out: out, began: time.Now()}, options: o, contents: newContents(o),
		results: &Results{Began: time.Now(), Options: o, Violations: []string{}},
	}
	if r.results.LoadAverage, err = machine.LoadAverage(); err != nil {
		return nil, err
	}
	r.say("starting kube-apiserver, etcd, the operator and the dataplane")
	if r.world, err = startWorld(ctx, p.Root, p.Bin, dir, o, func(*world) error { return nil }); err != nil {
		return nil, err
	}
	defer func() {
		stop() // of the watch, which would complain otherwise
		err = errors.Join(err, r.world.stop())
	}()
	if r.tracker, err = follow(ctx, r.plane.Config, r.api.Scheme(), r.api.RESTMapper()); err != nil {
		return nil, err
	}
	for _, phase := range []func(context.Context) error{
		r.prepare, r.upload, r.queue,
	} {
		if err := phase(ctx); err != nil {
			return nil, fmt.Errorf("%w\noperator:\n%s\ndataplane:\n%s", err, tail(&r.operator), tail(&r.dataplane))
		}
	}
	return r.results, nil
}

func tail(s *server) string {
	b, err := os.ReadFile(s.spec.Log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// violated takes note that a promise was broken.
func (r *run) violated(format string, args ...any) {
	v := fmt.Sprintf(format, args...)
	r.results.Violations = append(r.results.Violations, v)
	r.say("VIOLATION: %s", v)
}

// prepare makes the store and waits until a session is admitted to it.
func (r *run) prepare(ctx context.Context) error {
	store := &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: storeName},
		Spec: v1alpha1.UploadStoreSpec{
			Volume:    v1alpha1.VolumeSource{ClaimName: storeName},
			Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeSidecar},
		},
	}
	if err := r.api.Create(ctx, store); err != nil {
		return err
	}
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := r.api.Get(ctx, kube.ObjectKeyFromObject(store), store)
		return meta.IsStatusConditionTrue(store.Status.Conditions, v1alpha1.ConditionReady), err
	})
	if err != nil {
		return fmt.Errorf("the store is not ready: %w", err)
	}
	// The operator may know later than the API server that the store is ready, and would tell the
	// first sessions that they wait for it.
	r.tracker.allow(1)
	if err := r.api.Create(ctx, r.session(probe)); err != nil {
		return err
	}
	if err := r.await(ctx, "admitted", admittedOf, atLeast(1)); err != nil {
		return err
	}
	if err := r.api.Delete(ctx, r.session(probe)); err != nil {
		return err
	}
	return r.awaitGone(ctx)
}

// upload is the load that goes from creation to publication.
func (r *run) upload(ctx context.Context) error {
	r.begin("a", r.options.Sessions)
	began := time.Now()
	if err := r.admit(ctx); err != nil {
		return err
	}
	all, pure, err := r.steady(ctx)
	if err != nil {
		return err
	}
	if err := r.finish(ctx); err != nil {
		return err
	}
	if err := r.account(ctx, began, all, pure); err != nil {
		return err
	}
	r.verify()
	if r.results.DeleteSeconds, r.results.Deletion, err = r.remove(ctx); err != nil {
		return err
	}
	r.verifyPublished()
	return nil
}

// begin turns to a load, of which nothing exists yet.
func (r *run) begin(load string, sessions int) {
	r.load, r.sessions = load, sessions
	r.sent, r.turns = make([]int, sessions), make([]sync.Mutex, sessions)
}

func (r *run) name(i int) string { return fmt.Sprintf("%s-%05d", r.load, i) }

// admit creates the sessions and waits until all are admitted.
func (r *run) admit(ctx context.Context) error {
	n, began := r.sessions, time.Now()
	r.tracker.allow(n)
	end := r.watch("admitted", n, func() int { return r.tracker.number(admittedOf) })
	err := r.create(ctx)
	r.results.CreateSeconds = time.Since(began).Seconds()
	if err == nil {
		r.say("created in %.1fs", r.results.CreateSeconds)
		err = r.await(ctx, "admitted", admittedOf, atLeast(n))
	}
	r.results.AdmitSeconds = end().Seconds()
	return err
}

// await waits until a number of the tracker is as it should be.
func (r *run) await(ctx context.Context, what string, of func(*tracker) int, enough func(int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.tracker.until(ctx, what, of, enough)
}

// finish sends what is missing and waits until all have ended.
func (r *run) finish(ctx context.Context) error {
	n := r.sessions
	end := r.watch("published", n, func() int { return r.tracker.number(endedOf) })
	before := r.acknowledged()
	err := r.eachSession(func(i int) error { return r.complete(ctx, i) })
	if err == nil {
		r.say("all chunks are acknowledged")
		err = r.await(ctx, "published", endedOf, atLeast(n))
	}
	r.results.FinishSeconds = end().Seconds()
	r.results.FinishChunks = r.acknowledged() - before
	return err
}

// account adds up what it took until all had ended.
func (r *run) account(ctx context.Context, began time.Time, steady, pure span) error {
	// Events come after the status that they tell of, and are batched.
	events, err := r.awaitEvents(ctx)
	if err != nil {
		return err
	}
	writes, err := r.plane.Writes(ctx, everything)
	if err != nil {
		return err
	}
	res := r.results
	res.Writes = ofLoad(writes, events, r.load, span{began, time.Now()}, r.hasEnded)
	if res.Writes.Creates != r.options.Sessions || res.Writes.Results != r.options.Sessions {
		r.violated("%d creations and %d results were written of %d sessions", res.Writes.Creates, res.Writes.Results, r.options.Sessions)
	}
	if res.Writes.Most > perSession {
		r.violated("a session cost %d writes, and at most %d are allowed", res.Writes.Most, perSession)
	}
	res.SteadySeconds = pure.seconds()
	res.SteadyWritesPerSecond = float64(allIn(writes, pure)) / pure.seconds()
	res.SteadyProgressPerSecond = float64(progressIn(writes, pure, r.hasEnded)) / pure.seconds()
	progress := progressIn(writes, steady, r.hasEnded)
	if most := r.options.ProgressWritesPerSecond*steady.seconds() + inFlight; float64(progress) > most {
		r.violated("%d writes of progress in %.1fs, and the budget allows %.0f", progress, steady.seconds(), most)
	}
	if res.EtcdWrites, err = etcdWrites(ctx, r.plane.Config, "uploadsessions"); err != nil {
		return err
	}
	if res.OperatorReconciles, err = reconciles(ctx, r.operator.metrics); err != nil {
		return err
	}
	dataplane, err := reconciles(ctx, r.dataplane.metrics)
	if err != nil {
		return err
	}
	for n := range maps.Values(dataplane) {
		res.DataplaneReconciles += n
	}
	res.WallSeconds = time.Since(r.teller.began).Seconds()
	return r.use(&res.Usage)
}

// use reads what the processes took until now.
func (r *run) use(into *Usages) error {
	client := func() (proc.Usage, error) { return proc.UsageOf(os.Getpid()) }
	for _, one := range []struct {
		of   func() (proc.Usage, error)
		into *Usage
	}{
		{r.operator.usage, &into.Operator},
		{r.dataplane.usage, &into.Dataplane},
		{r.apiserver, &into.APIServer},
		{r.etcd, &into.Etcd},
		{client, &into.Client},
	} {
		used, err := one.of()
		if err != nil {
			return err
		}
		*one.into = Usage{PeakBytes: used.Peak, CPUSeconds: used.CPU.Seconds()}
	}
	return nil
}

func (r *run) hasEnded(name string) bool {
	k, ok := r.tracker.look(name)
	return ok && k.outcome != ""
}
