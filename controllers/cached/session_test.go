package cached_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/cached"
)

// hostile is a session with as much of everything as the API takes, as it comes from the API server: no two share a string.
func hostile(i int) *v1alpha1.UploadSession {
	long := func(n int) string { return strings.Repeat("x", n) }
	s := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ml", Name: fmt.Sprintf("session-%06d", i), UID: types.UID(fmt.Sprintf("%036d", i)), ResourceVersion: fmt.Sprint(1000000 + i),
			Annotations: map[string]string{"a": long(10 << 10)}, Labels: map[string]string{"b": long(63)},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(long(1 << 10))}},
			OwnerReferences: []metav1.OwnerReference{{Name: long(200)}},
		},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: "none" + long(40)}, Key: long(1024), SizeBytes: ptr.To[int64](1), Digest: long(71), Owner: long(512),
			Attributes: map[string]v1alpha1.AttributeValue{}, DesiredState: v1alpha1.DesiredStateActive, ReclaimPolicy: v1alpha1.ReclaimPolicyRetain,
		},
	}
	for f := range 20 {
		s.Finalizers = append(s.Finalizers, fmt.Sprintf("example.com/%d-%d-%s", i, f, long(50)))
	}
	for a := range 16 {
		s.Spec.Uploaders = append(s.Spec.Uploaders, fmt.Sprint(i, "-", a, "-", long(230)))
		s.Spec.Attributes[fmt.Sprint(a, long(50))] = v1alpha1.AttributeValue(long(256))
	}
	for _, c := range []string{
		v1alpha1.ConditionAdmitted, v1alpha1.ConditionAcceptingChunks, v1alpha1.ConditionSucceeded,
		v1alpha1.ConditionReady, v1alpha1.ConditionStalled, "Scanned",
	} {
		s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{
			Type: c, Status: metav1.ConditionFalse, Reason: "Store" + long(10), Message: long(300), LastTransitionTime: metav1.NewTime(time.Unix(1, 0)),
		})
	}
	return s
}

// What a hostile session takes of the operator is bounded by what the operator reads of it.
func TestASessionTakesLittle(t *testing.T) {
	const sessions, most = 2000, 2 << 10
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	before := live()
	for i := range sessions {
		kept, err := cached.Session(hostile(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Add(kept); err != nil {
			t.Fatal(err)
		}
	}
	if each := (live() - before) / sessions; each > most {
		t.Errorf("a session takes %d bytes, and may take %d", each, most)
	}
	runtime.KeepAlive(store)
}

func live() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What the operator reads is kept. Each field is one that a reconciler, the ledger or a metric reads.
func TestWhatIsReadIsKept(t *testing.T) {
	now := metav1.NewTime(time.Unix(1, 0))
	want := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ml", Name: "llama", UID: "1", ResourceVersion: "2", Generation: 3,
			CreationTimestamp: now, DeletionTimestamp: &now, Finalizers: []string{v1alpha1.StagingFinalizer},
		},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: "models"}, Key: "llama/model.gguf", SizeBytes: ptr.To[int64](4), ChunkSizeBytes: 5, Owner: "alice",
			DesiredState: v1alpha1.DesiredStateSuspended, ActiveDeadlineSeconds: 6, ReclaimPolicy: v1alpha1.ReclaimPolicyDelete,
			TTLSecondsAfterFinished: ptr.To[int32](7),
		},
		Status: v1alpha1.UploadSessionStatus{
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionAdmitted, Status: metav1.ConditionTrue, Reason: "Admitted", Message: "m", ObservedGeneration: 3}},
			Admission:  v1alpha1.UploadSessionAdmission{Replica: "models-0", Endpoint: "https://e", ReservedBytes: ptr.To[int64](8), AdmittedTime: now, ChunkSizeBytes: 9},
			Result:     v1alpha1.UploadSessionResult{Outcome: v1alpha1.UploadOutcomePublished, Key: "k", PublishedTime: now},
			Display:    v1alpha1.UploadSessionDisplay{Key: "llama/model.gguf", Owner: "alice", Message: "m"},
			StartTime:  now, ExpirationTime: now, CompletionTime: now, ReclaimedTime: now, ObservedGeneration: ptr.To[int64](3),
		},
	}
	whole := want.DeepCopy()
	whole.Annotations = map[string]string{"a": "b"}
	whole.Status.Progress.Percent = ptr.To[int32](10)
	whole.Status.Conditions = append(whole.Status.Conditions, metav1.Condition{Type: "Scanned"})
	kept, err := cached.Session(whole)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Error(diff)
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "ml/llama"}
	if kept, err := cached.Session(tombstone); err != nil || kept != tombstone {
		t.Errorf("a tombstone becomes %v, %v", kept, err)
	}
}

// Of a long key what is displayed is kept, also when a session comes to the transform again.
func TestOfALongKeyWhatIsDisplayedIsKept(t *testing.T) {
	whole := &v1alpha1.UploadSession{Spec: v1alpha1.UploadSessionSpec{Key: strings.Repeat("a", 12) + strings.Repeat("/b", 500)}}
	want := strings.Repeat("a", 12) + "…" + "b" + strings.Repeat("/b", 12)
	for range 2 {
		kept, err := cached.Session(whole)
		if err != nil {
			t.Fatal(err)
		}
		whole = kept.(*v1alpha1.UploadSession) //nolint:errcheck // a session stays one
		if whole.Spec.Key != want {
			t.Errorf("of the key %q is kept, want %q", whole.Spec.Key, want)
		}
	}
}
