package admission

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Whatever changes of a quota, a store or a report, the next question hears of it, and an older
// version, which comes late, takes nothing back.
func TestQuestionsFollowWhatIsNewest(t *testing.T) {
	d := newDesk(store(1000, "a"))
	d.comes("holds", "", "models", 100)
	d.starts("holds")
	d.comes("waits", "", "models", 100)
	says := func(when, want string) {
		t.Helper()
		granted, refusal := d.Ask(d.sessions["waits"], noon)
		got := "started"
		if refusal != nil {
			got = refusal.Message()
		}
		if granted.Replica != "" {
			d.Settle(d.sessions["waits"], Settled{})
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	const quotaFull, volumeFull, noStore = `UploadQuota "team"`, `room in UploadStore "models"`, "There is no UploadStore"

	narrow, wide := quota("team", active(1)), quota("team", active(2))
	narrow.ResourceVersion, wide.ResourceVersion = "5", "6"
	d.SetQuota(narrow)
	says("a quota came", quotaFull)
	d.SetQuota(wide)
	says("a quota was raised", "started")
	d.SetQuota(narrow)
	says("the quota as it was", "started")

	small, large := store(199, "a"), store(1000, "a")
	small.ResourceVersion, large.ResourceVersion, small.UID, large.UID = "7", "8", "models", "models"
	d.SetStore(small)
	says("a store shrank", volumeFull)
	d.SetStore(large)
	says("a store grew", "started")
	d.SetStore(small)
	says("the store as it was", "started")
	d.DropStore(&v1alpha1.UploadStore{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models", UID: "before"}})
	says("another store of that name went", "started")
	small.ResourceVersion = "9"
	d.SetStore(small)
	says("the store shrank again", volumeFull)
	d.DropStore(small)
	says("the store went", noStore)
	d.SetStore(large)

	report := func(after time.Duration, available int64) {
		d.reports("a", after, available)
	}
	report(time.Minute, 199)
	says("a replica has little room", volumeFull)
	report(0, 1000)
	says("a report from before", volumeFull)
	d.DropReport("ml", "a", reportVersion(0))
	says("an older Lease went", volumeFull)
	d.DropReport("ml", "a", reportVersion(time.Minute))
	says("the Lease went", "started")

	report(2*time.Minute, 1000)
	says("it is back", "started")
	other := published(on("a", 801))
	other.Namespace, other.Name, other.UID, other.Spec.StoreRef.Name = "ml", "other", "other", "models"
	other.Status.Result.PublishedTime = metav1.NewTime(noon.Add(3 * time.Minute))
	d.comes("asks", "", "models", 850)
	if got := d.starts("asks"); got == "started" { // after one that has room, and was not asked about
		t.Error("what is kept for another is given away")
	}
	d.Observe(&other)
	says("an object was published since", volumeFull)
}

// Who takes the name of one that held something frees that for others.
func TestASuccessorFreesWhatWasHeld(t *testing.T) {
	d := newDesk(store(100, "a"))
	d.comes("holds", "", "models", 100)
	d.starts("holds")
	d.comes("waits", "", "models", 100)
	successor := asks(1)
	successor.Name, successor.UID, successor.ResourceVersion = "holds", "another", "100"
	successor.Spec.DesiredState = v1alpha1.DesiredStateSuspended
	if !d.Observe(successor) {
		t.Error("nobody is told")
	}
	if got := d.starts("waits"); got != "started" {
		t.Error(got)
	}
}
