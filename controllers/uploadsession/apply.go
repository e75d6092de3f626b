package uploadsession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/conditions"
)

// writeWithin bounds the write of a status, and so of an admission. It is less
// than what lies between the time when a leader that can't renew its Lease
// stops and the time when the next one starts (10 and 15 seconds after the last
// renewal), so that no admission of the one comes after the first of the other.
const writeWithin = 4 * time.Second

// maxNoteBytes is the longest note that the API server takes with an event.
const maxNoteBytes = 1024

// apply does all the writes of a reconcile. Each of them holds for the session
// as it was observed or not at all: it carries the UID and the resource version.
// The outcome is that of the status.
func (r *Reconciler) apply(ctx context.Context, session *v1alpha1.UploadSession, p plan) (admission.Settled, error) {
	var outcome admission.Settled
	if p.addFinalizer {
		if err := r.addFinalizer(ctx, session); err != nil {
			return outcome, fmt.Errorf("add the finalizer: %w", err)
		}
	}
	if p.status != nil {
		observed := session.ResourceVersion
		if err := r.applyStatus(ctx, session, p.status); err != nil {
			outcome = admission.Settled{Lost: !refusedByServer(err), Against: observed}
			return outcome, fmt.Errorf("apply the session's status: %w", err)
		}
		outcome.Version = session.ResourceVersion
	}
	return outcome, r.applyRest(ctx, session, p)
}

// applyRest does what comes after the status.
func (r *Reconciler) applyRest(ctx context.Context, session *v1alpha1.UploadSession, p plan) error {
	if p.removeFinalizer {
		if err := r.removeFinalizer(ctx, session); err != nil {
			return fmt.Errorf("remove the finalizer: %w", err)
		}
	}
	r.count(session, p.transition, r.Clock.Now())
	if e := p.event; e != nil {
		note := strings.ToValidUTF8(e.note[:min(len(e.note), maxNoteBytes)], "")
		r.Recorder.Eventf(session, nil, e.eventType, e.reason, e.action, "%s", note)
	}
	if p.remove {
		observed := client.Preconditions{UID: &session.UID, ResourceVersion: &session.ResourceVersion}
		if err := r.Client.Delete(ctx, session, observed); err != nil {
			return fmt.Errorf("delete the finished session: %w", err)
		}
	}
	return nil
}

func (r *Reconciler) addFinalizer(ctx context.Context, session *v1alpha1.UploadSession) error {
	desired := configuration(session).WithFinalizers(v1alpha1.StagingFinalizer)
	if err := r.Client.Apply(ctx, desired, client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership); err != nil {
		return err
	}
	session.ResourceVersion = *desired.ResourceVersion
	return nil
}

// removeFinalizer patches instead of applying: an apply would leave a
// finalizer that somebody else owns too, such as a restored backup, for ever.
func (r *Reconciler) removeFinalizer(ctx context.Context, session *v1alpha1.UploadSession) error {
	observed := client.MergeFromWithOptions(session.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(session, v1alpha1.StagingFinalizer)
	return r.Client.Patch(ctx, session, observed, client.FieldOwner(v1alpha1.OperatorFieldManager))
}

func (r *Reconciler) applyStatus(ctx context.Context, session *v1alpha1.UploadSession, status *v1alpha1.UploadSessionStatus) error {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	desired := configuration(session).WithStatus(statusConfiguration(status))
	err := r.Client.Status().Apply(ctx, desired, client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership)
	if err != nil {
		return err
	}
	session.ResourceVersion = *desired.ResourceVersion
	return nil
}

// refusedByServer reports whether an error is the API server's own word that
// it did not write. Any other one, such as a connection that broke, leaves open
// whether it did or will.
func refusedByServer(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout
}

func configuration(session *v1alpha1.UploadSession) *applyv1alpha1.UploadSessionApplyConfiguration {
	return applyv1alpha1.UploadSession(session.Name, session.Namespace).
		WithUID(session.UID).
		WithResourceVersion(session.ResourceVersion)
}

// statusConfiguration names every field that the operator owns: what it leaves
// out is removed, and what it never names is the dataplane's.
func statusConfiguration(s *v1alpha1.UploadSessionStatus) *applyv1alpha1.UploadSessionStatusApplyConfiguration {
	c := applyv1alpha1.UploadSessionStatus().
		WithConditions(conditions.Apply(s.Conditions)...).
		WithStartTime(s.StartTime)
	c.ObservedGeneration = s.ObservedGeneration
	if s.Display != (v1alpha1.UploadSessionDisplay{}) {
		c.WithDisplay(displayConfiguration(s.Display))
	}
	if a := s.Admission; a.Replica != "" {
		c.WithExpirationTime(s.ExpirationTime)
		c.WithAdmission(admissionConfiguration(a))
	}
	if !s.SuspendedTime.IsZero() {
		c.WithSuspendedTime(s.SuspendedTime)
	}
	c.SuspendedSeconds = s.SuspendedSeconds
	if !s.CompletionTime.IsZero() {
		c.WithCompletionTime(s.CompletionTime)
	}
	return c
}

func displayConfiguration(d v1alpha1.UploadSessionDisplay) *applyv1alpha1.UploadSessionDisplayApplyConfiguration {
	c := applyv1alpha1.UploadSessionDisplay()
	if d.Key != "" {
		c.WithKey(d.Key)
	}
	if d.Owner != "" {
		c.WithOwner(d.Owner)
	}
	if d.Message != "" {
		c.WithMessage(d.Message)
	}
	return c
}

// admissionConfiguration leaves out what the store did not say.
func admissionConfiguration(a v1alpha1.UploadSessionAdmission) *applyv1alpha1.UploadSessionAdmissionApplyConfiguration {
	c := applyv1alpha1.UploadSessionAdmission().
		WithReplica(a.Replica).
		WithEndpoint(a.Endpoint).
		WithChunkSizeBytes(a.ChunkSizeBytes).
		WithIdleTimeoutSeconds(a.IdleTimeoutSeconds).
		WithReservedBytes(*a.ReservedBytes).
		WithAdmittedTime(a.AdmittedTime)
	c.TTLSecondsAfterFinished = a.TTLSecondsAfterFinished
	if a.ActiveDeadlineSeconds != 0 {
		c.WithActiveDeadlineSeconds(a.ActiveDeadlineSeconds)
	}
	if a.MaxIdleTimeoutSeconds != 0 {
		c.WithMaxIdleTimeoutSeconds(a.MaxIdleTimeoutSeconds)
	}
	if a.MaxActiveDeadlineSeconds != 0 {
		c.WithMaxActiveDeadlineSeconds(a.MaxActiveDeadlineSeconds)
	}
	if a.MaxSuspendedSeconds != 0 {
		c.WithMaxSuspendedSeconds(a.MaxSuspendedSeconds)
	}
	if a.Access != "" {
		c.WithAccess(a.Access)
	}
	return c
}
