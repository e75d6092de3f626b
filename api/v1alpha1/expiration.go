package v1alpha1

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Expiration returns when a session with this admission ends if it is not complete by then: its active
// deadline after the admission, no later than its store let it, and as much later as it was suspended.
func (a UploadSessionAdmission) Expiration(spec UploadSessionSpec, suspended time.Duration) time.Time {
	asked := cmp.Or(spec.ActiveDeadlineSeconds, a.ActiveDeadlineSeconds, DefaultActiveDeadlineSeconds)
	active := min(asked, cmp.Or(a.MaxActiveDeadlineSeconds, asked))
	return a.AdmittedTime.Add(inSeconds(active) + min(suspended, a.MaxSuspended()))
}

// MaxSuspended returns for how long in all the deadline of a session with this admission stands still.
func (a UploadSessionAdmission) MaxSuspended() time.Duration {
	return inSeconds(cmp.Or(a.MaxSuspendedSeconds, DefaultMaxSuspendedSeconds))
}

// Suspended returns for how long the deadline of a session stands still, for whoever reads it before or after
// the operator: as long as it may at most while it is suspended or the operator has yet to act on its spec.
func (s *UploadSession) Suspended() time.Duration {
	seen := s.Status.ObservedGeneration
	if s.Spec.DesiredState == DesiredStateSuspended || seen != nil && *seen != s.Generation {
		return s.Status.Admission.MaxSuspended()
	}
	return s.Status.Suspended()
}

// Suspended returns for how long the deadline of a session stands still as its status has it: as long as it may at
// most while it is suspended, and otherwise as long as it was.
func (s UploadSessionStatus) Suspended() time.Duration {
	if !s.SuspendedTime.IsZero() {
		return s.Admission.MaxSuspended()
	}
	return s.SuspendedFor()
}

// SuspendedFor returns for how long a session was suspended until it was last resumed.
func (s UploadSessionStatus) SuspendedFor() time.Duration {
	if s.SuspendedSeconds == nil {
		return 0
	}
	return inSeconds(*s.SuspendedSeconds)
}

// Suspend brings what the status says of suspensions up to date: a suspension begins now where the status has
// none, and the one that it has ends now where the session is not suspended any more.
func (s *UploadSessionStatus) Suspend(suspended bool, now metav1.Time) {
	switch {
	case suspended && s.SuspendedTime.IsZero():
		s.SuspendedTime = now
	case !suspended && !s.SuspendedTime.IsZero():
		longer := max(0, now.Sub(s.SuspendedTime.Time))
		total := int32(min(s.SuspendedFor()+longer, s.Admission.MaxSuspended()) / time.Second)
		s.SuspendedSeconds, s.SuspendedTime = &total, metav1.Time{}
	}
}

func inSeconds(n int32) time.Duration { return time.Duration(n) * time.Second }
