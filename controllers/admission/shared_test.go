package admission

import (
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sharedDesk has a store of 1000 bytes, two replicas that share its volume, and a session of 600 bytes that "b"
// has published after "a" looked at the volume, and before "b" did.
func sharedDesk(t *testing.T) *desk {
	t.Helper()
	d := newDesk(store(1000, "a", "b"))
	d.reports("a", 0, 1000)
	published := published(on("b", 600))
	published.Namespace, published.Name, published.UID, published.Spec.StoreRef.Name = "ml", "1", "1", "models"
	published.Status.Result.PublishedTime = metav1.NewTime(noon.Add(time.Minute))
	d.Observe(&published)
	d.reports("b", 2*time.Minute, 400)
	d.comes("2", "", "models", 600)
	return d
}

func (d *desk) reports(replica string, after time.Duration, available int64) {
	d.SetReport("ml", replica, Report{
		Store: "models", AvailableBytes: available, MeasuredAt: noon.Add(after), Version: reportVersion(after),
	})
}

// reportVersion is the version of a Lease that was written so long after noon.
func reportVersion(after time.Duration) string {
	return strconv.FormatInt(int64(after/time.Second), 10)
}

// A replica whose clock is set back is believed from its next report on: neither what it has free nor what it
// published is waited for until its clock is where it was.
func TestAClockThatIsSetBackHoldsUpNoReport(t *testing.T) {
	d := newDesk(store(1000, "a"))
	back := func(after time.Duration, available int64) {
		d.SetReport("ml", "a", Report{
			Store: "models", AvailableBytes: available, MeasuredAt: noon.Add(after - 2*time.Hour), Version: reportVersion(after),
		})
	}
	d.reports("a", 0, 1000)
	published := published(on("a", 600))
	published.Namespace, published.Name, published.UID, published.Spec.StoreRef.Name = "ml", "1", "1", "models"
	published.Status.Result.PublishedTime = metav1.NewTime(noon.Add(time.Minute))
	d.Observe(&published)
	back(2*time.Minute, 400)
	back(3*time.Minute, 900) // 500 bytes were deleted
	d.comes("2", "", "models", 850)
	if got := d.starts("2"); got != "started" {
		t.Errorf("of 900 bytes that are free 850 are asked for: %s", got)
	}
	d.comes("3", "", "models", 100)
	if got := d.starts("3"); got == "started" {
		t.Error("more is given than there is")
	}
}

// Whatever becomes of the replica that published an object, another's older report does not give its room away.
func TestAnObjectOfAReplicaThatIsGone(t *testing.T) {
	for what, goes := range map[string]func(*desk){
		"its Lease goes":  func(d *desk) { d.DropReport("ml", "b", reportVersion(2*time.Minute)) },
		"it has run out":  func(d *desk) { d.SetStore(store(1000, "a")) },
		"it never looked": func(d *desk) { d.reports("b", 2*time.Minute, 1000) },
	} {
		t.Run(what, func(t *testing.T) {
			d := sharedDesk(t)
			goes(d)
			if got := d.starts("2"); got == "started" {
				t.Fatal("the room of an object is given away")
			}
			d.reports("a", 3*time.Minute, 1000) // somebody deleted the object
			d.reports("b", 3*time.Minute, 1000)
			if got := d.starts("2"); got != "started" {
				t.Error(got)
			}
		})
	}
}

// An operator that has just begun knows sessions before it knows reports.
func TestAnObjectThatIsKnownBeforeAnyReport(t *testing.T) {
	d := newDesk(store(1000, "a"))
	published := published(on("a", 600))
	published.Namespace, published.Name, published.UID, published.Spec.StoreRef.Name = "ml", "1", "1", "models"
	published.Status.Result.PublishedTime = metav1.NewTime(noon.Add(time.Minute))
	d.Observe(&published)
	d.reports("a", 0, 1000)
	d.comes("2", "", "models", 600)
	if got := d.starts("2"); got == "started" {
		t.Fatal("the room of an object is given away")
	}
	d.reports("a", 2*time.Minute, 1000)
	if got := d.starts("2"); got != "started" {
		t.Error(got)
	}
}

// The sum of what is admitted to replicas that share a volume is bounded by the least that any of them reports.
func TestReplicasShareTheRoom(t *testing.T) {
	d := newDesk(store(1000, "a", "b"))
	d.reports("a", 0, 1000)
	d.reports("b", 0, 1000)
	for name, want := range map[string]string{"1": "started", "2": "started"} {
		d.comes(name, "", "models", 500)
		if got := d.starts(name); got != want {
			t.Errorf("session %s: %s", name, got)
		}
	}
	d.comes("3", "", "models", 1)
	if got := d.starts("3"); got == "started" {
		t.Error("more is admitted than the volume holds")
	}
}
