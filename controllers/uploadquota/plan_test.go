package uploadquota

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func session(store, owner string, reserved int64) v1alpha1.UploadSession {
	return v1alpha1.UploadSession{
		Spec:   v1alpha1.UploadSessionSpec{StoreRef: v1alpha1.StoreReference{Name: store}, Owner: owner},
		Status: v1alpha1.UploadSessionStatus{Admission: v1alpha1.UploadSessionAdmission{Replica: "r", ReservedBytes: &reserved}},
	}
}

func TestPlan(t *testing.T) {
	ended, waits := session("models", "alice", 1000), session("models", "alice", 1000)
	ended.Status.CompletionTime = metav1.Now()
	waits.Status.Admission = v1alpha1.UploadSessionAdmission{}
	sessions := []v1alpha1.UploadSession{
		session("models", "alice", 10), session("models", "alice", 10), session("models", "bob", 100), session("other", "", 1), ended, waits,
	}
	for _, test := range []struct {
		name string
		spec v1alpha1.UploadQuotaSpec
		want string
	}{
		{"all of it", v1alpha1.UploadQuotaSpec{Hard: v1alpha1.UploadQuotaHard{
			ActiveSessions: ptr.To[int32](5), ActiveSessionsPerOwner: ptr.To[int32](3),
			ReservedBytes: ptr.To[int64](200), ReservedBytesPerOwner: ptr.To[int64](150), ObjectBytes: 100,
		}}, "activeSessions: 4/5, activeSessionsPerOwner: 2/3, reservedBytes: 121/200, reservedBytesPerOwner: 100/150, objectBytes: 100"},
		{"of one store", v1alpha1.UploadQuotaSpec{
			StoreRef: v1alpha1.StoreReference{Name: "models"}, Hard: v1alpha1.UploadQuotaHard{ActiveSessions: ptr.To[int32](0), ReservedBytes: ptr.To[int64](7)},
		}, "activeSessions: 3/0, reservedBytes: 120/7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			quota := &v1alpha1.UploadQuota{ObjectMeta: metav1.ObjectMeta{Generation: 3}, Spec: test.spec}
			p := planFor(observation{quota: quota, sessions: sessions, storeFound: true}, noon)
			if p.status == nil || p.status.Summary != test.want || *p.status.ObservedGeneration != 3 {
				t.Fatalf("the status is %+v, want %q", p.status, test.want)
			}
			if !equality.Semantic.DeepEqual(p.status.Hard, test.spec.Hard) {
				t.Errorf("the status has the limits %+v, want those of the spec", p.status.Hard)
			}
			quota.Status = *p.status
			if again := planFor(observation{quota: quota, sessions: sessions, storeFound: true}, noon); again.status != nil {
				t.Errorf("the same again writes %+v", again.status)
			}
			quota.Status.Used.ActiveSessions = ptr.To[int32](99)
			if p := planFor(observation{quota: quota, sessions: sessions, storeFound: true}, noon); p.status == nil || p.status.Summary != test.want {
				t.Error("what somebody wrote into the status is believed")
			}
		})
	}
}

// A quota whose storeRef names no store limits nothing, and says so until the store is there.
func TestAQuotaOfNoStoreSaysSo(t *testing.T) {
	quota := &v1alpha1.UploadQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Generation: 3}}
	quota.Spec.StoreRef.Name = "modles"
	quota.Status.Conditions = []metav1.Condition{{Type: "Reviewed", Status: metav1.ConditionTrue}}
	expect := func(found bool, now time.Time, status metav1.ConditionStatus, reason, says string) {
		t.Helper()
		p := planFor(observation{quota: quota, storeFound: found}, now)
		if p.status == nil || len(p.status.Conditions) != 1 {
			t.Fatalf("the status is %+v", p.status)
		}
		ready := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionReady)
		if ready.Status != status || ready.Reason != reason || !strings.Contains(ready.Message, says) || ready.ObservedGeneration != 3 ||
			!ready.LastTransitionTime.Time.Equal(now) {
			t.Errorf("it says %+v", ready)
		}
		quota.Status = *p.status
		if again := planFor(observation{quota: quota, storeFound: found}, now.Add(time.Hour)); again.status != nil {
			t.Errorf("the same again writes %+v", again.status)
		}
	}
	expect(false, noon, metav1.ConditionFalse, v1alpha1.ReasonStoreNotFound, `no UploadStore "modles" in namespace "ml"`)
	expect(true, noon.Add(time.Minute), metav1.ConditionTrue, v1alpha1.ReasonCounting, "within the quota")
}
