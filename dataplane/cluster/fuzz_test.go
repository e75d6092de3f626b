package cluster

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// FuzzGrant: whatever an UploadSession holds, reading it never panics, and what
// it grants is of that session, for this replica, and ends no earlier than it was admitted.
func FuzzGrant(f *testing.F) {
	for _, s := range []*v1alpha1.UploadSession{
		aSession(), aSession(notYetAdmitted), aSession(deleted), aSession(cancelled), aSession(publishedAlready), aSession(storeGone),
		aSession(func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = nil }),
		aSession(func(s *v1alpha1.UploadSession) { s.UID = "../other" }),
		aSession(func(s *v1alpha1.UploadSession) { s.Spec.Key = "../up" }),
		aSession(func(s *v1alpha1.UploadSession) { s.Status.Admission.ChunkSizeBytes = -1 }),
		aSession(func(s *v1alpha1.UploadSession) { s.Spec.DigestAlgorithm, s.Spec.Digest = "MD5", "md5:" }),
	} {
		b, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{"{}", "null", `{"status":{"admission":{"replica":"models-0"}}}`, `{"spec":{"activeDeadlineSeconds":-2147483648}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s v1alpha1.UploadSession
		if json.Unmarshal(b, &s) != nil {
			return
		}
		_, _ = createdOf(&s) // it may be anything
		grant, err := here.grantOf(&s)
		if err != nil {
			for _, known := range []error{upload.ErrElsewhere, upload.ErrNotReady, session.ErrEnded} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("an unknown refusal: %v", err)
		}
		if grant.ID != session.ID(s.UID) || grant.Name != (upload.Name{Namespace: s.Namespace, Name: s.Name}) || grant.Key != s.Spec.Key ||
			s.Status.Admission.Replica != here.replica || s.Spec.StoreRef.Name != here.store {
			t.Errorf("%s grants %+v", b, grant)
		}
		if !s.DeletionTimestamp.IsZero() || s.Status.Result.Outcome != "" || s.Spec.DesiredState == v1alpha1.DesiredStateCancelled {
			t.Errorf("%s is over, and grants %+v", b, grant)
		}
		if s.Spec.ActiveDeadlineSeconds >= 0 && s.Status.Admission.ActiveDeadlineSeconds >= 0 && s.Status.Admission.MaxActiveDeadlineSeconds >= 0 &&
			grant.Deadline.Before(s.Status.Admission.AdmittedTime.Time) {
			t.Errorf("it was admitted at %v and ends at %v", s.Status.Admission.AdmittedTime, grant.Deadline)
		}
	})
}
