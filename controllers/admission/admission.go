package admission

import (
	"strings"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Refusal is why a session may not start.
type Refusal struct {
	// Reason is one of the reasons of condition Admitted.
	Reason string
	// About says what the session waits for. It stays the same while the session waits for the
	// same thing, so that what was written once need not be written again with other numbers.
	About string
	// Detail says what is needed, what there was, and what to do next.
	Detail string
	// Final means that the session ends.
	Final bool
	// InDoubt means that an earlier admission may have been written: only another write of the
	// session, whatever it says, tells for certain.
	InDoubt bool
}

// Message is what the condition says.
func (r *Refusal) Message() string { return r.About + r.Detail }

// ToldBy reports whether a condition tells of the refusal already, if with other numbers.
func (r *Refusal) ToldBy(reason, message string) bool {
	return reason == r.Reason && strings.HasPrefix(message, r.About)
}

// Admitted reports whether a session was ever admitted, and so may have bytes on the volume.
func Admitted(s *v1alpha1.UploadSession) bool {
	return s.Status.Admission.Replica != ""
}

// Finished reports whether a session ended, in whatever way.
func Finished(s *v1alpha1.UploadSession) bool {
	return s.Status.Result.Outcome != "" || !s.Status.CompletionTime.IsZero()
}

// Holds reports whether a session occupies its replica and its room.
func Holds(s *v1alpha1.UploadSession) bool {
	return Admitted(s) && !Finished(s)
}

// Asks reports whether a session asks to be admitted.
func Asks(s *v1alpha1.UploadSession) bool {
	return !Admitted(s) && !Finished(s) && s.DeletionTimestamp.IsZero() &&
		s.Spec.DesiredState == v1alpha1.DesiredStateActive
}

// Reclaims reports whether a session that is being deleted waits for its
// replica to remove the object.
func Reclaims(s *v1alpha1.UploadSession) bool {
	return !s.DeletionTimestamp.IsZero() && s.Status.ReclaimedTime.IsZero() &&
		s.Spec.ReclaimPolicy == v1alpha1.ReclaimPolicyDelete && s.Status.Result.Outcome == v1alpha1.UploadOutcomePublished
}

// Reserved sums what the admitted sessions that have not ended reserve.
func Reserved(sessions []v1alpha1.UploadSession) int64 {
	var sum int64
	for i := range sessions {
		if Holds(&sessions[i]) {
			sum += *sessions[i].Status.Admission.ReservedBytes
		}
	}
	return sum
}
