package cluster

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycoordinationv1 "k8s.io/client-go/applyconfigurations/coordination/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
)

// availableStep is what availableBytes is rounded down to, so that the Lease
// does not change with every small file.
const availableStep = 1 << 20

// heartbeat renews the Lease that says that this replica is alive, where it is
// and how much room its volume has. A volume that can't be asked for its room
// can't take uploads either, and then the Lease runs out.
//
// The Lease is no lock: one replica of a volume is one process at a time, which
// the sink sees to. So it is taken over at once, whoever held it, and a
// replica that was killed is back without waiting for its own Lease to run out.
// When the process stops it leaves the Lease, which then runs out.
type heartbeat struct {
	client   client.Client // no cache
	place    place
	owner    types.UID // of the store, with which the Lease goes; empty where that is not known
	holder   string    // unique to this process
	endpoint string
	caBundle func() []byte // may be nil
	space    func(context.Context) (session.Space, error)
	clock    session.Clock
	log      *slog.Logger

	interval time.Duration // between renewals
	duration time.Duration // until the Lease runs out
	retry    time.Duration // after a renewal that failed, and at least between any two

	ends chan struct{} // holds one token when an upload has ended

	acquired time.Time
	renewed  time.Time
	version  string // resourceVersion of what this process wrote last; empty before
	written  content
	failing  bool // the last attempt failed
}

// content is what the Lease says beside that the replica is alive.
type content struct {
	space   session.Space
	trusted string
}

// trusted is what clients are told to trust. What is too long for the Lease is
// left out, and the log tells of it: the replica is reached by who knows its certificate.
func (h *heartbeat) trusted() string {
	if h.caBundle == nil {
		return ""
	}
	bundle := h.caBundle()
	if len(bundle) > v1alpha1.MaxCABundleBytes {
		h.log.Warn("the bundle of certificates is too long to tell clients of it", "bytes", len(bundle), "most", v1alpha1.MaxCABundleBytes)
		return ""
	}
	return string(bundle)
}

// ended makes the Lease show the room that the volume has now, soon; it returns at once.
func (h *heartbeat) ended() {
	select {
	case h.ends <- struct{}{}:
	default:
	}
}

// run renews the Lease until the context is done.
func (h *heartbeat) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := h.beat(ctx); ctx.Err() == nil {
			h.tell(err)
		}
		// However many uploads end, there is a pause after each look.
		select {
		case <-h.clock.After(h.retry):
		case <-ctx.Done():
			return nil
		}
		select {
		case <-h.ends:
		case <-h.clock.After(max(0, h.renewed.Add(h.interval).Sub(h.clock.Now()))):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// tell logs when renewing begins to fail and when it works again.
func (h *heartbeat) tell(err error) {
	switch {
	case err != nil && !h.failing:
		h.log.Warn("Lease not renewed, will try again", "lease", h.name(), "error", err)
	case err == nil && h.failing:
		h.log.Info("Lease renewed again", "lease", h.name())
	}
	h.failing = err != nil
}

// beat renews the Lease if that is due or its content has changed.
func (h *heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// Before the look at the volume: what was published before that time is in what the Lease says.
	now := h.clock.Now()
	space, err := h.space(ctx)
	if err != nil {
		return err
	}
	space.Free -= space.Free % availableStep
	says := content{space: space, trusted: h.trusted()}
	if says == h.written && now.Before(h.renewed.Add(h.interval)) {
		return nil
	}
	if h.acquired.IsZero() {
		h.acquired = now
	}
	lease := h.configuration(says, now)
	err = h.client.Apply(ctx, lease, client.FieldOwner(v1alpha1.DataplaneFieldManager), client.ForceOwnership)
	if err != nil {
		// The next attempt does not ask who wrote last.
		h.version = ""
		if apierrors.IsConflict(err) {
			h.log.Warn("somebody else writes the Lease of this replica: is there another dataplane with the same --replica?",
				"lease", h.name())
		}
		return err
	}
	h.version, h.renewed, h.written = *lease.ResourceVersion, now, says
	return nil
}

// configuration is the whole Lease. From the second renewal on it holds only
// if nobody else wrote it meanwhile, which finds two replicas of one name.
func (h *heartbeat) configuration(says content, now time.Time) *applycoordinationv1.LeaseApplyConfiguration {
	lease := applycoordinationv1.Lease(h.name(), h.place.namespace).
		WithLabels(map[string]string{v1alpha1.StoreLabel: h.place.store}).
		WithAnnotations(map[string]string{
			v1alpha1.EndpointAnnotation:       h.endpoint,
			v1alpha1.CapacityBytesAnnotation:  strconv.FormatInt(says.space.Total, 10),
			v1alpha1.AvailableBytesAnnotation: strconv.FormatInt(max(0, says.space.Free), 10),
		}).
		WithSpec(applycoordinationv1.LeaseSpec().
			WithHolderIdentity(h.holder).
			WithLeaseDurationSeconds(int32(h.duration / time.Second)).
			WithAcquireTime(metav1.NewMicroTime(h.acquired)).
			WithRenewTime(metav1.NewMicroTime(now)))
	if h.owner != "" {
		lease.WithOwnerReferences(applymetav1.OwnerReference().
			WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("UploadStore").WithName(h.place.store).WithUID(h.owner))
	}
	if says.trusted != "" {
		lease.WithAnnotations(map[string]string{v1alpha1.CABundleAnnotation: says.trusted})
	}
	if h.version != "" {
		lease.WithResourceVersion(h.version)
	}
	return lease
}

func (h *heartbeat) name() string { return v1alpha1.LeaseNamePrefix + h.place.replica }
