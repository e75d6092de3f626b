package uploadsession

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/liveness"
)

// noon is when the sessions of these tests are admitted, and deleted.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// session is a session of 100 bytes for the store, with a deadline of a day.
func session(changes ...func(*v1alpha1.UploadSession)) *v1alpha1.UploadSession {
	s := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "llama", Generation: 1},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef:              v1alpha1.StoreReference{Name: "models"},
			SizeBytes:             ptr.To[int64](100),
			DesiredState:          v1alpha1.DesiredStateActive,
			ActiveDeadlineSeconds: 24 * 3600,
		},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

// admitted is how the operator leaves a session that it admits at noon.
func admitted(s *v1alpha1.UploadSession) {
	finalizer(s)
	// What the session wants now came later.
	before := session(finalizer)
	s.Status = *planFor(alone(before, store()), noon).status
}

func finalizer(s *v1alpha1.UploadSession) { s.Finalizers = []string{v1alpha1.StagingFinalizer} }

// replaced is a session that somebody has replaced with a file of theirs.
func replaced(s *v1alpha1.UploadSession) { s.Finalizers = nil }

func deleted(s *v1alpha1.UploadSession) { s.DeletionTimestamp = ptr.To(metav1.NewTime(noon)) }

// reclaimed is a session whose object goes when it is deleted.
func reclaimed(s *v1alpha1.UploadSession) { s.Spec.ReclaimPolicy = v1alpha1.ReclaimPolicyDelete }

// objectGone is a session whose replica says that the object is removed.
func objectGone(s *v1alpha1.UploadSession) { s.Status.ReclaimedTime = metav1.NewTime(noon) }

// published is how the operator leaves a session that was published a second after noon.
func published(s *v1alpha1.UploadSession) {
	result(v1alpha1.UploadOutcomePublished, v1alpha1.ReasonPublished)(s)
	before := s.DeepCopy()
	before.DeletionTimestamp = nil
	status := *planFor(alone(before, store()), noon.Add(time.Second)).status
	status.Result = s.Status.Result
	s.Status = status
}

func result(outcome v1alpha1.UploadOutcome, reason string) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) {
		s.Status.Result = v1alpha1.UploadSessionResult{
			Outcome: outcome, Reason: reason, FinishedTime: metav1.NewTime(noon.Add(time.Second)),
		}
		if outcome == v1alpha1.UploadOutcomePublished {
			s.Status.Result.Key = "llama/model.gguf"
		}
	}
}

// standsAs is an admitted session that waited for the reason given.
func standsAs(reason string) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) {
		for i, c := range waits(reason, "").conditions("models-0") {
			s.Status.Conditions[i].Status, s.Status.Conditions[i].Reason = c.Status, c.Reason
		}
	}
}

// endedBy is a session that the operator ended at noon.
func endedBy(reason string) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) {
		s.Status.CompletionTime = metav1.NewTime(noon)
		ended := standing{succeeded: metav1.ConditionFalse, reason: reason, ended: s.Status.CompletionTime}
		for _, c := range ended.conditions("models-0") {
			c.ObservedGeneration, c.LastTransitionTime = s.Generation, metav1.NewTime(noon)
			meta.SetStatusCondition(&s.Status.Conditions, c)
		}
		s.Status.Display.Message = ended.message
	}
}

func desired(state v1alpha1.DesiredState) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) { s.Spec.DesiredState = state }
}

func deadline(d time.Duration) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) { s.Spec.ActiveDeadlineSeconds = int32(d / time.Second) }
}

// waiting is how the operator leaves a session at noon that has no store.
func waiting(s *v1alpha1.UploadSession) { s.Status = *planFor(alone(session(), nil), noon).status }

func queueDeadlineOf(d time.Duration) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) { s.Spec.QueueDeadlineSeconds = int32(d / time.Second) }
}

func idleTimeout(n int32) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) { s.Spec.IdleTimeoutSeconds = n }
}

// granted changes what an admitted session was granted.
func granted(change func(*v1alpha1.UploadSessionAdmission)) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) { change(&s.Status.Admission) }
}

func ttl(n int32) func(*v1alpha1.UploadSession) {
	return func(s *v1alpha1.UploadSession) { s.Spec.TTLSecondsAfterFinished = &n }
}

// store is a store whose one replica is alive, with room for 1000 bytes.
func store(changes ...func(*v1alpha1.UploadStore)) *v1alpha1.UploadStore {
	s := &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models"},
		Spec: v1alpha1.UploadStoreSpec{
			Volume:   v1alpha1.VolumeSource{ClaimName: "models"},
			Limits:   v1alpha1.StoreLimits{MaxChunkBytes: 64},
			Defaults: v1alpha1.StoreDefaults{ChunkSizeBytes: 16, IdleTimeoutSeconds: 3600},
		},
		Status: v1alpha1.UploadStoreStatus{
			Conditions: []metav1.Condition{{
				Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDataplaneReady,
			}},
			AvailableBytes: ptr.To[int64](1000),
		},
	}
	replicas("models-0")(s)
	for _, change := range changes {
		change(s)
	}
	return s
}

func notReady(s *v1alpha1.UploadStore) {
	s.Status = v1alpha1.UploadStoreStatus{Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDataplaneMissing,
		Message: "No dataplane has reported yet: start one with --store models --namespace ml.",
	}}}
}

func replicas(names ...string) func(*v1alpha1.UploadStore) {
	return func(s *v1alpha1.UploadStore) {
		s.Status.Replicas = nil
		for _, name := range names {
			s.Status.Replicas = append(s.Status.Replicas, v1alpha1.UploadStoreReplica{Name: name, Endpoint: "http://10.0.0.1:8443"})
		}
	}
}

func available(n int64) func(*v1alpha1.UploadStore) {
	return func(s *v1alpha1.UploadStore) { s.Status.AvailableBytes = &n }
}

func maxObject(n int64) func(*v1alpha1.UploadStore) {
	return func(s *v1alpha1.UploadStore) { s.Spec.Limits.MaxObjectBytes = n }
}

// alone is an observation of one session alone in its store.
func alone(s *v1alpha1.UploadSession, st *v1alpha1.UploadStore) observation {
	o := observation{session: s, store: st, replica: liveness.NoLife()}
	if admission.Asks(s) {
		ledger := admission.NewLedger()
		ledger.Observe(s)
		if st != nil {
			ledger.SetStore(st)
		}
		o.granted, o.refusal = ledger.Ask(s, noon)
	}
	return o
}

// replicaAliveUntil adds a Lease that runs out that long after noon.
func replicaAliveUntil(after time.Duration, o observation) observation {
	o.replica = liveness.Life{Left: after}
	return o
}

// replicaGoneAt adds that the replica is gone for good from so long after noon; nobody here saw it alive.
func replicaGoneAt(after time.Duration, o observation) observation {
	o.replica = liveness.Life{Left: after - time.Minute, InDoubt: true, SaidGone: true}
	return o
}

// later is an observation that long after another, in which nothing has changed.
func later(after time.Duration, o observation) observation {
	o.replica.Left -= after
	return o
}
