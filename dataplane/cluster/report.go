package cluster

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// maxMessageBytes bounds the message of a result.
const maxMessageBytes = 1024

// shadow is what the dataplane owns of a session's status. A field is zero
// where there is nothing to tell.
type shadow struct {
	progress v1alpha1.UploadSessionProgress
	result   v1alpha1.UploadSessionResult
	// reclaimed is when the object was seen to be gone; zero where it is not to go.
	reclaimed metav1.Time
}

// shadowOf returns what a session's status should show of an upload. The
// result comes once no staged byte is left, which is what its presence promises.
func shadowOf(st upload.Status) shadow {
	m := st.Meta
	sh := shadow{progress: v1alpha1.UploadSessionProgress{
		ReceivedBytes:    ptr.To(m.HeldBytes),
		ReceivedChunks:   ptr.To(int32(m.HeldChunks)), // at most session.MaxChunks
		TotalChunks:      ptr.To(int32(m.Spec.Chunks())),
		Percent:          ptr.To(percent(m)),
		LastActivityTime: shown(m.LastActivity),
	}}
	if st.Result == nil || !m.Settled {
		return sh
	}
	sh.result = v1alpha1.UploadSessionResult{
		Outcome:      outcomeOf(m.State),
		Reason:       string(st.Result.Reason),
		Message:      bounded(st.Result.Message),
		FinishedTime: shown(m.Ended),
	}
	if m.State == session.Finished {
		sh.result.Key = st.Grant.Key
		sh.result.SizeBytes = ptr.To(st.Grant.Size)
		sh.result.Digest = string(st.Result.Digest)
		sh.result.PublishedTime = shown(st.Result.Published)
	}
	return sh
}

// shadowOfUnbegun returns what a session's status should show of an upload of
// which the volume holds nothing and never will. Progress stays as it is shown.
func shadowOfUnbegun(s *v1alpha1.UploadSession, outcome v1alpha1.UploadOutcome, e ending, now time.Time) shadow {
	return shadow{
		progress: s.Status.Progress,
		result: v1alpha1.UploadSessionResult{
			Outcome: outcome, Reason: string(e.reason), Message: bounded(e.message), FinishedTime: shown(now),
		},
	}
}

// news is what a session's status does not show yet.
type news int

const (
	nothing news = iota
	progressed
	ended
)

// newsIn compares what a status shows with what it should show.
func newsIn(status v1alpha1.UploadSessionStatus, sh shadow) news {
	switch {
	case status.ReclaimedTime.IsZero() && !sh.reclaimed.IsZero():
		return ended
	case status.Result.Outcome != "":
		return nothing // it is written once
	case sh.result.Outcome != "":
		return ended
	case status.Progress.ReceivedBytes == nil && ptr.Deref(sh.progress.ReceivedChunks, 0) == 0:
		return nothing // not worth a write
	case equality.Semantic.DeepEqual(status.Progress, sh.progress):
		return nothing
	}
	return progressed
}

// configuration is the one write that makes the status of a session show it.
// It holds for the session as it was seen: the API server does not look at the
// UID of a status, and another session may have the name by now.
func (sh shadow) configuration(s *v1alpha1.UploadSession) *applyv1alpha1.UploadSessionApplyConfiguration {
	status := applyv1alpha1.UploadSessionStatus()
	if p := sh.progress; p.ReceivedBytes != nil {
		progress := applyv1alpha1.UploadSessionProgress()
		progress.ReceivedBytes, progress.ReceivedChunks = p.ReceivedBytes, p.ReceivedChunks
		progress.TotalChunks, progress.Percent = p.TotalChunks, p.Percent
		if !p.LastActivityTime.IsZero() {
			progress.WithLastActivityTime(p.LastActivityTime)
		}
		status.WithProgress(progress)
	}
	if r := sh.result; r.Outcome != "" {
		result := applyv1alpha1.UploadSessionResult().
			WithOutcome(r.Outcome).WithReason(r.Reason).WithFinishedTime(r.FinishedTime)
		if r.Message != "" {
			result.WithMessage(r.Message)
		}
		if r.Outcome == v1alpha1.UploadOutcomePublished {
			result.WithKey(r.Key).WithSizeBytes(*r.SizeBytes).WithDigest(r.Digest).WithPublishedTime(r.PublishedTime)
		}
		status.WithResult(result)
	}
	if !sh.reclaimed.IsZero() {
		status.WithReclaimedTime(sh.reclaimed)
	}
	return applyv1alpha1.UploadSession(s.Name, s.Namespace).WithResourceVersion(s.ResourceVersion).WithStatus(status)
}

var outcomes = map[session.State]v1alpha1.UploadOutcome{
	session.Finished: v1alpha1.UploadOutcomePublished,
	session.Failed:   v1alpha1.UploadOutcomeFailed,
	session.Aborted:  v1alpha1.UploadOutcomeAborted,
	session.Expired:  v1alpha1.UploadOutcomeExpired,
}

func outcomeOf(state session.State) v1alpha1.UploadOutcome { return outcomes[state] }

// stateOf is the state behind an outcome; session.Aborted where there is none yet.
func stateOf(outcome v1alpha1.UploadOutcome) session.State {
	for state, o := range outcomes {
		if o == outcome {
			return state
		}
	}
	return session.Aborted
}

// percent is rounded down. Once there is an object it is all there, also one that is empty or was adopted.
func percent(m session.Meta) int32 {
	switch {
	case m.State == session.Finished:
		return 100
	case m.Spec.Size > 0:
		return int32(m.HeldBytes * 100 / m.Spec.Size) // at most 2^47 * 100
	}
	return 0
}

// shown is a time as the API server keeps it, in whole seconds, so that it
// compares equal to what comes back.
func shown(t time.Time) metav1.Time {
	if t.IsZero() {
		return metav1.Time{}
	}
	return metav1.NewTime(t.Truncate(time.Second))
}

// bounded cuts a message that is too long between two characters.
func bounded(message string) string {
	if len(message) > maxMessageBytes {
		message = message[:maxMessageBytes]
	}
	return strings.ToValidUTF8(message, "")
}
