package uploadquota

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

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
			p := planFor(observation{quota: quota, sessions: sessions})
			if p.status == nil || p.status.Summary != test.want || *p.status.ObservedGeneration != 3 {
				t.Fatalf("the status is %+v, want %q", p.status, test.want)
			}
			if !equality.Semantic.DeepEqual(p.status.Hard, test.spec.Hard) {
				t.Errorf("the status has the limits %+v, want those of the spec", p.status.Hard)
			}
			quota.Status = *p.status
			if again := planFor(observation{quota: quota, sessions: sessions}); again.status != nil {
				t.Errorf("the same again writes %+v", again.status)
			}
			quota.Status.Used.ActiveSessions = ptr.To[int32](99)
			if p := planFor(observation{quota: quota, sessions: sessions}); p.status == nil || p.status.Summary != test.want {
				t.Error("what somebody wrote into the status is believed")
			}
		})
	}
}
