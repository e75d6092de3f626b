package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	applycoordinationv1 "k8s.io/client-go/applyconfigurations/coordination/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
)

// leases takes Leases and notes them; it has no other method.
type leases struct {
	client.Client
	versions  []string // over which it was written
	available string
	trusted   string
	err       error
}

func (l *leases) Apply(_ context.Context, c runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	lease, ok := c.(*applycoordinationv1.LeaseApplyConfiguration)
	if !ok {
		return fmt.Errorf("%T is no Lease", c)
	}
	l.versions = append(l.versions, ptr.Deref(lease.ResourceVersion, ""))
	l.available = lease.Annotations[v1alpha1.AvailableBytesAnnotation]
	l.trusted = lease.Annotations[v1alpha1.CABundleAnnotation]
	if l.err != nil {
		return l.err
	}
	lease.WithResourceVersion(strconv.Itoa(len(l.versions)))
	return nil
}

func TestTheLeaseIsWrittenWhenItHasTo(t *testing.T) {
	clock := clocktesting.NewFakeClock(noon)
	space := session.Space{Total: 100 << 20, Free: 50<<20 + 7}
	var broken error
	server := &leases{}
	h := &heartbeat{
		client: server, place: here, holder: "models-0_1", endpoint: "http://127.0.0.1:1",
		space: func(context.Context) (session.Space, error) { return space, broken },
		clock: clock, log: slog.New(slog.DiscardHandler), interval: 10 * time.Second, duration: 30 * time.Second,
	}
	step := func(after time.Duration, wantErr error, want int, wantVersion string) {
		t.Helper()
		clock.Step(after)
		if err := h.beat(t.Context()); !errors.Is(err, wantErr) {
			t.Fatalf("got %v, want %v", err, wantErr)
		}
		if len(server.versions) != want || server.versions[want-1] != wantVersion {
			t.Fatalf("written over versions %q, want %d times and last over %q", server.versions, want, wantVersion)
		}
	}
	available := func(want string) {
		t.Helper()
		if server.available != want {
			t.Fatalf("available: %s, want %s", server.available, want)
		}
	}
	step(0, nil, 1, "") // whoever had it
	available("52428800")
	step(9*time.Second, nil, 1, "")
	step(time.Second, nil, 2, "1") // and from now on nobody else
	space.Free += 1000             // too little to tell
	step(time.Second, nil, 2, "1")
	space.Free -= 10 << 20
	step(time.Second, nil, 3, "2")
	available("41943040")
	space.Free = -1 // more is staged than there is room
	step(time.Second, nil, 4, "3")
	available("0")

	stranger := apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, "slipway-models-0", errors.New("changed"))
	server.err = stranger
	step(10*time.Second, stranger, 5, "4")
	server.err = nil
	step(time.Second, nil, 6, "") // taken back

	for i, c := range []struct{ bundle, want string }{
		{"the CA", "the CA"}, {"another CA", "another CA"}, {strings.Repeat("x", v1alpha1.MaxCABundleBytes+1), ""},
	} {
		h.caBundle = func() []byte { return []byte(c.bundle) }
		step(time.Second, nil, 7+i, strconv.Itoa(6+i)) // a change is told at once
		if server.trusted != c.want {
			t.Fatalf("told to trust %q, want %q", server.trusted, c.want)
		}
		step(time.Second, nil, 7+i, strconv.Itoa(6+i))
	}

	broken = errors.New("the volume is gone")
	step(time.Hour, broken, 9, "8")
}

// A Lease that outlives its store would be left for ever, and one that is written
// again after the store has gone must go too.
func TestTheLeaseGoesWithItsStore(t *testing.T) {
	for owner, want := range map[types.UID]string{"uid-1": "UploadStore models uid-1", "": ""} {
		h := &heartbeat{place: here, owner: owner, duration: 30 * time.Second}
		var got string
		for _, ref := range h.configuration(content{}, noon).OwnerReferences {
			got = fmt.Sprintf("%s %s %s", *ref.Kind, *ref.Name, *ref.UID)
			if ref.Controller != nil || ref.BlockOwnerDeletion != nil {
				t.Error("the dataplane may not hold up the store")
			}
		}
		if got != want {
			t.Errorf("with UID %q the Lease belongs to %q, want %q", owner, got, want)
		}
	}
}
