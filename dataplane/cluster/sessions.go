package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// requestTimeout bounds one request to the API server, and the wait for the
// cache to show what was written, so that no worker hangs on either.
const requestTimeout = 10 * time.Second

// afterConflict is how long the cache gets to catch up; mostly its event comes first.
const afterConflict = time.Second

// afterSealed is when to look again at an upload that could not be ended because it is about
// to be published; mostly its end tells first.
const afterSealed = 5 * time.Second

// keyUnusable is why an upload ends that nothing here could ever publish.
const keyUnusable = "no object can be published under the key: %v; create another session with another key"

// sessions brings what is known here of one session in line with its
// UploadSession, and then the UploadSession's status in line with the volume.
type sessions struct {
	place   place
	cached  client.Client // reads its own writes
	live    client.Reader // past the cache
	uploads *upload.Service
	pace    *pace
	pending *pending
	metrics *metrics.Cluster
	clock   session.Clock
	log     *slog.Logger
}

// Reconcile does all that is to be done for the session of one name now. Doing
// it again does nothing.
func (r *sessions) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	name := upload.Name{Namespace: request.Namespace, Name: request.Name}
	r.pending.look(name)
	s, err := r.observe(ctx, name)
	if err != nil {
		return later(err)
	}
	if s == nil {
		r.pace.forget(name)
		r.pending.told(name)
		return reconcile.Result{}, nil
	}
	sh, err := r.follow(ctx, s)
	if err != nil {
		return later(err)
	}
	if sh == nil {
		r.pending.told(name)
		return reconcile.Result{}, nil
	}
	return r.report(ctx, s, *sh)
}

// later is when to try again after err.
func later(err error) (reconcile.Result, error) {
	if errors.Is(err, session.ErrSealed) {
		return reconcile.Result{RequeueAfter: afterSealed}, nil
	}
	return reconcile.Result{}, err
}

// observe returns the session of that name, nil where there is none. An upload
// whose session is gone for sure is forgotten.
func (r *sessions) observe(ctx context.Context, name upload.Name) (*v1alpha1.UploadSession, error) {
	s, err := get(ctx, r.cached, name)
	if s != nil || err != nil {
		return s, err
	}
	known, err := r.uploads.Find(name)
	if errors.Is(err, session.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// The cache may be late and shows this replica's sessions only: it is not the one to ask
	// before bytes are thrown away.
	if s, err = get(ctx, r.live, name); err != nil {
		return nil, err
	}
	if s != nil && session.ID(s.UID) == known.Grant.ID {
		return s, nil
	}
	r.log.Info("session is gone, its upload is forgotten", "session", name.String(), "uid", known.Grant.ID)
	return s, r.uploads.Forget(ctx, known.Grant.ID)
}

// follow does to the upload what the session asks for, and returns what the
// session's status should show; nil where that is not for this replica to say.
func (r *sessions) follow(ctx context.Context, s *v1alpha1.UploadSession) (*shadow, error) {
	if !r.place.holds(s) {
		return nil, nil
	}
	id := session.ID(s.UID)
	var known *upload.Status
	switch st, err := r.uploads.Known(id); {
	case err == nil:
		known = &st
	case !errors.Is(err, session.ErrNotFound):
		return nil, err
	}
	switch p := planFor(r.place, s, known); {
	case p.accept != nil:
		return r.accept(ctx, s, *p.accept, known == nil)
	case p.end != nil:
		st, err := r.uploads.Cancel(ctx, id, p.end.reason, p.end.message)
		if err != nil {
			return nil, fmt.Errorf("end upload %s: %w", id, err)
		}
		known = &st
	case p.reclaim:
		return r.reclaim(ctx, s)
	case p.release != nil:
		return r.release(ctx, s, v1alpha1.UploadOutcomeAborted, *p.release)
	case known == nil:
		return nil, nil
	}
	if planFor(r.place, s, known).reclaim { // the upload won
		return r.reclaim(ctx, s)
	}
	sh := shadowOf(*known)
	return &sh, nil
}

// reclaim removes the object of an upload, and says so in the same write as
// whatever else there is to tell.
func (r *sessions) reclaim(ctx context.Context, s *v1alpha1.UploadSession) (*shadow, error) {
	id := session.ID(s.UID)
	if err := r.uploads.Reclaim(ctx, id); err != nil {
		return nil, err
	}
	st, err := r.uploads.Known(id)
	if err != nil {
		return nil, err
	}
	sh := shadowOf(st)
	if s.Status.Result.Outcome != "" { // which is written once
		sh.progress, sh.result = s.Status.Progress, s.Status.Result
	}
	sh.reclaimed = shown(r.clock.Now())
	return &sh, nil
}

// accept takes an upload up, or applies what changed of its grant.
func (r *sessions) accept(ctx context.Context, s *v1alpha1.UploadSession, grant upload.Grant, isNew bool) (*shadow, error) {
	st, err := r.uploads.Accept(ctx, grant)
	if taken := (*upload.NameTakenError)(nil); errors.As(err, &taken) {
		if err := r.freeName(ctx, taken, grant.ID); err != nil {
			return nil, err
		}
		st, err = r.uploads.Accept(ctx, grant)
	}
	switch {
	case errors.Is(err, session.ErrUnusableName):
		return r.release(ctx, s, v1alpha1.UploadOutcomeFailed, ending{upload.KeyUnusable, fmt.Sprintf(keyUnusable, err)})
	case err != nil:
		return nil, fmt.Errorf("take up upload %s: %w", grant.ID, err)
	case isNew:
		r.log.Info("upload taken up", "session", grant.Name.String(), "uid", grant.ID,
			"key", grant.Key, "sizeBytes", grant.Size)
	}
	sh := shadowOf(st)
	return &sh, nil
}

// freeName forgets the upload that had a name before, once the API server
// itself says that the name belongs to the upload with the ID now.
func (r *sessions) freeName(ctx context.Context, taken *upload.NameTakenError, id session.ID) error {
	s, err := get(ctx, r.live, taken.Name)
	if err != nil {
		return err
	}
	if s == nil || session.ID(s.UID) != id {
		return fmt.Errorf("%w, and not %s's any more", taken, id)
	}
	r.log.Info("name was used again, its former upload is forgotten", "session", taken.Name.String(), "uid", taken.ID)
	return r.uploads.Forget(ctx, taken.ID)
}

// release makes sure that the volume holds nothing of an upload that is not
// known here, not even what could not be read when the volume was opened: the
// result says that no staged byte is left.
func (r *sessions) release(ctx context.Context, s *v1alpha1.UploadSession, outcome v1alpha1.UploadOutcome, e ending) (*shadow, error) {
	if err := r.uploads.Forget(ctx, session.ID(s.UID)); err != nil {
		return nil, err
	}
	sh := shadowOfUnbegun(s, outcome, e, r.clock.Now())
	return &sh, nil
}

// report writes what the status does not show yet: a result at once, progress
// when it is its turn.
func (r *sessions) report(ctx context.Context, s *v1alpha1.UploadSession, sh shadow) (reconcile.Result, error) {
	name := upload.Name{Namespace: s.Namespace, Name: s.Name}
	first, finished := r.pending.of(name)
	kind, known := metrics.Result, finished
	if s.Status.Result.Outcome != "" {
		known = first // it tells what came after the end
	}
	switch newsIn(s.Status, sh) {
	case nothing:
		r.pending.told(name)
		return reconcile.Result{}, nil
	case progressed:
		kind, known = metrics.Progress, first
		if taken, wait := r.pace.take(name, r.clock.Now()); !taken {
			return reconcile.Result{RequeueAfter: wait}, nil
		}
	case ended:
		r.pace.forget(name)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := r.cached.Status().Apply(ctx, sh.configuration(s),
		client.FieldOwner(v1alpha1.DataplaneFieldManager), client.ForceOwnership)
	r.metrics.Reported(kind, answerOf(err), known, r.clock.Now())
	switch {
	case apierrors.IsNotFound(err):
		r.pending.told(name)
		return reconcile.Result{}, nil // the watch is about to tell
	case apierrors.IsConflict(err):
		// The operator wrote meanwhile, or another session has the name: the cache is about to
		// show what counts.
		return reconcile.Result{RequeueAfter: afterConflict}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("apply the status of session %s: %w", name, err)
	}
	r.pending.told(name)
	return reconcile.Result{}, nil
}

func answerOf(err error) metrics.Answer {
	switch {
	case err == nil:
		return metrics.Written
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return metrics.OutOfDate
	}
	return metrics.NotAvailable
}

// get returns the session of that name, nil where there is none.
func get(ctx context.Context, reader client.Reader, name upload.Name) (*v1alpha1.UploadSession, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var s v1alpha1.UploadSession
	err := reader.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: name.Name}, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get session %s: %w", name, err)
	}
	return &s, nil
}
