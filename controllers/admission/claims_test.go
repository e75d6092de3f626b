package admission

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// onSameClaim is a store of 1000 bytes on the claim "models", that was created so long after noon.
func onSameClaim(name string, after time.Duration) *v1alpha1.UploadStore {
	s := named(name, store(1000, "0"))
	s.Spec.Volume.ClaimName = "models"
	s.CreationTimestamp = metav1.NewTime(noon.Add(after))
	return s
}

// Of two stores on one claim the one that was created first has it, in whatever order they are seen.
func TestTheFirstStoreHasTheClaim(t *testing.T) {
	older, younger := onSameClaim("z", 0), onSameClaim("a", time.Second)
	for what, stores := range map[string][]*v1alpha1.UploadStore{
		"in order": {older, younger}, "the other way round": {younger, older},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(stores...)
			d.comes("1", "", "z", 800)
			d.comes("2", "", "a", 800)
			if got := d.starts("1"); got != "started" {
				t.Error(got)
			}
			got := d.starts("2")
			for _, want := range []string{v1alpha1.ReasonStoreNotReady, `PersistentVolumeClaim "models" is that of UploadStore "z"`, "create the store again on a claim of its own"} {
				if !strings.Contains(got, want) {
					t.Errorf("%s\nwant %s", got, want)
				}
			}
		})
	}
}

func TestWithinASecondTheNameDecidesWhoHasTheClaim(t *testing.T) {
	d := newDesk(onSameClaim("b", 0), onSameClaim("a", 0))
	d.comes("1", "", "b", 1)
	d.comes("2", "", "a", 1)
	if got := d.starts("1"); got == "started" {
		t.Error("two stores have one claim")
	}
	if got := d.starts("2"); got != "started" {
		t.Error(got)
	}
}

// However a store comes by a claim, what others have admitted there is taken.
func TestTheRoomOfAClaimIsCountedOnce(t *testing.T) {
	for what, comes := range map[string]func(d *desk){
		"one that is older is seen later, such as with clocks apart": func(d *desk) { d.SetStore(onSameClaim("second", -time.Second)) },
		"the first is gone, and its replica is alive": func(d *desk) {
			d.SetStore(onSameClaim("second", time.Second))
			d.DropStore(onSameClaim("first", 0))
		},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(onSameClaim("first", 0))
			d.comes("1", "", "first", 800)
			if got := d.starts("1"); got != "started" {
				t.Fatal(got)
			}
			comes(d)
			d.comes("2", "", "second", 800)
			if got := d.starts("2"); !strings.Contains(got, v1alpha1.ReasonInsufficientSpace) {
				t.Errorf("1000 bytes are free, 800 are admitted, and of 800 more is said: %s", got)
			}
			d.Gone(d.sessions["1"])
			if got := d.starts("2"); got != "started" {
				t.Error(got)
			}
		})
	}
}

// A store waits for nobody once the one before it on its claim is gone.
func TestTheClaimPassesOn(t *testing.T) {
	first := onSameClaim("first", 0)
	d := newDesk(first, onSameClaim("second", time.Second), named("third", store(1000, "0")))
	d.comes("1", "", "second", 800)
	d.comes("2", "", "third", 800)
	if got := d.starts("2"); got != "started" {
		t.Errorf("a store on another claim: %s", got)
	}
	if got := d.starts("1"); got == "started" {
		t.Fatal("two stores have one claim")
	}
	d.DropStore(first)
	if got := d.starts("1"); got != "started" {
		t.Error(got)
	}
}

// What a store that is gone has published takes room until a report of the next one on its claim shows it.
func TestAnObjectOfAStoreThatIsGone(t *testing.T) {
	d := newDesk(onSameClaim("first", 0), onSameClaim("second", time.Second))
	reports := func(after time.Duration) {
		d.SetReport("ml", "second-0", Report{
			Store: "second", AvailableBytes: 1000, MeasuredAt: noon.Add(after), Version: reportVersion(after),
		})
	}
	reports(0)
	published := published(on("first-0", 600))
	published.Namespace, published.Name, published.UID, published.Spec.StoreRef.Name = "ml", "1", "1", "first"
	published.Status.Result.PublishedTime = metav1.NewTime(noon.Add(time.Minute))
	d.Observe(&published)
	d.DropStore(onSameClaim("first", 0))
	d.comes("2", "", "second", 600)
	if got := d.starts("2"); got == "started" {
		t.Error("the room of an object is given away")
	}
	reports(2 * time.Minute)
	if got := d.starts("2"); got != "started" {
		t.Error(got)
	}
}
