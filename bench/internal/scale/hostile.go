package scale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/time/rate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/bench/internal/contender"
	"github.com/slipway-dev/slipway/bench/internal/machine"
	"github.com/slipway-dev/slipway/bench/internal/proc"
)

const (
	hostileNamespace = "hostile"
	// drainPatience bounds the wait until the operator has told every session how it stands.
	drainPatience = 90 * time.Minute
)

// hostile is one run.
type hostile struct {
	*run
	options           HostileOptions
	results           *HostileResults
	mallory, neighbor kube.Client
	pprof             string // URL
	admitted          int    // sessions that the neighbour made
}

// MeasureHostile lets one namespace make as many sessions as the options say, as large as they say, while another
// has its own admitted. dir is an empty folder on the filesystem to measure, and out hears how far it is.
func MeasureHostile(ctx context.Context, p Programs, dir string, o HostileOptions, out io.Writer) (_ *HostileResults, err error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	h := &hostile{options: o, results: &HostileResults{Began: time.Now(), Options: o, Violations: []string{}}}
	h.run = &run{
		teller: teller{out: out, began: time.Now()}, options: Default(), contents: newContents(Default()), results: &Results{},
	}
	if h.results.LoadAverage, err = machine.LoadAverage(); err != nil {
		return nil, err
	}
	if h.results.LimitBytes, err = shippedLimit(p.Root); err != nil {
		return nil, err
	}
	h.say("starting kube-apiserver, etcd, the operator and the dataplane")
	if h.world, err = startWorld(ctx, p.Root, p.Bin, dir, h.run.options, h.prepareHostile); err != nil {
		return nil, err
	}
	defer func() {
		stop() // of the watch, which would complain otherwise
		err = errors.Join(err, h.world.stop())
	}()
	if h.tracker, err = follow(ctx, h.plane.Config, h.api.Scheme(), h.api.RESTMapper()); err != nil {
		return nil, err
	}
	for _, phase := range []func(context.Context) error{
		h.prepare, h.prepareUsers, h.alone, h.flood, h.drain, h.seed, h.beside, h.churn, h.restarts, h.fat,
	} {
		if err := phase(ctx); err != nil {
			return nil, fmt.Errorf("%w\noperator:\n%s\ndataplane:\n%s", err, tail(&h.operator), tail(&h.dataplane))
		}
	}
	return h.results, nil
}

// shippedLimit is the memory limit of the manager as config/manager has it, in bytes.
func shippedLimit(root string) (int64, error) {
	file, err := os.Open(filepath.Join(root, "config", "manager", "manager.yaml"))
	if err != nil {
		return 0, err
	}
	defer file.Close() // it was only read
	for documents := utilyaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var d appsv1.Deployment
		if err := documents.Decode(&d); err != nil {
			return 0, fmt.Errorf("config/manager has no limit of memory: %w", err)
		}
		for i := range d.Spec.Template.Spec.Containers {
			if limit := d.Spec.Template.Spec.Containers[i].Resources.Limits.Memory(); d.Kind == "Deployment" && !limit.IsZero() {
				return limit.Value(), nil
			}
		}
	}
}

// prepareHostile gives the manager the memory limit that it ships with, and lets its heap be looked at.
func (h *hostile) prepareHostile(w *world) error {
	address, err := proc.FreeAddress()
	if err != nil {
		return err
	}
	h.pprof = "http://" + address + "/debug/pprof/"
	w.operator.spec.Command = append(w.operator.spec.Command, "--pprof-address="+address)
	w.operator.spec.Env = append(w.operator.spec.Env, fmt.Sprintf("MEMORY_LIMIT_BYTES=%d", h.results.LimitBytes))
	return nil
}

// prepareUsers lets an app of each namespace do there what those who have the role admin may.
func (h *hostile) prepareUsers(ctx context.Context) (err error) {
	if err := h.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: hostileNamespace}}); err != nil {
		return err
	}
	if h.mallory, err = h.userOf(ctx, hostileNamespace); err != nil {
		return err
	}
	h.neighbor, err = h.userOf(ctx, namespace)
	return err
}

func (h *hostile) userOf(ctx context.Context, in string) (kube.Client, error) {
	name := "system:serviceaccount:" + in + ":app"
	config, err := h.plane.AddUser(name, "system:serviceaccounts", "system:serviceaccounts:"+in, "system:authenticated")
	if err != nil {
		return nil, err
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: "app"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "slipway-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	}
	if err := h.api.Create(ctx, binding); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.QPS = -1
	return kube.New(config, kube.Options{Scheme: h.api.Scheme(), Mapper: h.api.RESTMapper()})
}

// alone is how the neighbour fares while nobody disturbs it.
func (h *hostile) alone(ctx context.Context) error {
	if err := h.admitSome(ctx, 10, nil); err != nil { // connections, caches
		return err
	}
	return h.stage(ctx, "nobody else is there", true, func(s *Stage) error {
		return h.admitSome(ctx, h.options.Admissions, &s.AdmissionSeconds)
	})
}

// flood creates the hostile sessions while the neighbour goes on.
func (h *hostile) flood(ctx context.Context) error {
	return h.stage(ctx, "sessions are created", false, func(s *Stage) error {
		return h.during(ctx, s, func() error {
			return h.createHostile(ctx, "s", h.options.Created, h.options.Shape)
		})
	})
}

func (h *hostile) createHostile(ctx context.Context, load string, n int, shape Shape) error {
	pace := rate.NewLimiter(rate.Limit(h.options.CreatesPerSecond), h.options.Connections)
	var made atomic.Int64
	end := h.watch("hostile sessions created", n, func() int { return int(made.Load()) })
	defer end()
	return contender.Parallel(n, h.options.Connections, func(i int) error {
		if err := pace.Wait(ctx); err != nil {
			return err
		}
		for {
			err := h.mallory.Create(ctx, hostileSession(hostileName(load, i), shape))
			if err == nil {
				made.Add(1)
				return nil
			}
			if !apierrors.IsTooManyRequests(err) && !apierrors.IsServerTimeout(err) && !apierrors.IsTimeout(err) {
				return err
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

func hostileName(load string, i int) string { return fmt.Sprintf("%s-%06d", load, i) }

// drain waits until the operator has told every hostile session how it stands, while the neighbour goes on.
func (h *hostile) drain(ctx context.Context) error {
	return h.stage(ctx, "the operator tells each of these what it waits for", true, func(s *Stage) error {
		return h.during(ctx, s, func() error { return h.awaitDrained(ctx) })
	})
}

// awaitDrained waits until the operator has told each of some sessions how it stands, from the first that was made to
// the last, and has little left to do: the neighbour goes on.
func (h *hostile) awaitDrained(ctx context.Context) error {
	const samples, little = 200, 10
	var told atomic.Int64
	every := max(1, h.options.Created/samples)
	end := h.watch("hostile sessions told how they stand", h.options.Created, func() int { return int(told.Load()) })
	defer end()
	for i := 0; i < h.options.Created; i += every {
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, drainPatience, true, func(ctx context.Context) (bool, error) {
			var u v1alpha1.UploadSession
			err := h.api.Get(ctx, kube.ObjectKey{Namespace: hostileNamespace, Name: hostileName("s", i)}, &u)
			return meta.IsStatusConditionFalse(u.Status.Conditions, v1alpha1.ConditionAdmitted), err
		})
		if err != nil {
			return fmt.Errorf("session %s is told how it stands: %w", hostileName("s", i), err)
		}
		told.Store(int64(i))
	}
	return wait.PollUntilContextTimeout(ctx, time.Second, drainPatience, true, func(ctx context.Context) (bool, error) {
		families, err := scrape(ctx, http.DefaultClient, h.operator.metrics)
		return gauge(families["workqueue_depth"], "name", "uploadsession") < little, err
	})
}

func gauge(family *dto.MetricFamily, name, value string) (sum float64) {
	for _, m := range family.GetMetric() {
		if label(m, name) == value {
			sum += m.GetGauge().GetValue()
		}
	}
	return sum
}

// beside is how the neighbour fares while all hostile sessions are there and wait.
func (h *hostile) beside(ctx context.Context) error {
	return h.stage(ctx, "all wait", true, func(s *Stage) error {
		return h.admitSome(ctx, h.options.Admissions, &s.AdmissionSeconds)
	})
}

// churn makes, changes and deletes the store that all hostile sessions name, again and again.
func (h *hostile) churn(ctx context.Context) error {
	if h.options.Churn == 0 {
		return nil
	}
	return h.stage(ctx, "their store comes, changes and goes all the time", false, func(s *Stage) error {
		return h.during(ctx, s, func() error {
			for until := time.Now().Add(h.options.Churn); time.Now().Before(until); {
				store := &v1alpha1.UploadStore{
					ObjectMeta: metav1.ObjectMeta{Namespace: hostileNamespace, Name: "absent"},
					Spec: v1alpha1.UploadStoreSpec{
						Volume:    v1alpha1.VolumeSource{ClaimName: "absent"},
						Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeSidecar},
					},
				}
				if err := h.mallory.Create(ctx, store); err != nil {
					return err
				}
				for i := range 5 {
					patch := fmt.Sprintf(`{"spec":{"limits":{"maxObjectBytes":%d}}}`, i+1)
					if err := h.mallory.Patch(ctx, store, kube.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
						return err
					}
				}
				if err := h.mallory.Delete(ctx, store); err != nil {
					return err
				}
				gone := func(ctx context.Context) (bool, error) {
					err := h.api.Get(ctx, kube.ObjectKeyFromObject(store), store)
					return apierrors.IsNotFound(err), kube.IgnoreNotFound(err)
				}
				if err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, patience, true, gone); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// restarts stops and starts the operator with everything there, and waits for the neighbour's next admission.
func (h *hostile) restarts(ctx context.Context) error {
	if h.options.Churn > 0 && h.options.Restarts > 0 {
		if err := h.awaitDrained(ctx); err != nil {
			return err
		}
	}
	for i := range h.options.Restarts {
		if err := h.restartOperator(ctx, fmt.Sprintf("the operator is started anew, %d", i+1)); err != nil {
			return err
		}
	}
	return nil
}

func (h *hostile) restartOperator(ctx context.Context, title string) error {
	if err := h.operator.stop(); err != nil {
		return err
	}
	h.operator.earlier = proc.Usage{} // each start has a peak of its own
	return h.stage(ctx, title, true, func(s *Stage) error {
		if err := h.operator.start(ctx); err != nil {
			return err
		}
		return h.admitSome(ctx, 1, &s.AdmissionSeconds)
	})
}

// fat adds sessions that are as large as the API server takes them, and starts the operator anew with them.
func (h *hostile) fat(ctx context.Context) error {
	if h.options.Fat == 0 {
		return nil
	}
	err := h.stage(ctx, "those as large as can be are created", false, func(s *Stage) error {
		return h.during(ctx, s, func() error { return h.createHostile(ctx, "f", h.options.Fat, Largest()) })
	})
	if err != nil {
		return err
	}
	if err := h.awaitDrained(ctx); err != nil {
		return err
	}
	return h.restartOperator(ctx, "the operator is started anew with these too")
}

// during lets the neighbour have sessions admitted, one after the other, until something is done.
func (h *hostile) during(ctx context.Context, s *Stage, do func() error) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		err := do()
		stop()
		done <- err
	}()
	var err error
	for inner.Err() == nil && err == nil {
		err = h.admitSome(inner, 1, &s.AdmissionSeconds)
	}
	if ctx.Err() == nil && inner.Err() != nil {
		err = nil // the last one was given up
	}
	stop()
	return errors.Join(err, <-done)
}

// admitSome makes sessions of the neighbour, one after the other, and takes the time from each one's creation until
// it is seen to be admitted.
func (h *hostile) admitSome(ctx context.Context, n int, seconds *[]float64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for range n {
		h.admitted++
		s := h.session(fmt.Sprintf("n-%06d", h.admitted))
		began := time.Now()
		if err := h.neighbor.Create(ctx, s); err != nil {
			return err
		}
		seen := func(t *tracker) int {
			if k := t.sessions[s.Name]; k != nil && k.admitted {
				return 1
			}
			return 0
		}
		h.tracker.allow(-1)
		if err := h.tracker.until(ctx, "admitted", seen, atLeast(1)); err != nil {
			return err
		}
		if seconds != nil {
			*seconds = append(*seconds, time.Since(began).Seconds())
		}
		if err := h.neighbor.Delete(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// stage measures something. Where the operator is at rest afterwards, what lives in its heap is counted.
func (h *hostile) stage(ctx context.Context, title string, rests bool, do func(*Stage) error) error {
	if h.operator.running != nil {
		if err := h.operator.running.ResetPeak(); err != nil {
			return err
		}
	}
	h.say("%s: begins", title)
	s := Stage{Title: title}
	began := time.Now()
	if err := do(&s); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	s.Seconds = time.Since(began).Seconds()
	used, err := h.operator.running.Usage()
	if err != nil {
		return fmt.Errorf("%s: the operator is gone: %w", title, err)
	}
	s.PeakBytes = used.Peak
	if rests {
		if s.LiveBytes, err = h.live(ctx); err != nil {
			return err
		}
	}
	h.results.Stages = append(h.results.Stages, s)
	h.say("%s: done: %s", title, s)
	if s.PeakBytes > h.results.LimitBytes {
		h.violate("the operator had %.0f MiB, and its limit is %.0f: %s", mib(s.PeakBytes), mib(h.results.LimitBytes), title)
	}
	return nil
}

// live is how many bytes of the operator's heap are reachable.
func (h *hostile) live(ctx context.Context) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.pprof+"heap?gc=1", http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return 0, err
	}
	families, err := scrape(ctx, http.DefaultClient, h.operator.metrics)
	if err != nil {
		return 0, err
	}
	heap := families["go_memstats_heap_alloc_bytes"].GetMetric()
	if len(heap) == 0 {
		return 0, errors.New("the operator does not tell how large its heap is")
	}
	return int64(heap[0].GetGauge().GetValue()), nil
}

func (h *hostile) violate(format string, args ...any) {
	v := fmt.Sprintf(format, args...)
	h.results.Violations = append(h.results.Violations, v)
	h.say("VIOLATION: %s", v)
}
