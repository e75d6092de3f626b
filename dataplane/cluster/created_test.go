package cluster

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestWhyNothingWasCreated(t *testing.T) {
	sessions := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "uploadsessions"}
	long := strings.Repeat("\u00e4", maxCauseMessage)
	invalid := func(code int32, causes ...metav1.StatusCause) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: code, Reason: metav1.StatusReasonInvalid, Message: "no",
			Details: &metav1.StatusDetails{Causes: causes},
		}}
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"forbidden", apierrors.NewForbidden(sessions, "a", errors.New("quota")), upload.ErrForbidden},
		{"invalid", invalid(422), upload.ErrInvalidSpec},
		{"invalid of no detail", &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonInvalid}}, upload.ErrInvalidSpec},
		{"bad request", apierrors.NewBadRequest("webhook"), upload.ErrInvalidSpec},
		{"too large", apierrors.NewRequestEntityTooLargeError("etcd"), upload.ErrInvalidSpec},
		{"no namespace", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "ml"), upload.ErrUnavailable},
		{"a generated name is taken", apierrors.NewAlreadyExists(sessions, "a"), upload.ErrUnavailable},
		{"a quota changed meanwhile", apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "a", errors.New("x")), upload.ErrUnavailable},
		{"too many requests", apierrors.NewTooManyRequests("later", 1), upload.ErrUnavailable},
		{"unauthorized", apierrors.NewUnauthorized("expired"), upload.ErrUnavailable},
		{"timeout", apierrors.NewTimeoutError("slow", 1), upload.ErrUnavailable},
		{"internal", apierrors.NewInternalError(errors.New("etcd")), upload.ErrUnavailable},
		{"no answer", context.DeadlineExceeded, upload.ErrUnavailable},
	} {
		if got := notCreated(c.err); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}

	got, ok := errors.AsType[*upload.InvalidError](notCreated(invalid(http.StatusUnprocessableEntity,
		metav1.StatusCause{Field: "spec.key", Message: "is no path"},
		metav1.StatusCause{Field: "spec", Message: "has too many chunks"},
		metav1.StatusCause{Message: long},
	)))
	want := []upload.Cause{{Field: "key", Message: "is no path"}, {Message: "has too many chunks"}, {Message: long[:maxCauseMessage] + "..."}}
	if !ok || !reflect.DeepEqual(got.Causes, want) {
		t.Errorf("causes %+v", got)
	}
	many, ok := errors.AsType[*upload.InvalidError](notCreated(invalid(422, make([]metav1.StatusCause, 10*maxCauses)...)))
	if !ok || len(many.Causes) != maxCauses {
		t.Errorf("%d causes", len(many.Causes))
	}
}

func TestHowASessionStandsForWhoCreatesIt(t *testing.T) {
	whole := v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "abc", UID: "uid-1", ResourceVersion: "7"},
		Spec:       v1alpha1.UploadSessionSpec{Key: "a", SizeBytes: ptr.To[int64](10), ChunkSizeBytes: 3},
	}
	plain := upload.Created{
		ID: "uid-1", Name: upload.Name{Namespace: "ml", Name: "abc"}, Version: "7", Key: "a", Size: 10, ChunkSize: 3,
	}
	admitted := v1alpha1.UploadSessionAdmission{Replica: "models-0", Endpoint: "http://x", ChunkSizeBytes: 4}
	condition := func(conditionType, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: conditionType, Status: metav1.ConditionFalse, Reason: reason, Message: "why"}}
	}
	for _, c := range []struct {
		name string
		set  func(*v1alpha1.UploadSession)
		want func(*upload.Created)
		err  error
	}{
		{
			name: "new", set: func(*v1alpha1.UploadSession) {},
			want: func(c *upload.Created) { c.Waits = &upload.Waits{} },
		},
		{
			name: "waits", set: func(s *v1alpha1.UploadSession) {
				s.Status.Conditions = condition(v1alpha1.ConditionAdmitted, v1alpha1.ReasonStoreNotReady)
			},
			want: func(c *upload.Created) { c.Waits = &upload.Waits{Reason: "StoreNotReady", Message: "why"} },
		},
		{
			name: "suspended before its admission", set: func(s *v1alpha1.UploadSession) {
				s.Spec.DesiredState = v1alpha1.DesiredStateSuspended
				s.Status.Conditions = condition(v1alpha1.ConditionAdmitted, v1alpha1.ReasonSuspended)
			},
			want: func(c *upload.Created) {
				c.Suspended, c.Waits = true, &upload.Waits{Reason: "Suspended", Message: "why", Held: true}
			},
		},
		{
			name: "admitted", set: func(s *v1alpha1.UploadSession) { s.Status.Admission = admitted },
			want: func(c *upload.Created) { c.Endpoint, c.ChunkSize = "http://x", 4 },
		},
		{
			name: "ended on the volume", set: func(s *v1alpha1.UploadSession) {
				s.Status.Admission = admitted
				s.Status.Result = v1alpha1.UploadSessionResult{Outcome: v1alpha1.UploadOutcomeExpired, Reason: "IdleTimeout", Message: "late"}
			},
			want: func(c *upload.Created) {
				c.Endpoint, c.ChunkSize, c.State = "http://x", 4, session.Expired
				c.Result = &upload.Result{Reason: upload.IdleTimeout, Message: "late"}
			},
		},
		{
			name: "ended without its replica", set: func(s *v1alpha1.UploadSession) {
				s.Status.Admission, s.Status.CompletionTime = admitted, metav1.Now()
				s.Status.Conditions = condition(v1alpha1.ConditionSucceeded, v1alpha1.ReasonStoreGone)
			},
			want: func(c *upload.Created) {
				c.Endpoint, c.ChunkSize, c.State = "http://x", 4, session.Failed
				c.Result = &upload.Result{Reason: "StoreGone", Message: "why"}
			},
		},
		{
			name: "cancelled before its admission", set: func(s *v1alpha1.UploadSession) {
				s.Status.CompletionTime = metav1.Now()
				s.Status.Conditions = condition(v1alpha1.ConditionSucceeded, v1alpha1.ReasonCancelled)
			},
			want: func(c *upload.Created) {
				c.State, c.Result = session.Aborted, &upload.Result{Reason: upload.Cancelled, Message: "why"}
			},
		},
		{
			name: "rejected", set: func(s *v1alpha1.UploadSession) {
				s.Status.CompletionTime = metav1.Now()
				s.Status.Conditions = condition(v1alpha1.ConditionSucceeded, v1alpha1.ReasonExceedsStoreLimits)
			},
			err: upload.ErrRejected,
		},
		{
			name: "being deleted", set: func(s *v1alpha1.UploadSession) {
				s.Status.Admission, s.DeletionTimestamp = admitted, ptr.To(metav1.Now())
			},
			err: upload.ErrDeleting,
		},
	} {
		s, want := whole.DeepCopy(), plain
		c.set(s)
		got, err := createdOf(s)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if c.err != nil {
			continue
		}
		c.want(&want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got  %+v\nwant %+v", c.name, got, want)
		}
	}
}
