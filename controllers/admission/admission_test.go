package admission

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestAsk(t *testing.T) {
	const never = "" // refused
	tests := []struct {
		name    string
		session *v1alpha1.UploadSession
		store   *v1alpha1.UploadStore
		others  []v1alpha1.UploadSession
		replica string
		reason  string
		final   bool
		says    string
	}{
		{
			name:    "a session that fits is granted the replica that is alive",
			session: asks(100), store: store(1000, "a"), replica: "a",
		},
		{
			name:    "an empty object fits on a full volume",
			session: asks(0), store: store(0, "a"), replica: "a",
		},
		{
			name:    "a session whose store is missing waits for it",
			session: asks(100), replica: never, reason: v1alpha1.ReasonStoreNotFound,
			says: `There is no UploadStore "models" in namespace "ml": create it`,
		},
		{
			name:    "a session whose store is new waits until the operator has looked at the store",
			session: asks(100), store: changed(store(1000, "a"), func(s *v1alpha1.UploadStore) { s.Status = v1alpha1.UploadStoreStatus{} }),
			replica: never, reason: v1alpha1.ReasonStoreNotReady, says: "has not looked at it yet",
		},
		{
			name:    "a session whose store is not ready waits, and passes on why",
			session: asks(100), store: changed(store(1000, "a"), func(s *v1alpha1.UploadStore) {
				s.Status.Conditions[0].Status, s.Status.Conditions[0].Message = metav1.ConditionFalse, "No replica is alive."
			}),
			replica: never, reason: v1alpha1.ReasonStoreNotReady, says: `UploadStore "models" is not ready: No replica is alive.`,
		},
		{
			name:    "a session as large as the store allows is admitted",
			session: asks(100), store: changed(store(1000, "a"), maxObject(100)), replica: "a",
		},
		{
			name:    "a session larger than the store allows is refused for good",
			session: asks(101), store: changed(store(1000, "a"), maxObject(100)),
			replica: never, reason: v1alpha1.ReasonExceedsStoreLimits, final: true, says: "takes objects of at most 100 bytes",
		},
		{
			name:    "a session with larger chunks than the store allows is refused for good",
			session: inChunksOf(65, asks(100)), store: store(1000, "a"),
			replica: never, reason: v1alpha1.ReasonExceedsStoreLimits, final: true, says: "with a smaller chunkSizeBytes",
		},
		{
			name:    "a session of as many chunks as there may be is admitted",
			session: inChunksOf(4096, asks(409_600_000)), store: changed(store(412_800_000, "a"), maxChunk(4096)), replica: "a",
		},
		{
			name:    "a session of many chunks waits for the room that its ledger takes, too",
			session: inChunksOf(4096, asks(409_600_000)), store: changed(store(412_799_999, "a"), maxChunk(4096)),
			replica: never, reason: v1alpha1.ReasonInsufficientSpace, says: "needs 412800000, and the volume would have 412799999 free",
		},
		{
			name:    "a session of as many small chunks as there may be is admitted",
			session: inChunksOf(2, asks(2000)), store: store(2000, "a"), replica: "a",
		},
		{
			name:    "a session of one small chunk more is refused for good",
			session: inChunksOf(2, asks(2001)), store: store(1_000_000, "a"),
			replica: never, reason: v1alpha1.ReasonExceedsStoreLimits, final: true, says: "at least 4096 bytes each: create the session again",
		},
		{
			name:    "a session of one more chunk, although it holds a single byte, is refused for good",
			session: inChunksOf(4096, asks(409_600_001)), store: changed(store(1_000_000_000, "a"), maxChunk(4096)),
			replica: never, reason: v1alpha1.ReasonExceedsStoreLimits, final: true, says: "with a larger chunkSizeBytes",
		},
		{
			name:    "chunks of the store's default size count too",
			session: asks(16*100_000 + 1), store: store(10_000_000, "a"),
			replica: never, reason: v1alpha1.ReasonExceedsStoreLimits, final: true, says: "1600001 bytes in chunks of 16 bytes",
		},
		{
			name:    "a session that fits to the byte beside the others is admitted",
			session: asks(400), store: store(1000, "a"), others: sessions(on("a", 600)), replica: "a",
		},
		{
			name:    "a session that lacks one byte waits, and says how many bytes there are",
			session: asks(401), store: store(1000, "a"), others: sessions(on("a", 600)),
			replica: never, reason: v1alpha1.ReasonInsufficientSpace, says: `Waits for room in UploadStore "models": needs 401, 400 of 1000 were free at 2026-11-23T12:00:00Z`,
		},
		{
			name:    "a volume that shrank below what is reserved has nothing free",
			session: asks(1), store: store(500, "a"), others: sessions(on("a", 600)),
			replica: never, reason: v1alpha1.ReasonInsufficientSpace, says: `needs 1, 0 of 500 were free`,
		},
		{
			name:    "sessions that have ended or wait reserve nothing",
			session: asks(1000), store: store(1000, "a"),
			others:  sessions(published(on("a", 600)), ended(on("a", 600)), later(asks(600))),
			replica: "a",
		},
		{
			name:    "the replica with the fewest sessions is chosen",
			session: asks(1), store: store(1000, "a", "b", "c"), others: sessions(on("a", 1), on("a", 1), on("b", 1), on("c", 1), on("c", 1)),
			replica: "b",
		},
		{
			name:    "the first by name is chosen among equals, whatever the order",
			session: asks(1), store: store(1000, "c", "a", "b"), others: sessions(on("a", 1), on("b", 1), on("c", 1)),
			replica: "a",
		},
		{
			name:    "sessions that have ended do not burden their replica",
			session: asks(1), store: store(1000, "b", "a"), others: sessions(published(on("a", 1)), on("b", 1)),
			replica: "a",
		},
		{
			name:    "a replica that a managed store is to lose takes no session, however idle it is",
			session: asks(1), store: changed(store(1000, "models-1", "models-0"), inManaged(1)), others: sessions(on("models-0", 1)), replica: "models-0",
		},
		{
			name:    "a replica that a managed store is scaled up by takes the next",
			session: asks(1), store: changed(store(1000, "models-0", "models-1"), inManaged(2)), others: sessions(on("models-0", 1)), replica: "models-1",
		},
		{
			name:    "a managed store waits for a replica that stays",
			session: asks(1), store: changed(store(1000, "models-1"), inManaged(1)), replica: never, reason: v1alpha1.ReasonStoreNotReady, says: "is not ready",
		},
		{
			name:    "a store that is being deleted takes no session",
			session: asks(1), store: changed(store(1000, "a"), func(s *v1alpha1.UploadStore) { s.DeletionTimestamp = &metav1.Time{Time: noon} }),
			replica: never, reason: v1alpha1.ReasonStoreNotReady, says: "is being deleted: name another store",
		},
		{
			name:    "an idle store gives its first replica",
			session: asks(1), store: store(1000, "b", "a"), replica: "a",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			grant, refusal := ask(test.session, test.store, test.others)
			if grant.Replica != test.replica {
				t.Errorf("the session is granted %q, want %q (refusal: %+v)", grant.Replica, test.replica, refusal)
			}
			if refusal == nil {
				refusal = &Refusal{}
			}
			if refusal.Reason != test.reason || refusal.Final != test.final || !strings.Contains(refusal.Message(), test.says) {
				t.Errorf("the refusal is %+v, want reason %q, final %v, a message with %q", *refusal, test.reason, test.final, test.says)
			}
		})
	}
}

func TestTheSessionsOwnChunkSizeComesBeforeTheDefault(t *testing.T) {
	grant, _ := ask(inChunksOf(8, asks(100)), store(1000, "a"), nil)
	if grant.ChunkSizeBytes != 8 {
		t.Errorf("the chunk size is %d, want 8", grant.ChunkSizeBytes)
	}
	if grant.IdleTimeoutSeconds != 3600 || *grant.ReservedBytes != 100 || !grant.AdmittedTime.Time.Equal(noon) {
		t.Errorf("the grant is %+v", grant)
	}
}

func TestAGrantKeepsWhatTheStoreSaysOfTime(t *testing.T) {
	ttl := int32(0)
	timed := changed(store(1000, "a"), func(s *v1alpha1.UploadStore) {
		s.Spec.Defaults.ActiveDeadlineSeconds, s.Spec.Defaults.TTLSecondsAfterFinished = 7200, &ttl
		s.Spec.Limits.MaxIdleTimeoutSeconds, s.Spec.Limits.MaxActiveDeadlineSeconds = 4000, 9000
	})
	grant, _ := ask(asks(100), timed, nil)
	if grant.ActiveDeadlineSeconds != 7200 || grant.MaxIdleTimeoutSeconds != 4000 || grant.MaxActiveDeadlineSeconds != 9000 ||
		grant.TTLSecondsAfterFinished == nil || *grant.TTLSecondsAfterFinished != 0 {
		t.Errorf("the grant is %+v", grant)
	}
	if grant, _ = ask(asks(100), store(1000, "a"), nil); grant.TTLSecondsAfterFinished != nil {
		t.Errorf("the grant is %+v, although the store says nothing", grant)
	}
}

func TestAGrantKeepsWhoseTheSessionIs(t *testing.T) {
	for _, test := range []struct{ store, want v1alpha1.StoreAccess }{
		{v1alpha1.StoreAccessOwner, v1alpha1.StoreAccessOwner}, {v1alpha1.StoreAccessNamespace, ""}, {"", ""},
	} {
		grant, _ := ask(asks(1), changed(store(1000, "a"), func(s *v1alpha1.UploadStore) { s.Spec.Access = test.store }), nil)
		if grant.Access != test.want {
			t.Errorf("of a store with access %q the grant has %q, want %q", test.store, grant.Access, test.want)
		}
	}
}

func TestReserved(t *testing.T) {
	got := Reserved(sessions(on("a", 1), on("b", 2), published(on("a", 4)), ended(on("a", 8)), *asks(16)))
	if got != 3 {
		t.Errorf("Reserved is %d, want 3", got)
	}
}

// Whoever's status tells of a replica is to hear when the replicas change.
func TestHolders(t *testing.T) {
	goes := func(s v1alpha1.UploadSession, policy v1alpha1.ReclaimPolicy) v1alpha1.UploadSession {
		s.DeletionTimestamp, s.Spec.ReclaimPolicy = ptr.To(metav1.NewTime(noon)), policy
		return s
	}
	reclaimed := goes(published(on("a", 1)), v1alpha1.ReclaimPolicyDelete)
	reclaimed.Status.ReclaimedTime = metav1.NewTime(noon)
	elsewhere := on("b", 1)
	elsewhere.Spec.StoreRef.Name = "other"
	l := NewLedger()
	for name, s := range map[string]v1alpha1.UploadSession{
		"holds":                      on("a", 1),
		"holds while it goes":        goes(on("a", 1), v1alpha1.ReclaimPolicyRetain),
		"reclaims":                   goes(published(on("a", 1)), v1alpha1.ReclaimPolicyDelete),
		"has reclaimed":              reclaimed,
		"keeps its object":           goes(published(on("a", 1)), v1alpha1.ReclaimPolicyRetain),
		"is published":               published(on("a", 1)),
		"waits":                      *asks(1),
		"is on another store's disk": elsewhere,
	} {
		s.Namespace, s.Name, s.UID = "ml", name, types.UID(name)
		s.Spec.StoreRef.Name = cmp.Or(s.Spec.StoreRef.Name, "models")
		l.Observe(&s)
	}
	if got, want := slices.Sorted(l.Holders("ml", "models")), []string{"holds", "holds while it goes", "reclaims"}; !slices.Equal(got, want) {
		t.Errorf("%q have to do with the store's replicas, want %q", got, want)
	}
}

// ask is the answer of a ledger that knows the session, its store and other sessions of it.
func ask(s *v1alpha1.UploadSession, st *v1alpha1.UploadStore, others []v1alpha1.UploadSession) (v1alpha1.UploadSessionAdmission, *Refusal) {
	l := NewLedger()
	if st != nil {
		l.SetStore(st)
		for _, r := range st.Status.Replicas {
			l.SetReport("ml", r.Name, Report{Store: st.Name, AvailableBytes: *st.Status.AvailableBytes, MeasuredAt: noon})
		}
	}
	for i := range others {
		other := &others[i]
		other.Namespace, other.Name, other.UID = "ml", fmt.Sprint("other-", i), types.UID(fmt.Sprint(i))
		other.Spec.StoreRef.Name = "models"
		l.Observe(other)
	}
	l.Observe(s)
	return l.Ask(s, noon)
}

func later(s *v1alpha1.UploadSession) v1alpha1.UploadSession {
	s.CreationTimestamp = metav1.NewTime(noon)
	return *s
}

func asks(size int64) *v1alpha1.UploadSession {
	return &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "llama"},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: "models"}, SizeBytes: &size, DesiredState: v1alpha1.DesiredStateActive,
		},
	}
}

func inChunksOf(size int64, s *v1alpha1.UploadSession) *v1alpha1.UploadSession {
	s.Spec.ChunkSizeBytes = size
	return s
}

func on(replica string, reserved int64) v1alpha1.UploadSession {
	return v1alpha1.UploadSession{Status: v1alpha1.UploadSessionStatus{
		Admission: v1alpha1.UploadSessionAdmission{Replica: replica, ReservedBytes: &reserved},
	}}
}

func published(s v1alpha1.UploadSession) v1alpha1.UploadSession {
	s.Status.Result.Outcome = v1alpha1.UploadOutcomePublished
	return s
}

func ended(s v1alpha1.UploadSession) v1alpha1.UploadSession {
	s.Status.CompletionTime = metav1.NewTime(noon)
	return s
}

func sessions(list ...v1alpha1.UploadSession) []v1alpha1.UploadSession { return list }

func store(available int64, replicas ...string) *v1alpha1.UploadStore {
	chunk, maxChunk, idle := int64(16), int64(64), int32(3600)
	s := &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models"},
		Spec: v1alpha1.UploadStoreSpec{
			Volume:   v1alpha1.VolumeSource{ClaimName: "models"},
			Limits:   v1alpha1.StoreLimits{MaxChunkBytes: maxChunk},
			Defaults: v1alpha1.StoreDefaults{ChunkSizeBytes: chunk, IdleTimeoutSeconds: idle},
		},
		Status: v1alpha1.UploadStoreStatus{
			Conditions:     []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}},
			AvailableBytes: &available,
		},
	}
	for _, name := range replicas {
		s.Status.Replicas = append(s.Status.Replicas, v1alpha1.UploadStoreReplica{Name: name, Endpoint: "http://" + name})
	}
	return s
}

func maxChunk(n int64) func(*v1alpha1.UploadStore) {
	return func(s *v1alpha1.UploadStore) { s.Spec.Limits.MaxChunkBytes = n }
}

func maxObject(n int64) func(*v1alpha1.UploadStore) {
	return func(s *v1alpha1.UploadStore) { s.Spec.Limits.MaxObjectBytes = n }
}

func changed(s *v1alpha1.UploadStore, change func(*v1alpha1.UploadStore)) *v1alpha1.UploadStore {
	change(s)
	return s
}
