package uploadsession

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// expected is what a plan does, in the words of its reader.
type expected struct {
	// admitted, accepting and succeeded are the conditions as "status reason"; all empty when
	// the status is not written.
	admitted, accepting, succeeded string
	// says is part of Succeeded's message, or of the event's note when no status is written.
	says string
	// finalizer is "added", "removed" or empty.
	finalizer string
	// event is "type reason", empty for none.
	event string
	// ended is completionTime's distance from noon, nil when the session goes on.
	ended *time.Duration
	// removed tells that the session is deleted.
	removed bool
	// again is when the session is looked at again without an event.
	again time.Duration
}

func TestPlan(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name string
		o    observation
		at   time.Duration // after noon
		want expected
	}{
		// Not admitted yet.
		{
			name: "a session is admitted at once when its store has a replica and room",
			o:    alone(session(), store()),
			want: expected{
				admitted: "True Admitted", accepting: "True Uploading", succeeded: "Unknown Uploading",
				says:      "Send the chunks to http://10.0.0.1:8443/v1/namespaces/ml/uploadsessions/llama.",
				finalizer: "added", again: day + expiryGrace,
			},
		},
		{
			name: "a session waits while its store is missing, and needs no finalizer yet",
			o:    alone(session(), nil),
			want: expected{
				admitted: "False StoreNotFound", accepting: "False StoreNotFound", succeeded: "Unknown StoreNotFound",
				says: `There is no UploadStore "models" in namespace "ml": create it`, again: 7 * day,
			},
		},
		{
			name: "a session waits while its store is not ready, and tells why the store is not",
			o:    alone(session(), store(notReady)),
			want: expected{
				admitted: "False StoreNotReady", accepting: "False StoreNotReady", succeeded: "Unknown StoreNotReady",
				says: "start one with --store models", again: 7 * day,
			},
		},
		{
			name: "a session waits while the volume has no room for it",
			o:    alone(session(), store(available(99))),
			want: expected{
				admitted: "False InsufficientSpace", accepting: "False InsufficientSpace", succeeded: "Unknown InsufficientSpace",
				says:  `Waits for objects in UploadStore "models" to be deleted: needs 100, and the volume would have 99 free`,
				event: "Normal InsufficientSpace", again: 7 * day,
			},
		},
		{
			name: "a session that asks for more than the store allows ends, and says so once",
			o:    alone(session(), store(maxObject(99))),
			want: expected{
				admitted: "False ExceedsStoreLimits", accepting: "False Finished", succeeded: "False ExceedsStoreLimits",
				says: "takes objects of at most 99 bytes", event: "Warning ExceedsStoreLimits", ended: ptr.To[time.Duration](0),
			},
		},
		{
			name: "a suspended session is not admitted",
			o:    alone(session(desired(v1alpha1.DesiredStateSuspended)), store()),
			want: expected{
				admitted: "False Suspended", accepting: "False Suspended", succeeded: "Unknown Suspended",
				says: "set desiredState to Active to start it", again: 7 * day,
			},
		},
		{
			name: "a session cancelled before its admission is ended by the operator",
			o:    alone(session(desired(v1alpha1.DesiredStateCancelled)), store()),
			want: expected{
				admitted: "False Cancelled", accepting: "False Finished", succeeded: "False Cancelled",
				says: "before it was admitted", event: "Normal Cancelled", ended: ptr.To[time.Duration](0),
			},
		},
		{
			name: "a session whose finalizer was written just before a crash is admitted without another write of it",
			o:    alone(session(finalizer), store()),
			want: expected{
				admitted: "True Admitted", accepting: "True Uploading", succeeded: "Unknown Uploading", again: day + expiryGrace,
			},
		},

		{
			name: "a session is not ended before its queue deadline",
			o:    alone(session(waiting, queueDeadlineOf(time.Hour)), nil),
			at:   time.Hour - time.Second,
			want: expected{again: time.Second},
		},
		{
			name: "a session that was not admitted within its queue deadline ends, and says what it waited for",
			o:    alone(session(waiting, queueDeadlineOf(time.Hour)), nil),
			at:   time.Hour,
			want: expected{
				admitted: "False QueueDeadlineExceeded", accepting: "False Finished", succeeded: "False QueueDeadlineExceeded",
				says:  `was not admitted within 1h0m0s (queueDeadlineSeconds); no byte was taken. It waited for this: There is no UploadStore "models"`,
				event: "Warning QueueDeadlineExceeded", ended: ptr.To(time.Hour),
			},
		},
		{
			name: "a session that says nothing has 7 days, also while it is suspended",
			o:    alone(session(waiting, desired(v1alpha1.DesiredStateSuspended)), store()),
			at:   7 * day,
			want: expected{
				admitted: "False QueueDeadlineExceeded", accepting: "False Finished", succeeded: "False QueueDeadlineExceeded",
				says: "Create it again.", event: "Warning QueueDeadlineExceeded", ended: ptr.To(7 * day),
			},
		},
		{
			name: "a session whose turn comes with its queue deadline is admitted",
			o:    alone(session(waiting, queueDeadlineOf(time.Hour)), store()),
			at:   time.Hour,
			want: expected{
				admitted: "True Admitted", accepting: "True Uploading", succeeded: "Unknown Uploading", finalizer: "added",
				event: "", again: day + expiryGrace - time.Hour,
			},
		},
		{
			name: "an admitted session has no queue deadline any more",
			o:    alone(session(admitted, queueDeadlineOf(time.Hour)), store()),
			at:   2 * time.Hour,
			want: expected{again: day + expiryGrace - 2*time.Hour},
		},
		{
			name: "a session that was replaced with a file gets its finalizer back while it uploads",
			o:    alone(session(admitted, replaced), store()),
			want: expected{finalizer: "added", again: day + expiryGrace},
		},
		{
			name: "and when its object is to go with it",
			o:    alone(session(admitted, published, reclaimed, replaced), store()),
			want: expected{finalizer: "added"},
		},
		{
			name: "and not when nothing is left to do for it",
			o:    alone(session(admitted, published, replaced), store()),
		},

		// Admitted, and no result yet.
		{
			name: "a session that uploads needs nothing",
			o:    alone(session(admitted), store()),
			at:   time.Hour,
			want: expected{again: day + expiryGrace - time.Hour},
		},
		{
			name: "a session waits for its replica and never moves to another",
			o:    alone(session(admitted), store(replicas("models-1"))),
			want: expected{
				admitted: "True Admitted", accepting: "False ReplicaNotReady", succeeded: "Unknown ReplicaNotReady",
				says: `Replica "models-0" holds the session's bytes and is not alive`, again: day + expiryGrace,
			},
		},
		{
			name: "a session does not tell of a short lapse of its replica",
			o:    replicaAliveUntil(0, alone(session(admitted), store(replicas("models-1")))),
			at:   59 * time.Second,
			want: expected{again: time.Second},
		},
		{
			name: "a session that is cancelled does not tell of one either",
			o:    replicaAliveUntil(0, alone(session(admitted, desired(v1alpha1.DesiredStateCancelled)), store(replicas("models-1")))),
			at:   59 * time.Second,
			want: expected{
				admitted: "True Admitted", accepting: "False Cancelling", succeeded: "Unknown Cancelling",
				says: `replica "models-0" has yet to free the staged bytes.`, again: time.Second,
			},
		},
		{
			name: "a session tells of a replica that stays away",
			o:    replicaAliveUntil(0, alone(session(admitted), store(replicas("models-1")))),
			at:   time.Minute,
			want: expected{
				admitted: "True Admitted", accepting: "False ReplicaNotReady", succeeded: "Unknown ReplicaNotReady",
				says: `Replica "models-0" holds the session's bytes and is not alive`, again: day + expiryGrace - time.Minute,
			},
		},
		{
			name: "a session goes on when its replica is back",
			o:    alone(session(admitted, standsAs(v1alpha1.ReasonReplicaNotReady)), store()),
			want: expected{
				admitted: "True Admitted", accepting: "True Uploading", succeeded: "Unknown Uploading", again: day + expiryGrace,
			},
		},
		{
			name: "an admitted session is suspended",
			o:    alone(session(admitted, desired(v1alpha1.DesiredStateSuspended)), store()),
			want: expected{
				admitted: "True Admitted", accepting: "False Suspended", succeeded: "Unknown Suspended",
				says: "What is held is kept until 2", again: 8*day + expiryGrace,
			},
		},
		{
			name: "a suspended session resumes",
			o:    alone(session(admitted, standsAs(v1alpha1.ReasonSuspended)), store()),
			want: expected{
				admitted: "True Admitted", accepting: "True Uploading", succeeded: "Unknown Uploading", again: day + expiryGrace,
			},
		},
		{
			name: "a session cancelled after its admission waits for the replica to confirm",
			o:    alone(session(admitted, desired(v1alpha1.DesiredStateCancelled)), store()),
			want: expected{
				admitted: "True Admitted", accepting: "False Cancelling", succeeded: "Unknown Cancelling",
				says: `replica "models-0" has yet to free the staged bytes.`, again: day + expiryGrace,
			},
		},
		{
			name: "a session past its deadline is the replica's to end, which has a while for it",
			o:    alone(session(admitted), store()),
			at:   day + expiryGrace - time.Second,
			want: expected{again: time.Second},
		},
		{
			name: "a session long past its deadline is shown as expiring, and not ended",
			o:    alone(session(admitted), store()),
			at:   day + expiryGrace,
			want: expected{
				admitted: "True Admitted", accepting: "False Expiring", succeeded: "Unknown Expiring",
				says: "expirationTime has passed",
			},
		},
		{
			name: "a session expiring on a dead replica says what to do",
			o:    alone(session(admitted), store(notReady)),
			at:   day + expiryGrace,
			want: expected{
				admitted: "True Admitted", accepting: "False Expiring", succeeded: "Unknown Expiring", says: "is not alive; start it again",
			},
		},
		{
			name: "an idle session is the replica's to end, however long it is idle",
			o:    alone(session(admitted, idleTimeout(10)), store()),
			at:   12 * time.Hour,
			want: expected{again: 12*time.Hour + expiryGrace},
		},
		{
			name: "a longer deadline moves the expiration",
			o:    alone(session(admitted, deadline(2*day)), store()),
			at:   day,
			want: expected{
				admitted: "True Admitted", accepting: "True Uploading", succeeded: "Unknown Uploading", again: day + expiryGrace,
			},
		},
		{
			name: "a session outlives its store while its replica is alive",
			o:    replicaAliveUntil(10*time.Second, alone(session(admitted), nil)),
			want: expected{again: 10 * time.Second},
		},
		{
			name: "a session ends when its store and its replica are gone",
			o:    replicaAliveUntil(10*time.Second, alone(session(admitted), nil)),
			at:   10 * time.Second,
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "False StoreGone",
				says: `UploadStore "models" was deleted and replica "models-0" is not alive`, event: "Warning StoreGone", ended: ptr.To(10 * time.Second),
			},
		},

		{
			name: "a session on a replica that is said to be gone for good has a while to see it come back",
			o:    replicaGoneAt(time.Minute, alone(session(admitted, standsAs(v1alpha1.ReasonReplicaNotReady)), store(replicas("models-1")))),
			want: expected{
				admitted: "True Admitted", accepting: "False ReplicaNotReady", succeeded: "Unknown ReplicaNotReady",
				says: "goes on when the replica is started again", again: time.Minute,
			},
		},
		{
			name: "a session ends when its replica is gone for good, and moves to no other",
			o:    replicaGoneAt(time.Minute, alone(session(admitted), store(replicas("models-1")))),
			at:   time.Minute,
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "False ReplicaGone",
				says: `Replica "models-0" is gone for good`, event: "Warning ReplicaGone", ended: ptr.To(time.Minute),
			},
		},
		{
			name: "a session goes on when its replica is alive, whatever anybody says",
			o:    replicaGoneAt(0, alone(session(admitted), store())),
			at:   time.Hour,
			want: expected{again: day + expiryGrace - time.Hour},
		},
		{
			name: "a session that is cancelled ends although its replica never confirms",
			o:    replicaGoneAt(0, alone(session(admitted, desired(v1alpha1.DesiredStateCancelled)), store(notReady))),
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "False ReplicaGone",
				event: "Warning ReplicaGone", ended: ptr.To[time.Duration](0),
			},
		},
		{
			name: "a deleted session does not wait for a replica that is gone for good",
			o:    replicaGoneAt(0, alone(session(admitted, deleted), store(notReady))),
			want: expected{finalizer: "removed", event: "Warning ReplicaGone"},
		},

		// Over.
		{
			name: "a published session succeeds",
			o:    alone(session(admitted, result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished)), store()),
			at:   time.Minute,
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "True Published",
				says: "verified and published", event: "Normal Published", ended: ptr.To(time.Second),
			},
		},
		{
			name: "a session whose bytes are wrong fails for the reason that the dataplane gives",
			o:    alone(session(admitted, result(v1alpha1.UploadOutcomeFailed, v1alpha1.ReasonDigestMismatch)), store()),
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "False DigestMismatch",
				event: "Warning DigestMismatch", ended: ptr.To(time.Second),
			},
		},
		{
			name: "a session that a client aborted ends as somebody asked for",
			o:    alone(session(admitted, result(v1alpha1.UploadOutcomeAborted, v1alpha1.ReasonAborted)), store()),
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "False Aborted",
				event: "Normal Aborted", ended: ptr.To(time.Second),
			},
		},
		{
			name: "a session that timed out fails",
			o:    alone(session(admitted, result(v1alpha1.UploadOutcomeExpired, v1alpha1.ReasonIdleTimeout)), store()),
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "False IdleTimeout",
				event: "Warning IdleTimeout", ended: ptr.To(time.Second),
			},
		},
		{
			name: "what the volume says wins over a cancellation that came too late",
			o: alone(session(admitted, desired(v1alpha1.DesiredStateCancelled),
				result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished)), store()),
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "True Published",
				event: "Normal Published", ended: ptr.To(time.Second),
			},
		},
		{
			name: "what the volume says wins over the end that the operator gave",
			o: alone(session(admitted, endedBy(v1alpha1.ReasonStoreGone),
				result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished)), nil),
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "True Published",
				event: "Normal Published", ended: ptr.To(time.Second),
			},
		},
		{
			name: "an end is final: the store's return changes nothing",
			o:    alone(session(admitted, endedBy(v1alpha1.ReasonStoreGone)), store()),
		},
		{
			name: "a finished session is kept without a TTL",
			o:    alone(session(admitted, published), store()),
			at:   30 * day,
		},
		{
			name: "a finished session is looked at again when its TTL is over",
			o:    alone(session(admitted, published, ttl(60)), store()),
			at:   time.Second,
			want: expected{again: time.Minute},
		},
		{
			name: "a finished session is deleted when its TTL is over",
			o:    alone(session(admitted, published, ttl(60)), store()),
			at:   time.Second + time.Minute,
			want: expected{removed: true},
		},
		{
			name: "a finished session has the TTL of its store when it was admitted",
			o: alone(session(admitted, published, granted(func(a *v1alpha1.UploadSessionAdmission) {
				a.TTLSecondsAfterFinished = ptr.To[int32](60)
			})), store()),
			at:   time.Second + time.Minute,
			want: expected{removed: true},
		},
		{
			name: "a session's own TTL comes before its store's",
			o: alone(session(admitted, published, ttl(120), granted(func(a *v1alpha1.UploadSessionAdmission) {
				a.TTLSecondsAfterFinished = ptr.To[int32](60)
			})), store()),
			at:   time.Second + time.Minute,
			want: expected{again: time.Minute},
		},
		{
			name: "a TTL that the store has by now concerns no session that was admitted before",
			o: alone(session(admitted, published), store(func(s *v1alpha1.UploadStore) {
				s.Spec.Defaults.TTLSecondsAfterFinished = ptr.To[int32](0)
			})),
			at: 30 * day,
		},
		{
			name: "a TTL of 0 leaves a client a minute to ask how the session ended",
			o:    alone(session(admitted, published, ttl(0)), store()),
			at:   time.Second,
			want: expected{again: time.Minute},
		},
		{
			name: "a TTL of 0 deletes after that minute",
			o:    alone(session(admitted, published, ttl(0)), store()),
			at:   time.Second + time.Minute,
			want: expected{removed: true},
		},
		{
			name: "a TTL of 0 records the end before it deletes",
			o:    alone(session(admitted, ttl(0), result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished)), store()),
			at:   time.Second + time.Minute,
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "True Published",
				event: "Normal Published", ended: ptr.To(time.Second), removed: true,
			},
		},

		// Being deleted.
		{
			name: "a deleted session that was never admitted goes at once",
			o:    alone(session(deleted, finalizer), store()),
			want: expected{finalizer: "removed"},
		},
		{
			name: "a deleted session is never admitted, nor written to when another finalizer keeps it",
			o:    alone(session(deleted), store()),
		},
		{
			name: "a deleted session waits for its replica to free the staged bytes",
			o:    alone(session(admitted, deleted), store()),
			at:   time.Minute,
			want: expected{
				admitted: "True Admitted", accepting: "False Deleting", succeeded: "Unknown Deleting",
				says: `replica "models-0" has yet to free`, again: time.Minute,
			},
		},
		{
			name: "a deleted session goes when the replica has freed the staged bytes",
			o:    alone(session(admitted, deleted, result(v1alpha1.UploadOutcomeAborted, v1alpha1.ReasonDeleted)), store()),
			at:   time.Second,
			want: expected{finalizer: "removed", event: "Normal Deleted"},
		},
		{
			name: "a deleted session that had finished goes without a word",
			o:    alone(session(admitted, published, deleted), store()),
			want: expected{finalizer: "removed"},
		},
		{
			name: "a deleted session whose store is gone goes when its replica is not alive",
			o:    alone(session(admitted, deleted), nil),
			want: expected{finalizer: "removed", event: "Warning StoreGone"},
		},
		{
			name: "a deleted session does not wait for a silent replica for ever, and names it",
			o:    alone(session(admitted, deleted), store(notReady)),
			at:   freeWithin,
			want: expected{
				finalizer: "removed", event: "Warning StagedBytesLeft",
				says: `Replica "models-0" did not confirm within 2m0s that the staged bytes are freed; it sweeps them when it is back.`,
			},
		},

		// With its object.
		{
			name: "a deleted session whose object goes with it waits until that is removed, and says so",
			o:    alone(session(admitted, published, reclaimed, deleted), store()),
			at:   time.Minute,
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "True Published",
				ended: ptr.To(time.Second), again: time.Minute,
			},
		},
		{
			name: "a session that was published while it was being deleted waits too",
			o: alone(session(admitted, deleted, reclaimed, standsAs(v1alpha1.ReasonDeleting),
				result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished)), store()),
			at: time.Minute,
			want: expected{
				admitted: "True Admitted", accepting: "False Finished", succeeded: "True Published",
				event: "Normal Published", ended: ptr.To(time.Second), again: time.Minute,
			},
		},
		{
			name: "a deleted session goes when its object is removed",
			o:    alone(session(admitted, published, reclaimed, deleted, objectGone), store()),
			at:   time.Minute,
			want: expected{finalizer: "removed"},
		},
		{
			name: "a deleted session does not wait for its object for ever, and names what is left",
			o:    alone(session(admitted, published, reclaimed, deleted), store(notReady)),
			at:   freeWithin,
			want: expected{
				finalizer: "removed", event: "Warning ObjectLeft",
				says: `Replica "models-0" did not confirm within 2m0s that the object is removed; it removes it when it is back. The key is "llama/model.gguf".`,
			},
		},
		{
			name: "a deleted session whose object would go with it has none when it was not published",
			o:    alone(session(admitted, reclaimed, deleted, result(v1alpha1.UploadOutcomeAborted, v1alpha1.ReasonDeleted)), store()),
			at:   time.Second,
			want: expected{finalizer: "removed", event: "Normal Deleted"},
		},
		{
			name: "a session whose object goes with it keeps it while it is not deleted",
			o:    alone(session(admitted, published, reclaimed), store()),
			at:   30 * day,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			now, o := noon.Add(test.at), later(test.at, test.o)
			p := planFor(o, now)
			got := read(p)
			if says := got.says; strings.Contains(says, test.want.says) {
				got.says = test.want.says
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(expected{})); diff != "" {
				t.Errorf("the plan differs (-want +got):\n%s", diff)
			}
			if p.transition != (transition{}) && p.status == nil && !p.removeFinalizer {
				t.Errorf("%+v would be counted, and nothing is written", p.transition)
			}
			if p.removeFinalizer {
				return // nothing is left to plan for
			}
			after := carriedOut(o, p, now)
			if got, want := kstatusOf(t, after.session).Status, kstatusFor(after.session); got != want {
				t.Errorf("carried out, tools take the session for %s, want %s", got, want)
			}
			again := planFor(after, now)
			if again.addFinalizer || again.status != nil || again.event != nil || again.remove || again.transition != (transition{}) {
				t.Errorf("carried out, the plan still plans: %+v", again)
			}
		})
	}
}

func TestATTLTakesTheObjectToo(t *testing.T) {
	now := noon.Add(time.Second + time.Minute)
	o := alone(session(admitted, published, reclaimed, ttl(60)), store())
	p := planFor(o, now)
	if !p.remove {
		t.Fatalf("the session is not deleted: %+v", p)
	}
	got := read(planFor(carriedOut(o, p, now), now))
	got.says = ""
	want := expected{
		admitted: "True Admitted", accepting: "False Finished", succeeded: "True Published",
		ended: ptr.To(time.Second), again: freeWithin,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(expected{})); diff != "" {
		t.Errorf("the plan once it is deleted differs (-want +got):\n%s", diff)
	}
}

func TestAnAdmissionGrantsWhatTheStoreAndTheSessionSay(t *testing.T) {
	p := planFor(alone(session(), store()), noon.Add(300*time.Millisecond))
	want := v1alpha1.UploadSessionAdmission{
		Replica: "models-0", Endpoint: "http://10.0.0.1:8443", ChunkSizeBytes: 16, IdleTimeoutSeconds: 3600,
		ReservedBytes: ptr.To[int64](100), AdmittedTime: metav1.NewTime(noon),
	}
	if diff := cmp.Diff(want, p.status.Admission); diff != "" {
		t.Errorf("the admission differs (-want +got):\n%s", diff)
	}
	if got, want := p.status.ExpirationTime.Time, noon.Add(24*time.Hour); !got.Equal(want) {
		t.Errorf("expirationTime is %v, want %v", got, want)
	}
	if !p.status.StartTime.Time.Equal(noon) || *p.status.ObservedGeneration != 1 {
		t.Errorf("startTime is %v and observedGeneration %d", p.status.StartTime, *p.status.ObservedGeneration)
	}
}

func TestTheDeadlineIsTheSessionsOrTheStoresAndWithinTheLimit(t *testing.T) {
	for name, test := range map[string]struct {
		asked, byDefault, most int32
		want                   time.Duration
	}{
		"its own":                           {asked: 60, byDefault: 7200, want: time.Minute},
		"its own, longer than the default":  {asked: 9000, byDefault: 7200, want: 9000 * time.Second},
		"the store's":                       {byDefault: 7200, want: 2 * time.Hour},
		"of an admission without one":       {want: 24 * time.Hour},
		"as long as there may be":           {asked: 9000, byDefault: 7200, most: 9000, want: 9000 * time.Second},
		"longer than there may be":          {asked: 9001, byDefault: 7200, most: 9000, want: 9000 * time.Second},
		"of an admission without, too long": {most: 9000, want: 9000 * time.Second},
	} {
		s := session(admitted, func(s *v1alpha1.UploadSession) { s.Spec.ActiveDeadlineSeconds = test.asked },
			granted(func(a *v1alpha1.UploadSessionAdmission) {
				a.ActiveDeadlineSeconds, a.MaxActiveDeadlineSeconds = test.byDefault, test.most
			}))
		desired := desiredStatus(alone(s, store()), noon)
		if got := desired.ExpirationTime.Sub(noon); got != test.want {
			t.Errorf("%s: the session expires after %v, want %v", name, got, test.want)
		}
	}
}

// A session that is suspended has the same time left when it goes on, within what its store lets it.
func TestTheDeadlineStandsStillWhileASessionIsSuspended(t *testing.T) {
	s := session(admitted, granted(func(a *v1alpha1.UploadSessionAdmission) {
		a.ActiveDeadlineSeconds, a.MaxSuspendedSeconds = 3600, 3*3600
	}))
	s.Spec.ActiveDeadlineSeconds = 0
	now := noon
	looks := func(after time.Duration, state v1alpha1.DesiredState, expires time.Duration) {
		t.Helper()
		now = now.Add(after)
		s.Spec.DesiredState = state
		s.Status = desiredStatus(alone(s, store()), now)
		if got := s.Status.ExpirationTime.Sub(noon); got != expires {
			t.Fatalf("%v after its admission, %s, it expires after %v, want %v", now.Sub(noon), state, got, expires)
		}
	}
	looks(time.Minute, v1alpha1.DesiredStateActive, time.Hour)
	looks(0, v1alpha1.DesiredStateSuspended, 4*time.Hour) // at the latest
	looks(time.Hour, v1alpha1.DesiredStateSuspended, 4*time.Hour)
	looks(time.Hour, v1alpha1.DesiredStateActive, 3*time.Hour)
	looks(0, v1alpha1.DesiredStateSuspended, 4*time.Hour)
	looks(90*time.Minute, v1alpha1.DesiredStateActive, 4*time.Hour) // and no more
	if s.Status.ExpirationTime.Time.Before(now) {
		t.Error("it is over")
	}
	looks(0, v1alpha1.DesiredStateSuspended, 4*time.Hour)
	now = now.Add(time.Hour)
	if got := planFor(alone(s, store()), now).status; meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionSucceeded).Reason != v1alpha1.ReasonExpiring {
		t.Errorf("when its store lets it be suspended no longer it is %+v", got.Conditions)
	}
}

func TestAConditionKeepsItsTransitionTimeAndFollowsTheGeneration(t *testing.T) {
	s := session(admitted, desired(v1alpha1.DesiredStateSuspended))
	s.Generation = 2
	p := planFor(alone(s, store()), noon.Add(time.Hour))
	succeeded := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionSucceeded)
	accepting := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionAcceptingChunks)
	if !succeeded.LastTransitionTime.Time.Equal(noon) {
		t.Errorf("Succeeded stayed Unknown, but its transition time moved to %v", succeeded.LastTransitionTime)
	}
	if !accepting.LastTransitionTime.Time.Equal(noon.Add(time.Hour)) {
		t.Errorf("AcceptingChunks became False, but its transition time is %v", accepting.LastTransitionTime)
	}
	if succeeded.ObservedGeneration != 2 || *p.status.ObservedGeneration != 2 {
		t.Error("the observed generation is not that of the spec")
	}
}

func TestThePlanLeavesWhatOthersOwn(t *testing.T) {
	s := session(admitted, result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished))
	s.Status.Progress = v1alpha1.UploadSessionProgress{Percent: ptr.To[int32](100)}
	s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: "Scanned", Status: "True", Reason: "Clean"})
	p := planFor(alone(s, store()), noon)
	if p.status.Result.Outcome != "" || p.status.Progress.Percent != nil || len(p.status.Conditions) != 4 {
		t.Errorf("the plan writes what is not the operator's: %+v", p.status)
	}
}

// read puts a plan into the words of expected.
func read(p plan) expected {
	got := expected{removed: p.remove, again: p.requeueAfter}
	switch {
	case p.addFinalizer:
		got.finalizer = "added"
	case p.removeFinalizer:
		got.finalizer = "removed"
	}
	if p.event != nil {
		got.event = p.event.eventType + " " + p.event.reason
		got.says = p.event.note
	}
	if p.status == nil {
		return got
	}
	condition := func(t string) (string, string) {
		c := meta.FindStatusCondition(p.status.Conditions, t)
		return string(c.Status) + " " + c.Reason, c.Message
	}
	got.admitted, _ = condition(v1alpha1.ConditionAdmitted)
	got.accepting, _ = condition(v1alpha1.ConditionAcceptingChunks)
	got.succeeded, got.says = condition(v1alpha1.ConditionSucceeded)
	if !p.status.CompletionTime.IsZero() {
		got.ended = ptr.To(p.status.CompletionTime.Sub(noon))
	}
	return got
}

// carriedOut is what is observed after the plan's writes.
func carriedOut(o observation, p plan, now time.Time) observation {
	s := o.session.DeepCopy()
	if p.addFinalizer {
		finalizer(s)
	}
	if p.status != nil {
		progress, result, reclaimed := s.Status.Progress, s.Status.Result, s.Status.ReclaimedTime
		s.Status = *p.status.DeepCopy()
		s.Status.Progress, s.Status.Result, s.Status.ReclaimedTime = progress, result, reclaimed
	}
	if p.remove {
		s.DeletionTimestamp = ptr.To(metav1.NewTime(now))
	}
	replica := o.replica
	o = alone(s, o.store)
	o.replica = replica
	return o
}

// What kubectl get shows is short, and written with the rest of the status only.
func TestWhatIsDisplayedIsShort(t *testing.T) {
	s := session(func(s *v1alpha1.UploadSession) {
		s.Spec.Key, s.Spec.Owner = "llama"+strings.Repeat("/a", 500)+"/model.gguf", "system:serviceaccount:ml:"+strings.Repeat("a", 480)+"-trainer"
	})
	status := planFor(alone(s, nil), noon).status
	want := v1alpha1.UploadSessionDisplay{
		Key: "llama/a/a/a/…/a/a/a/a/a/a/a/model.gguf", Owner: "system:servi…" + strings.Repeat("a", 17) + "-trainer",
		Message: `There is no UploadStore "models" in namespace "ml": create it, or a session that names another st…`,
	}
	if diff := cmp.Diff(want, status.Display); diff != "" {
		t.Errorf("what is displayed differs (-want +got):\n%s", diff)
	}
	s.Status = *status
	if again := planFor(alone(s, nil), noon.Add(time.Second)).status; again != nil {
		t.Errorf("it is written again: %+v", again)
	}
	if diff := cmp.Diff(want.Key, *statusConfiguration(status).Display.Key); diff != "" {
		t.Errorf("the key that is applied differs (-want +got):\n%s", diff)
	}
}
