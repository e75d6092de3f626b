package scale

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// tracker follows every session by a watch. The events of a watch come in the
// order in which etcd took them, so that what is counted held at one time.
type tracker struct {
	mu       sync.Mutex
	sessions map[string]*track
	changed  chan struct{} // closed and renewed at every event

	// How many sessions were told how they stand, are admitted, are over, and are active.
	told, admitted, ended, held int
	// limit is how many may be active, and over is after how many events there were more.
	limit, over int
}

// track is what was seen of a session.
type track struct {
	told, admitted, ended bool
	// resulted is when its result was seen.
	resulted time.Time
	outcome  v1alpha1.UploadOutcome
	digest   string
	size     int64
	done     bool // condition Succeeded is no more Unknown
	success  bool
}

// follow starts a tracker that runs until the context is done. The mapper knows the kinds already: discovery may lag
// behind what the API server serves.
func follow(ctx context.Context, config *rest.Config, scheme *runtime.Scheme, mapper meta.RESTMapper) (*tracker, error) {
	t := &tracker{sessions: map[string]*track{}, changed: make(chan struct{}), limit: -1}
	watched, err := cache.New(config, cache.Options{
		Scheme: scheme, Mapper: mapper, DefaultNamespaces: map[string]cache.Config{namespace: {}},
		DefaultTransform: cache.TransformStripManagedFields(),
	})
	if err != nil {
		return nil, err
	}
	informer, err := watched.GetInformer(ctx, &v1alpha1.UploadSession{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { t.see(obj) },
		UpdateFunc: func(_, obj any) { t.see(obj) },
		DeleteFunc: func(obj any) { t.lose(obj) },
	}); err != nil {
		return nil, err
	}
	go func() { _ = watched.Start(ctx) }() // it ends with the context
	if !watched.WaitForCacheSync(ctx) {
		return nil, errors.New("the watch of the sessions does not begin")
	}
	return t, nil
}

// see takes note of a session.
func (t *tracker) see(obj any) {
	s, ok := obj.(*v1alpha1.UploadSession)
	if !ok {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.sessions[s.Name]
	if k == nil {
		k = &track{}
		t.sessions[s.Name] = k
	}
	t.count(k, -1)
	k.told = meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAdmitted) != nil
	k.admitted = s.Status.Admission.Replica != ""
	k.ended = s.Status.Result.Outcome != "" || !s.Status.CompletionTime.IsZero()
	if k.outcome == "" && s.Status.Result.Outcome != "" {
		k.resulted, k.outcome, k.digest = now, s.Status.Result.Outcome, s.Status.Result.Digest
		if s.Status.Result.SizeBytes != nil {
			k.size = *s.Status.Result.SizeBytes
		}
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		k.done, k.success = c.Status != metav1.ConditionUnknown, c.Status == metav1.ConditionTrue
	}
	t.count(k, 1)
	t.tell()
}

// lose takes note that a session is gone.
func (t *tracker) lose(obj any) {
	if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	s, ok := obj.(*v1alpha1.UploadSession)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.sessions[s.Name]; k != nil {
		t.count(k, -1)
		delete(t.sessions, s.Name)
	}
	t.tell()
}

// count adds a session to the numbers, or takes it off.
func (t *tracker) count(k *track, n int) {
	if k.told {
		t.told += n
	}
	if k.admitted {
		t.admitted += n
	}
	if k.done {
		t.ended += n
	}
	if k.admitted && !k.ended {
		t.held += n
	}
}

// tell wakes who waits. The caller holds t.mu, as for count.
func (t *tracker) tell() {
	if t.limit >= 0 && t.held > t.limit {
		t.over++
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// allow says how many sessions may be active from now on; more are counted as violations.
func (t *tracker) allow(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = n
}

// number returns one of the numbers, such as how many are admitted.
func (t *tracker) number(of func(*tracker) int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return of(t)
}

func admittedOf(t *tracker) int { return t.admitted }
func toldOf(t *tracker) int     { return t.told }
func endedOf(t *tracker) int    { return t.ended }
func leftOf(t *tracker) int     { return len(t.sessions) }
func overOf(t *tracker) int     { return t.over }

// atLeast is enough of what grows.
func atLeast(want int) func(int) bool { return func(got int) bool { return got >= want } }

// none is enough of what falls.
func none(got int) bool { return got == 0 }

// until waits until a number is as it should be.
func (t *tracker) until(ctx context.Context, what string, of func(*tracker) int, enough func(int) bool) error {
	for {
		t.mu.Lock()
		got, changed := of(t), t.changed
		t.mu.Unlock()
		if enough(got) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: is still %d: %w", what, got, ctx.Err())
		}
	}
}

// look returns what was seen of a session; false where nothing was.
func (t *tracker) look(name string) (track, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.sessions[name]; k != nil {
		return *k, true
	}
	return track{}, false
}
