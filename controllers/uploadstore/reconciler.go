package uploadstore

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/controllers/managed"
	"github.com/slipway-dev/slipway/liveness"
)

// retryConflictAfter is how long a reconcile whose observation was out of date waits.
const retryConflictAfter = 100 * time.Millisecond

// countWithin is how long after a change of a session its store's reservedBytes shows it. Nothing
// is decided by it: what is free is counted from the sessions themselves.
const countWithin = 5 * time.Second

// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores/status,verbs=get;patch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions,verbs=get;list;watch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=secrets,resourceNames=slipway-dataplane,verbs=get

// Reconciler keeps the status of UploadStores, and what Managed ones consist of.
type Reconciler struct {
	// Client reads and writes. It finds sessions by the field v1alpha1.SelectStore.
	Client client.Client
	// Direct reads and writes at the API server, without a cache, which has only what is the operator's own.
	Direct client.Client
	// Recorder takes the events.
	Recorder events.EventRecorder
	// Dataplane is what the dataplanes of Managed stores have in common.
	Dataplane managed.Options
	// Liveness tells which replicas are alive.
	Liveness *liveness.Observer
	// Clock tells the time.
	Clock clock.PassiveClock

	turn     turn
	outcomes outcomes
	bundles  bundles
}

// Reconcile observes a store, plans and applies.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o, err := r.observe(ctx, req.NamespacedName)
	if err != nil {
		if apierrors.IsNotFound(err) {
			r.outcomes.forget(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	now := r.Clock.Now()
	switch {
	case o.run == nil:
	case asksForTurn(o):
		o.run.mayUpdate = r.turn.take(o.store.UID, now)
	case isRolledOut(o):
		r.turn.pass(o.store.UID)
	}
	p := planFor(o, now)
	if err := r.apply(ctx, &o, &p); apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: retryConflictAfter}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: p.requeueAfter}, nil
}

// apply does all the writes of a reconcile, the status last: it tells of what
// the API server refused before.
func (r *Reconciler) apply(ctx context.Context, o *observation, p *plan) error {
	if o.run != nil {
		gone, err := r.applyRun(ctx, o, p.run)
		if gone || err != nil {
			return err
		}
		if o.run.refusal != "" {
			*p = planFor(*o, r.Clock.Now())
		}
	}
	return r.applyStatus(ctx, o.store, *p)
}
