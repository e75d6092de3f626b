package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// createdOf says how a session stands to whoever creates it, or why it will
// never take a chunk: upload.ErrDeleting, *upload.RejectedError.
func createdOf(s *v1alpha1.UploadSession) (upload.Created, error) {
	c := upload.Created{
		ID: session.ID(s.UID), Name: upload.Name{Namespace: s.Namespace, Name: s.Name}, Version: s.ResourceVersion,
		Key: s.Spec.Key, Size: ptr.Deref(s.Spec.SizeBytes, 0), ChunkSize: s.Spec.ChunkSizeBytes,
		Suspended: s.Spec.DesiredState == v1alpha1.DesiredStateSuspended,
	}
	if !s.DeletionTimestamp.IsZero() {
		return c, fmt.Errorf("%w: %s", upload.ErrDeleting, c.Name)
	}
	if admission := s.Status.Admission; admission.Replica != "" {
		c.Endpoint, c.ChunkSize = admission.Endpoint, admission.ChunkSizeBytes
	}
	switch {
	case s.Status.Result.Outcome != "":
		c.State, c.Result = stateOf(s.Status.Result.Outcome), resultOf(s.Status.Result)
	case !s.Status.CompletionTime.IsZero():
		c.State, c.Result = endOf(s)
		if s.Status.Admission.Replica == "" && c.State == session.Failed {
			return c, &upload.RejectedError{Name: c.Name, Result: *c.Result}
		}
	case s.Status.Admission.Replica == "":
		c.Waits = waitsOf(s)
	}
	return c, nil
}

func resultOf(r v1alpha1.UploadSessionResult) *upload.Result {
	return &upload.Result{
		Reason: upload.Reason(r.Reason), Message: r.Message,
		Digest: upload.Digest(r.Digest), Published: r.PublishedTime.Time,
	}
}

// endOf is how the operator ended a session itself.
func endOf(s *v1alpha1.UploadSession) (session.State, *upload.Result) {
	e := endedByOperator(s)
	if e.reason == upload.Cancelled {
		return session.Aborted, &upload.Result{Reason: e.reason, Message: e.message}
	}
	return session.Failed, &upload.Result{Reason: e.reason, Message: e.message}
}

func waitsOf(s *v1alpha1.UploadSession) *upload.Waits {
	c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAdmitted)
	if c == nil {
		return &upload.Waits{}
	}
	return &upload.Waits{Reason: c.Reason, Message: c.Message, Held: c.Reason == v1alpha1.ReasonSuspended}
}

// Bounds of what is passed on of the API server's refusals.
const (
	maxCauses       = 32
	maxCauseMessage = 1024 // bytes
)

// notCreated says why the API server created nothing, in the words of upload.Creator.
func notCreated(err error) error {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return fmt.Errorf("%w: %w", upload.ErrUnavailable, err)
	}
	said := status.Status()
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: %s", upload.ErrForbidden, shortened(said.Message))
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), said.Code == http.StatusRequestEntityTooLarge:
		return invalid(said)
	}
	return fmt.Errorf("%w: %w", upload.ErrUnavailable, err)
}

// invalid leaves out of what the API server says all that is not about the spec.
func invalid(said metav1.Status) error {
	no := &upload.InvalidError{Message: shortened(said.Message)}
	if said.Details == nil {
		return no
	}
	for _, cause := range said.Details.Causes[:min(maxCauses, len(said.Details.Causes))] {
		field := strings.TrimPrefix(strings.TrimPrefix(cause.Field, "spec"), ".")
		no.Causes = append(no.Causes, upload.Cause{Field: field, Message: shortened(cause.Message)})
	}
	return no
}

// shortened bounds a text, which may quote what the client sent.
func shortened(text string) string {
	if len(text) <= maxCauseMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxCauseMessage], "") + "..."
}
