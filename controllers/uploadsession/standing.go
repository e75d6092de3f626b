package uploadsession

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
)

// expiryGrace is how long a replica has to end a session whose deadline passed
// before the status shows that it has not.
const expiryGrace = 30 * time.Second

// missedAfter is how long the Lease of a replica must have run out before its sessions tell of it. A
// shorter lapse, such as a restart, is told by the store alone: it would be two writes for each session.
const missedAfter = time.Minute

// facts is what the rules look at: what was observed, and what the plan grants.
type facts struct {
	observation
	now        time.Time
	stamp      metav1.Time // now, as the API server keeps it
	admission  v1alpha1.UploadSessionAdmission
	expiration time.Time
	// started is when the operator first saw the session.
	started time.Time
}

// standing is how a session stands: what condition Succeeded says of it, and
// when it ended. The other conditions follow from it.
type standing struct {
	succeeded metav1.ConditionStatus
	reason    string
	message   string
	ended     metav1.Time
	// left is what the replica has yet to do although the session has ended, for people; mostly nothing.
	left string
}

// rules are asked in order, and the first that applies says how the session
// stands. The volume's own word comes first, then what is over, then what is
// waited for. A session to which none applies is uploading.
var rules = []func(facts) *standing{
	hasResult,
	hasEnded,
	cancelledBeforeAdmission,
	waitedTooLong,
	refused,
	storeGone,
	replicaGone,
	deleting,
	cancelling,
	expiring,
	suspended,
	replicaNotReady,
}

// failed reports whether the session ended without an object, in whatever way: nobody need wait for it any more.
func (s standing) failed() bool {
	return s.succeeded == metav1.ConditionFalse
}

func stand(f facts) standing {
	for _, rule := range rules {
		if s := rule(f); s != nil {
			return *s
		}
	}
	return uploading(f)
}

func hasResult(f facts) *standing {
	result := f.session.Status.Result
	if result.Outcome == "" {
		return nil
	}
	s := standing{succeeded: metav1.ConditionFalse, reason: result.Reason, message: result.Message, ended: result.FinishedTime}
	if result.Outcome == v1alpha1.UploadOutcomePublished {
		s.succeeded = metav1.ConditionTrue
		s.message = cmp.Or(s.message, "The object is verified and published; status.result has its key and digest.")
	}
	if admission.Reclaims(f.session) {
		s.left = "The session is being deleted: " + f.awaitsReplica("remove the object")
	}
	return &s
}

func hasEnded(f facts) *standing {
	status := f.session.Status
	before := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionSucceeded)
	if status.CompletionTime.IsZero() || before == nil {
		return nil
	}
	return &standing{succeeded: before.Status, reason: before.Reason, message: before.Message, ended: status.CompletionTime}
}

func cancelledBeforeAdmission(f facts) *standing {
	if f.admitted() || f.session.Spec.DesiredState != v1alpha1.DesiredStateCancelled {
		return nil
	}
	return f.end(v1alpha1.ReasonCancelled, "The session was cancelled before it was admitted; no byte was taken.")
}

// waitedTooLong ends a session that nobody admits: it would stay for ever, and take its part of the operator.
func waitedTooLong(f facts) *standing {
	if f.admitted() || f.now.Before(f.started.Add(queueDeadline(f.session.Spec))) {
		return nil
	}
	if f.refusal != nil && f.refusal.Final {
		return nil // it says more
	}
	return f.end(v1alpha1.ReasonQueueDeadlineExceeded, fmt.Sprintf("The session was not admitted within %v (queueDeadlineSeconds); no byte was taken. %s",
		queueDeadline(f.session.Spec), f.waitedFor()))
}

// waitedFor says what a session that was never admitted was told last, and what to do next.
func (f facts) waitedFor() string {
	const next = "Create it again."
	before := meta.FindStatusCondition(f.session.Status.Conditions, v1alpha1.ConditionAdmitted)
	if before == nil {
		return next
	}
	return fmt.Sprintf("It waited for this: %s %s", before.Message, next)
}

func refused(f facts) *standing {
	switch {
	case f.refusal == nil:
		return nil
	case f.refusal.Final:
		return f.end(f.refusal.Reason, f.refusal.Message())
	}
	before := meta.FindStatusCondition(f.session.Status.Conditions, v1alpha1.ConditionAdmitted)
	if before != nil && !f.refusal.InDoubt && f.refusal.ToldBy(before.Reason, before.Message) {
		return waits(before.Reason, before.Message) // other numbers alone are no news
	}
	return waits(f.refusal.Reason, f.refusal.Message())
}

func storeGone(f facts) *standing {
	if f.store != nil || !f.admitted() || f.replicaAlive() {
		return nil
	}
	return f.end(v1alpha1.ReasonStoreGone, fmt.Sprintf("UploadStore %q was deleted and replica %q is not alive: "+
		"create the store and the session again.", f.session.Spec.StoreRef.Name, f.admission.Replica))
}

// replicaGone ends a session rather than have another replica take it up: what
// is gone holds what was sent, and may have published it.
func replicaGone(f facts) *standing {
	if !f.admitted() || f.replicaAlive() {
		return nil
	}
	if wait, said := f.replica.GoneIn(); !said || wait > 0 {
		return nil
	}
	return f.end(v1alpha1.ReasonReplicaGone, fmt.Sprintf("Replica %q is gone for good, as its Lease says, with all that it held: "+
		"create the session again and send everything anew.", f.admission.Replica))
}

func deleting(f facts) *standing {
	if f.session.DeletionTimestamp.IsZero() {
		return nil
	}
	return waits(v1alpha1.ReasonDeleting, "The session is being deleted: "+f.awaitsReplica("free the staged bytes"))
}

func cancelling(f facts) *standing {
	if f.session.Spec.DesiredState != v1alpha1.DesiredStateCancelled {
		return nil
	}
	return waits(v1alpha1.ReasonCancelling, "desiredState is Cancelled: "+f.awaitsReplica("free the staged bytes"))
}

func expiring(f facts) *standing {
	if !f.admitted() || f.now.Before(f.expiration.Add(expiryGrace)) {
		return nil
	}
	return waits(v1alpha1.ReasonExpiring, "The session's expirationTime has passed: "+f.awaitsReplica("free the staged bytes"))
}

func suspended(f facts) *standing {
	switch {
	case f.session.Spec.DesiredState != v1alpha1.DesiredStateSuspended:
		return nil
	case f.admitted():
		return waits(v1alpha1.ReasonSuspended, fmt.Sprintf("What is held is kept until %s at the latest, as the store's "+
			"limits.maxSuspendedSeconds has it, and no chunk is taken: set desiredState to Active to go on.",
			f.expiration.UTC().Format(time.RFC3339)))
	default:
		return waits(v1alpha1.ReasonSuspended, "The session is not admitted while it is suspended: set desiredState to Active to start it.")
	}
}

func replicaNotReady(f facts) *standing {
	if !f.replicaMissed() {
		return nil
	}
	return waits(v1alpha1.ReasonReplicaNotReady, fmt.Sprintf("Replica %q holds the session's bytes and is not alive: "+
		"the session goes on when the replica is started again.", f.admission.Replica))
}

func uploading(f facts) standing {
	return *waits(v1alpha1.ReasonUploading, fmt.Sprintf("Send the chunks to %s/v1/namespaces/%s/uploadsessions/%s.",
		f.admission.Endpoint, f.session.Namespace, f.session.Name))
}

// end is how a session stands that the operator itself ends.
func (f facts) end(reason, message string) *standing {
	return &standing{succeeded: metav1.ConditionFalse, reason: reason, message: message, ended: f.stamp}
}

// waits is how a session stands that is not over.
func waits(reason, message string) *standing {
	return &standing{succeeded: metav1.ConditionUnknown, reason: reason, message: message}
}

func (f facts) admitted() bool {
	return f.admission.Replica != ""
}

// replicaAlive reports whether the session's replica is alive: the store's
// status says so, and without a store the replica's own Lease, with which a replica is alive that may be.
func (f facts) replicaAlive() bool {
	if f.store == nil {
		return f.replica.MayBeAlive()
	}
	return listed(f.store, f.admission.Replica)
}

// replicaMissed reports whether the session's replica has been away for so long that its sessions tell
// of it. One without a Lease is missed at once, and so is one whose Lease had run out when the operator first saw it.
func (f facts) replicaMissed() bool {
	return !f.replicaAlive() && (f.replica.InDoubt || f.replica.Left+missedAfter <= 0)
}

// awaitsReplica says what the replica has to do before the session goes.
func (f facts) awaitsReplica(to string) string {
	if !f.replicaMissed() {
		return fmt.Sprintf("replica %q has yet to %s.", f.admission.Replica, to)
	}
	return fmt.Sprintf("replica %q has yet to %s and is not alive; start it again.", f.admission.Replica, to)
}
