package uploadsession

import (
	"cmp"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/conditions"
	"github.com/slipway-dev/slipway/controllers/display"
)

// freeWithin is how long a deleted session waits for its replica to free the staged bytes, and
// to remove the object where that is to go too.
const freeWithin = 2 * time.Minute

// plan is what a reconcile writes, in this order, and when it looks again.
type plan struct {
	// addFinalizer comes before the admission that makes staged bytes possible, and again when somebody
	// has replaced the session with a file of theirs, in which there is none.
	addFinalizer bool
	// status is the operator's whole part of the status, nil when it is as it should be.
	status *v1alpha1.UploadSessionStatus
	// removeFinalizer lets a deleted session go.
	removeFinalizer bool
	// event tells of what the writes above did, nil when that is not news.
	event *event
	// transition is what the writes above did, to be counted.
	transition transition
	// remove deletes a session whose time after its end is over.
	remove bool
	// requeueAfter is when time alone changes the plan; 0 when it does not.
	requeueAfter time.Duration
}

// event is what happened, for people.
type event struct {
	eventType, reason, action, note string
}

// leastKept is how long a session that ended is kept, however short its ttlSecondsAfterFinished is: a
// client whose reply was lost comes back and asks, and learns from the session how it ended.
const leastKept = time.Minute

func planFor(o observation, now time.Time) plan {
	if !o.session.DeletionTimestamp.IsZero() {
		return planDeparture(o, now)
	}
	desired := desiredStatus(o, now)
	p := plan{
		addFinalizer: desired.Admission.Replica != "" && !controllerutil.ContainsFinalizer(o.session, v1alpha1.StagingFinalizer) &&
			(!admission.Admitted(o.session) || wouldLeave(o.session, desired)),
		status:     changed(o.session, desired),
		event:      news(o.session, desired),
		transition: transitionOf(o, desired),
	}
	switch ttl := cmp.Or(o.session.Spec.TTLSecondsAfterFinished, desired.Admission.TTLSecondsAfterFinished); {
	case desired.CompletionTime.IsZero():
		p.requeueAfter = nextChange(o, desired, now)
	case ttl != nil:
		p.requeueAfter = until(desired.CompletionTime.Add(max(seconds(*ttl), leastKept)), now)
		p.remove = p.requeueAfter == 0
	}
	return p
}

// planDeparture is the plan for a session that is being deleted. It goes once
// no staged byte is left, nor an object that is to go with it, or its replica
// had its time for that; what goes gets no more status, for nobody will read it.
func planDeparture(o observation, now time.Time) plan {
	if !controllerutil.ContainsFinalizer(o.session, v1alpha1.StagingFinalizer) {
		return plan{}
	}
	if !admission.Admitted(o.session) {
		return plan{removeFinalizer: true}
	}
	desired := desiredStatus(o, now)
	left := leftovers(o.session, desired)
	if left == nil {
		return plan{removeFinalizer: true, event: news(o.session, desired), transition: transitionOf(o, desired)}
	}
	wait := until(o.session.DeletionTimestamp.Add(freeWithin), now)
	if wait == 0 {
		return plan{removeFinalizer: true, event: left, transition: abandoned(o, desired)}
	}
	return plan{
		status: changed(o.session, desired), event: news(o.session, desired), transition: transitionOf(o, desired), requeueAfter: wait,
	}
}

// wouldLeave reports whether something were left of a session that is deleted and goes at once.
func wouldLeave(s *v1alpha1.UploadSession, desired v1alpha1.UploadSessionStatus) bool {
	deleted := *s
	deleted.DeletionTimestamp = &s.Status.Admission.AdmittedTime
	return leftovers(&deleted, desired) != nil
}

// leftovers returns what to tell when a session that is being deleted goes
// now: what its replica has not confirmed yet. It is nil where nothing is left.
func leftovers(s *v1alpha1.UploadSession, desired v1alpha1.UploadSessionStatus) *event {
	left := event{eventType: corev1.EventTypeWarning, action: "Release"}
	switch {
	case desired.CompletionTime.IsZero():
		left.reason = v1alpha1.ReasonStagedBytesLeft
		left.note = fmt.Sprintf("Replica %q did not confirm within %v that the staged bytes are freed; it sweeps them when it is back.",
			desired.Admission.Replica, freeWithin)
	case admission.Reclaims(s):
		left.reason = v1alpha1.ReasonObjectLeft
		left.note = fmt.Sprintf("Replica %q did not confirm within %v that the object is removed; it removes it when it is back. The key is %q.",
			desired.Admission.Replica, freeWithin, s.Status.Result.Key)
	default:
		return nil
	}
	return &left
}

// conditionTypes are the conditions that the operator owns.
var conditionTypes = []string{
	v1alpha1.ConditionAdmitted, v1alpha1.ConditionAcceptingChunks, v1alpha1.ConditionSucceeded,
	v1alpha1.ConditionReady, v1alpha1.ConditionStalled,
}

// ownStatus returns what the operator owns of the status.
func ownStatus(s *v1alpha1.UploadSession) v1alpha1.UploadSessionStatus {
	own := *s.Status.DeepCopy()
	own.Progress = v1alpha1.UploadSessionProgress{}
	own.Result = v1alpha1.UploadSessionResult{}
	own.ReclaimedTime = metav1.Time{}
	own.Conditions = conditions.Own(own.Conditions, conditionTypes...)
	return own
}

// desiredStatus is what the operator's part of the status should be now.
func desiredStatus(o observation, now time.Time) v1alpha1.UploadSessionStatus {
	// The API server keeps whole seconds; anything finer would differ for ever.
	stamp := metav1.NewTime(now.Truncate(time.Second))
	desired := ownStatus(o.session)
	desired.ObservedGeneration = ptr.To(o.session.Generation)
	if desired.StartTime.IsZero() {
		desired.StartTime = stamp
	}
	f := facts{observation: o, now: now, stamp: stamp, started: desired.StartTime.Time}
	if o.granted.Replica != "" {
		desired.Admission = o.granted
	}
	if desired.Admission.Replica != "" {
		if desired.CompletionTime.IsZero() {
			desired.Suspend(o.session.Spec.DesiredState == v1alpha1.DesiredStateSuspended, stamp)
		}
		desired.ExpirationTime = metav1.NewTime(desired.Admission.Expiration(o.session.Spec, desired.Suspended()))
	}
	f.admission, f.expiration = desired.Admission, desired.ExpirationTime.Time

	s := stand(f)
	desired.CompletionTime = s.ended
	if !s.failed() {
		meta.RemoveStatusCondition(&desired.Conditions, v1alpha1.ConditionStalled)
	}
	for _, c := range s.conditions(desired.Admission.Replica) {
		c.Message = conditions.Bounded(c.Message)
		c.ObservedGeneration = o.session.Generation
		c.LastTransitionTime = stamp
		meta.SetStatusCondition(&desired.Conditions, c)
	}
	desired.Display = v1alpha1.UploadSessionDisplay{
		Key: display.Name(o.session.Spec.Key), Owner: display.Name(o.session.Spec.Owner), Message: display.Message(s.message),
	}
	return desired
}

// conditions are what a standing means for a session that the replica holds, if any does.
func (s standing) conditions(replica string) []metav1.Condition {
	admitted := metav1.Condition{
		Type: v1alpha1.ConditionAdmitted, Status: metav1.ConditionFalse, Reason: s.reason, Message: s.message,
	}
	if replica != "" {
		admitted.Status = metav1.ConditionTrue
		admitted.Reason = v1alpha1.ReasonAdmitted
		admitted.Message = fmt.Sprintf("Replica %q holds the session.", replica)
	}
	accepting := metav1.Condition{
		Type: v1alpha1.ConditionAcceptingChunks, Status: metav1.ConditionFalse, Reason: s.reason, Message: s.message,
	}
	switch {
	case s.reason == v1alpha1.ReasonUploading:
		accepting.Status = metav1.ConditionTrue
	case !s.ended.IsZero():
		accepting.Reason = v1alpha1.ReasonFinished
		accepting.Message = "The session has ended."
	}
	succeeded := metav1.Condition{
		Type: v1alpha1.ConditionSucceeded, Status: s.succeeded, Reason: s.reason, Message: s.message,
	}
	all := []metav1.Condition{admitted, accepting, succeeded, s.ready()}
	if s.failed() {
		stalled := succeeded
		stalled.Type, stalled.Status = v1alpha1.ConditionStalled, metav1.ConditionTrue
		all = append(all, stalled)
	}
	return all
}

// ready is what tools take a resource for that know nothing of uploads: not there yet, or there.
func (s standing) ready() metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: s.reason, Message: s.message,
	}
	switch {
	case s.left != "":
		c.Reason, c.Message = v1alpha1.ReasonDeleting, s.left
	case s.succeeded == metav1.ConditionTrue:
		c.Status = metav1.ConditionTrue
	}
	return c
}

// changed returns the desired status, or nil when it is there already.
func changed(s *v1alpha1.UploadSession, desired v1alpha1.UploadSessionStatus) *v1alpha1.UploadSessionStatus {
	if equality.Semantic.DeepEqual(ownStatus(s), desired) {
		return nil
	}
	return &desired
}

// nextChange is how long it takes until time alone changes how an active session stands; 0 when it does not.
func nextChange(o observation, desired v1alpha1.UploadSessionStatus, now time.Time) time.Duration {
	if desired.Admission.Replica == "" {
		return until(desired.StartTime.Add(queueDeadline(o.session.Spec)), now)
	}
	next := until(desired.ExpirationTime.Add(expiryGrace), now)
	gone, _ := o.replica.GoneIn()
	for _, wait := range []time.Duration{o.replica.Left, o.replica.Left + missedAfter, gone} {
		if wait > 0 && (next == 0 || wait < next) {
			next = wait
		}
	}
	return next
}

// queueDeadline is how long after its start a session ends that is not admitted.
func queueDeadline(spec v1alpha1.UploadSessionSpec) time.Duration {
	return seconds(cmp.Or(spec.QueueDeadlineSeconds, v1alpha1.DefaultQueueDeadlineSeconds))
}

// until returns how long it is from now to then, at least 0.
func until(then, now time.Time) time.Duration {
	return max(0, then.Sub(now))
}

func seconds(n int32) time.Duration {
	return time.Duration(n) * time.Second
}
