package uploadsession

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/metrics"
	"github.com/slipway-dev/slipway/liveness"
)

// retryConflictAfter is how long a reconcile whose observation was out of date waits.
const retryConflictAfter = 100 * time.Millisecond

// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions,verbs=get;list;watch;patch;delete;access-others
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions/status,verbs=get;patch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadsessions/finalizers,verbs=update
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores,verbs=get;list;watch
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadquotas,verbs=get;list;watch
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler takes UploadSessions from their creation to their end.
type Reconciler struct {
	// Client reads and writes. Its reads should show its own writes, which spares conflicts.
	Client client.Client
	// Queue says who may start.
	Queue *Queue
	// Recorder takes the events.
	Recorder events.EventRecorder
	// Metrics counts what becomes of the sessions.
	Metrics *metrics.Transitions
	// Liveness tells which replicas are alive.
	Liveness *liveness.Observer
	// Clock tells the time.
	Clock clock.PassiveClock
}

// Reconcile observes a session, plans and applies. A request without a name
// looks for the sessions of a namespace that a change concerns.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if err := r.Queue.fill(ctx); err != nil {
		return ctrl.Result{}, err
	}
	now := r.Clock.Now()
	if req.Name == "" {
		return ctrl.Result{RequeueAfter: r.Queue.look(req.Namespace, now)}, nil
	}
	o, err := observe(ctx, r.Client, r.Queue, r.Liveness, req.NamespacedName, now)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var outcome admission.Settled
	if o.granted.Replica != "" {
		// Whatever happens: what is granted and not written must not be kept.
		defer func() { r.Queue.settle(o.session, outcome) }()
	}
	p := planFor(o, now)
	outcome, err = r.apply(ctx, o.session, p)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: retryConflictAfter}, nil
	} else if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{RequeueAfter: p.requeueAfter}, nil
}
