package admission

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Request is a session that asks to be admitted, and all there is to give.
type Request struct {
	// Session is the session that asks.
	Session *v1alpha1.UploadSession
	// Store is the store that the session names, nil when there is none.
	Store *v1alpha1.UploadStore
	// Sessions are the sessions of that store.
	Sessions []v1alpha1.UploadSession
}

// Refusal is why a session may not start.
type Refusal struct {
	// Reason is one of the reasons of condition Admitted.
	Reason string
	// Message says why, and what to do next.
	Message string
	// Final means that waiting can't help.
	Final bool
}

// Decide grants what a session asks for, or says why not.
func Decide(r Request, now time.Time) (v1alpha1.UploadSessionAdmission, *Refusal) {
	for _, refuses := range rules {
		if refusal := refuses(r); refusal != nil {
			return v1alpha1.UploadSessionAdmission{}, refusal
		}
	}
	replica, reserved := leastBusy(r), *r.Session.Spec.SizeBytes
	return v1alpha1.UploadSessionAdmission{
		Replica:            replica.Name,
		Endpoint:           replica.Endpoint,
		ChunkSizeBytes:     chunkSizeBytes(r),
		IdleTimeoutSeconds: r.Store.Spec.Defaults.IdleTimeoutSeconds,
		ReservedBytes:      &reserved,
		AdmittedTime:       metav1.NewTime(now),
	}, nil
}

// Admitted reports whether a session was ever admitted, and so may have bytes on the volume.
func Admitted(s *v1alpha1.UploadSession) bool {
	return s.Status.Admission.Replica != ""
}

// Finished reports whether a session ended, in whatever way.
func Finished(s *v1alpha1.UploadSession) bool {
	return s.Status.Result.Outcome != "" || !s.Status.CompletionTime.IsZero()
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

// Holds reports whether a session occupies its replica and its room.
func Holds(s *v1alpha1.UploadSession) bool {
	return Admitted(s) && !Finished(s)
}

// leastBusy returns the live replica that holds the fewest sessions, the first
// by name among equals.
func leastBusy(r Request) v1alpha1.UploadStoreReplica {
	load := map[string]int{}
	for i := range r.Sessions {
		if Holds(&r.Sessions[i]) {
			load[r.Sessions[i].Status.Admission.Replica]++
		}
	}
	best := r.Store.Status.Replicas[0]
	for _, next := range r.Store.Status.Replicas[1:] {
		if load[next.Name] < load[best.Name] || load[next.Name] == load[best.Name] && next.Name < best.Name {
			best = next
		}
	}
	return best
}

// chunkSizeBytes returns the session's own chunk size or the store's default,
// which the API server always fills in.
func chunkSizeBytes(r Request) int64 {
	return cmp.Or(r.Session.Spec.ChunkSizeBytes, r.Store.Spec.Defaults.ChunkSizeBytes)
}
