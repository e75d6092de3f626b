package scale

import (
	"testing"
	"time"

	"github.com/slipway-dev/slipway/test/controlplane"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// after is a span of the seconds after noon.
func after(from, to int) span {
	return span{noon.Add(time.Duration(from) * time.Second), noon.Add(time.Duration(to) * time.Second)}
}

func write(second int, user, verb, resource, subresource, name string) controlplane.Write {
	return controlplane.Write{
		User: user, Verb: verb, Resource: resource, Subresource: subresource, Namespace: namespace, Name: name,
		Time: noon.Add(time.Duration(second) * time.Second),
	}
}

// history is of session a-1, which ends with a result at 6, and a-2, which goes on.
func history() []controlplane.Write {
	const sessions = "uploadsessions"
	return []controlplane.Write{
		write(1, "user", "create", sessions, "", "a-1"),
		write(1, "user", "create", sessions, "", "a-2"),
		write(2, operatorAccount, "patch", sessions, "", "a-1"),
		write(2, operatorAccount, "patch", sessions, "", "a-2"),
		write(3, operatorAccount, "patch", sessions, "status", "a-1"),
		write(3, operatorAccount, "patch", sessions, "status", "a-2"),
		write(3, operatorAccount, "patch", "uploadstores", "status", storeName),
		write(4, dataplaneAccount, "patch", sessions, "status", "a-1"),
		write(4, dataplaneAccount, "patch", sessions, "status", "a-2"),
		write(5, dataplaneAccount, "patch", "leases", "", "lease"),
		write(5, dataplaneAccount, "patch", sessions, "status", "b-1"),
		write(6, dataplaneAccount, "patch", sessions, "status", "a-1"),
		write(7, operatorAccount, "patch", sessions, "status", "a-1"),
		write(7, operatorAccount, "create", "events", "", ""),
		write(9, "user", "delete", sessions, "", "a-1"),
	}
}

func ended(name string) bool { return name == "a-1" }

func TestWritesOfALoad(t *testing.T) {
	want := Writes{Creates: 2, Finalizers: 2, Statuses: 3, Results: 1, Progress: 2, Events: 2, Most: 6}
	got := ofLoad(history(), map[string]int{"a-1": 1, "a-2": 1, "b-1": 1, "a": 1}, "a", after(0, 9), ended)
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Lasting() != 10 || got.Total() != 12 {
		t.Errorf("lasting %d, total %d", got.Lasting(), got.Total())
	}
}

func TestProgressIsAllButTheResult(t *testing.T) {
	for _, test := range []struct{ from, to, want int }{{0, 9, 3}, {4, 5, 2}, {5, 6, 1}, {6, 9, 0}} {
		if got := progressIn(history(), after(test.from, test.to), ended); got != test.want {
			t.Errorf("from %d to %d: got %d, want %d", test.from, test.to, got, test.want)
		}
	}
	if got := progressIn(history(), after(6, 9), func(string) bool { return false }); got != 1 {
		t.Errorf("without an end: got %d", got)
	}
}

func TestAllWritesOfASpan(t *testing.T) {
	if got := allIn(history(), after(3, 6)); got != 7 {
		t.Errorf("got %d", got)
	}
}
