package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const (
	// listTimeout bounds one list of all sessions.
	listTimeout = 2 * time.Minute
	// listPage is how many sessions come in one answer.
	listPage = 500
	// sweepRetry is how long after a sweep that failed there is another.
	sweepRetry = 30 * time.Second
)

// sweep forgets the uploads of sessions that are gone, of which no watch told:
// they were deleted while this replica was away, or their names used again. It
// does so for replicas that share the volume and that nobody runs, too: they may
// never come back.
type sweep struct {
	live    client.Reader // no cache
	place   place
	uploads *upload.Service
	clock   session.Clock
	log     *slog.Logger
	metrics *metrics.Cluster

	interval time.Duration
	grace    time.Duration
}

// run sweeps at once and then again and again until the context is done.
func (w *sweep) run(ctx context.Context) error {
	for {
		wait := w.interval
		err := w.once(ctx)
		if ctx.Err() == nil {
			w.metrics.Sweep(err)
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("no full sweep of uploads without a session, will try again", "error", err)
			wait = min(wait, sweepRetry)
		}
		select {
		case <-w.clock.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// once makes one sweep. Without a full list it forgets nothing.
func (w *sweep) once(ctx context.Context) error {
	began := w.clock.Now()
	listed, err := w.list(ctx)
	if err != nil {
		return fmt.Errorf("list the sessions: %w", err)
	}
	var errs []error
	for _, st := range w.orphans(listed, began) {
		if err := w.uploads.Forget(ctx, st.Grant.ID); err != nil {
			errs = append(errs, fmt.Errorf("forget upload %s: %w", st.Grant.ID, err))
			continue
		}
		w.metrics.Swept(stagedBytes(st.Meta))
		w.log.Info("upload without a session was swept", "session", st.Grant.Name.String(), "uid", st.Grant.ID,
			"heldBytes", st.Meta.HeldBytes)
	}
	return errors.Join(append(errs, w.derelicts(ctx, listed, began))...)
}

// derelicts sweeps what replicas left that nobody runs: uploads whose session is gone,
// and those whose session does not wait for them any more.
func (w *sweep) derelicts(ctx context.Context, listed sets.Set[types.UID], began time.Time) error {
	asked := sets.New[session.ID]()
	before := began.Add(-w.grace)
	err := w.uploads.SweepDerelicts(ctx, func(ctx context.Context, d upload.Derelict) (bool, error) {
		orphan := isOrphan(d.Status, w.place.namespace, listed, before)
		if !orphan && d.Grant.Name.Namespace == w.place.namespace && d.Meta.Created.Before(before) {
			var err error
			if orphan, err = w.abandoned(ctx, d); err != nil {
				return false, err
			}
		}
		if orphan && asked.Has(d.Grant.ID) { // now it goes
			w.log.Info("upload of a replica that nobody runs is swept", "session", d.Grant.Name.String(), "uid", d.Grant.ID, "replica", d.Replica)
		}
		asked.Insert(d.Grant.ID)
		return orphan, nil
	})
	if err != nil {
		return fmt.Errorf("sweep what replicas left that nobody runs: %w", err)
	}
	return nil
}

// abandoned asks the API server whether a listed session has ended without the
// replica that holds its bytes. How a session was published is kept as long as
// the session: it tells whose object it is.
func (w *sweep) abandoned(ctx context.Context, d upload.Derelict) (bool, error) {
	if d.Result != nil && d.Result.HasObject() {
		return false, nil
	}
	s, err := get(ctx, w.live, d.Grant.Name)
	if s == nil || err != nil {
		return false, err // the next list tells
	}
	over := s.Status.Result.Outcome != "" || !s.Status.CompletionTime.IsZero()
	return session.ID(s.UID) == d.Grant.ID && over, nil
}

// stagedBytes are those of acknowledged chunks that are staged still; what ended has freed them.
func stagedBytes(m session.Meta) int64 {
	if m.Settled {
		return 0
	}
	return m.HeldBytes
}

// orphans returns the uploads of this namespace whose session is not in the
// list. An upload that began about when the list was made may be missing from it.
func (w *sweep) orphans(listed sets.Set[types.UID], began time.Time) []upload.Status {
	var orphans []upload.Status
	for _, id := range w.uploads.All() {
		st, err := w.uploads.Known(id)
		if err == nil && isOrphan(st, w.place.namespace, listed, began.Add(-w.grace)) {
			orphans = append(orphans, st)
		}
	}
	return orphans
}

func isOrphan(st upload.Status, namespace string, listed sets.Set[types.UID], before time.Time) bool {
	return st.Grant.Name.Namespace == namespace && !listed.Has(types.UID(st.Grant.ID)) && st.Meta.Created.Before(before)
}

// list returns the UIDs of all sessions in the namespace, those of other
// replicas too, from the API server itself.
func (w *sweep) list(ctx context.Context) (sets.Set[types.UID], error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	uids := sets.New[types.UID]()
	page := metav1.PartialObjectMetadataList{}
	page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("UploadSessionList"))
	for {
		err := w.live.List(ctx, &page, client.InNamespace(w.place.namespace),
			client.Limit(listPage), client.Continue(page.Continue))
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			uids.Insert(page.Items[i].UID)
		}
		if page.Continue == "" {
			return uids, nil
		}
	}
}
