package uploadstore

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/heartbeat"
)

// lookAgainAfter is how soon a Managed store is looked at again that waits for
// something: events, which say why, are not watched.
const lookAgainAfter = 10 * time.Second

// runReadiness says how a Managed store stands. It is ready when a replica takes
// sessions; what else is amiss is told all the same.
func runReadiness(o observation, seen sightings) metav1.Condition {
	if !o.store.DeletionTimestamp.IsZero() {
		return metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStoreDeleting, Message: farewell(o)}
	}
	taking := 0
	for _, report := range seen.alive {
		if admission.Takes(o.store, report.Replica.Name) {
			taking++
		}
	}
	amiss := troubleOf(o)
	if taking > 0 && amiss == nil {
		return readiness(o.store, seen)
	}
	if taking > 0 {
		return metav1.Condition{
			Status: metav1.ConditionTrue, Reason: amiss.reason,
			Message: fmt.Sprintf("The dataplane takes sessions, on %s. %s", counted(taking, "replica"), amiss.message),
		}
	}
	return notReady(o, seen, amiss)
}

// notReady says why no replica takes sessions. That the StatefulSet is not yet as it should be is
// the last that is said: what a replica itself reports, or does not, tells more.
func notReady(o observation, seen sightings, amiss *trouble) metav1.Condition {
	c := metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDataplaneStarting}
	switch {
	case amiss != nil && amiss.reason != v1alpha1.ReasonRollingOut:
		c.Reason, c.Message = amiss.reason, amiss.message
	case seen.invalid != nil:
		return readiness(o.store, seen)
	case amiss != nil:
		c.Message = "No replica takes sessions yet. " + amiss.message
	case seen.lost != nil && len(seen.alive) == 0:
		c.Reason = v1alpha1.ReasonDataplaneLost
		c.Message = fmt.Sprintf("The Pods are ready, and none renews its Lease; %q was the last, at %s by its own clock: see whether they reach the API server, in kubectl logs %s-0.",
			seen.lost.Name, heartbeat.LastSeen(seen.lost).UTC().Format(time.RFC3339), o.store.Name)
	default:
		c.Message = "The Pods are ready and have not reported yet."
	}
	return c
}

// farewell says what a store that is being deleted waits for.
func farewell(o observation) string {
	n := active(o.sessions)
	if n == 0 {
		return "The store is being deleted. What was published stays on its volume."
	}
	return fmt.Sprintf("The store is being deleted: it takes no new session and goes when %s ended. To end them now: "+
		"kubectl delete uploadsessions --namespace %s --field-selector spec.storeRef.name=%s", hasActive(n), o.store.Namespace, o.store.Name)
}

func hasActive(n int) string {
	if n == 1 {
		return "1 active session has"
	}
	return fmt.Sprintf("%d active sessions have", n)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// held returns the event that tells that a deletion is held back, once.
func held(o observation, desired v1alpha1.UploadStoreStatus) *news {
	before := meta.FindStatusCondition(o.store.Status.Conditions, v1alpha1.ConditionReady)
	now := meta.FindStatusCondition(desired.Conditions, v1alpha1.ConditionReady)
	if now.Reason != v1alpha1.ReasonStoreDeleting || before != nil && before.Reason == now.Reason || active(o.sessions) == 0 {
		return nil
	}
	return &news{eventType: corev1.EventTypeWarning, reason: now.Reason, action: "Release", note: now.Message}
}

// news is what happened, for people.
type news struct {
	eventType, reason, action, note string
}
