package admission

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Sessions that were named and that nothing came of, as what they need can't be written, keep nobody
// else from being named.
func TestALookPassesOverWhatItHasNamed(t *testing.T) {
	for _, test := range []struct {
		kind         string
		desk         func() *desk
		most, behind int
	}{
		{"may start", func() *desk {
			d := newDesk(store(1000, "a"))
			for i := range 5 {
				d.comes(fmt.Sprint(i), "", "models", 1)
			}
			return d
		}, 2, 9},
		{"stand behind others", func() *desk {
			d := newDesk(store(1000, "a"))
			d.SetQuota(quota("team", active(0), bytes(1)))
			for i := range 6 {
				name := fmt.Sprint(i)
				d.comes(name, "", "models", 1)
				d.starts(name)
			}
			d.SetQuota(quota("team", active(1)))
			d.starts("0")
			d.starts("1")
			return d
		}, 9, 2},
	} {
		d := test.desk()
		look := func(after time.Duration) ([]string, bool) {
			names, more := d.Look("ml", noon.Add(after), test.most, test.behind)
			slices.Sort(names)
			return names, more
		}
		var named []string
		for i := range 2 {
			after := time.Duration(i) * underWay
			names, more := look(after)
			if len(names) != 2 || !more {
				t.Errorf("%s: %v of look %d, more: %v; want two and more", test.kind, names, i, more)
			}
			if again, more := look(after + underWay/2); len(again) != 0 || !more {
				t.Errorf("%s: %v are named while those before are under way, more: %v", test.kind, again, more)
			}
			named = append(named, names...)
		}
		slices.Sort(named)
		if len(slices.Compact(named)) != 4 {
			t.Errorf("%s: %v are named, some of them twice", test.kind, named)
		}
		if names, _ := look(overdue); len(names) != 2 {
			t.Errorf("%s: %v are named, want those that are overdue again", test.kind, names)
		}
	}
}

// A session that was named in vain and waits as it did is named at once when its turn comes.
func TestALookNamesAgainWhoWaitsAsBefore(t *testing.T) {
	d := newDesk(store(50, "a"))
	d.comes("1", "", "models", 100)
	d.starts("1") // and is told to wait
	d.comes("2", "", "models", 10)
	d.starts("2")
	for range 2 {
		d.SetStore(store(100, "a"))
		if names, _ := d.Look("ml", noon, 9, 9); !slices.Equal(names, []string{"1"}) {
			t.Fatalf("%v are named, want the first", names)
		}
		d.SetStore(store(50, "a"))
		if _, refusal := d.Ask(d.sessions["1"], noon); refusal == nil {
			t.Fatal("the session may start")
		}
	}
}
