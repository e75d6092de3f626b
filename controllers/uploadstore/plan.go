package uploadstore

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/conditions"
	"github.com/slipway-dev/slipway/controllers/display"
	"github.com/slipway-dev/slipway/controllers/heartbeat"
	"github.com/slipway-dev/slipway/controllers/hosts"
	"github.com/slipway-dev/slipway/controllers/managed"
)

// maxReplicas is how many replicas a status holds; more of them take no sessions.
const maxReplicas = 64

// maxCABundle is how many bytes of certificates a status holds.
const maxCABundle = 64 << 10

// plan is what a reconcile writes, and when it looks again.
type plan struct {
	// status is the operator's whole part of the status, nil when it is as it should be.
	status *v1alpha1.UploadStoreStatus
	// run is what is to be done to what a Managed store consists of.
	run runPlan
	// event tells of what the status says, nil when that is not news.
	event *news
	// requeueAfter is when the first live Lease runs out, or sooner where something is waited for
	// that nobody tells of; 0 without any.
	requeueAfter time.Duration
}

func planFor(o observation, now time.Time) plan {
	seen := look(o.store, o.replicas)
	observed := ownStatus(o.store)
	desired := v1alpha1.UploadStoreStatus{
		Conditions:         conditions.Own(observed.Conditions, v1alpha1.ConditionReady),
		ReservedBytes:      ptr.To(admission.Reserved(o.sessions)),
		ObservedGeneration: ptr.To(o.store.Generation),
	}
	busy := sessionsByReplica(o.sessions)
	for _, report := range seen.alive {
		replica := report.Replica
		replica.ActiveSessions = ptr.To(busy[replica.Name])
		desired.Replicas = append(desired.Replicas, replica)
		desired.CapacityBytes = least(desired.CapacityBytes, report.CapacityBytes)
		desired.AvailableBytes = least(desired.AvailableBytes, report.AvailableBytes)
		desired.CABundle = trust(desired.CABundle, report.CABundle)
	}
	if len(seen.alive) > 0 {
		desired.Endpoint = seen.alive[0].Replica.Endpoint
	} else {
		desired.Endpoint, desired.CABundle = lastKnown(o.store)
	}
	ready := readiness(o.store, seen)
	if o.run != nil {
		ready = runReadiness(o, seen)
		// A Lease is written by whoever may write Leases; these are the operator's own.
		desired.Endpoint, desired.CABundle = managed.Endpoint(o.store), o.run.bundle
	}
	if o.first != nil && o.store.DeletionTimestamp.IsZero() {
		ready = claimInUse(o)
	}
	ready.Type = v1alpha1.ConditionReady
	ready.Message = conditions.Bounded(ready.Message)
	ready.ObservedGeneration = o.store.Generation
	ready.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	meta.SetStatusCondition(&desired.Conditions, ready)
	desired.Display = v1alpha1.UploadStoreDisplay{
		ClaimName: display.Name(o.store.Spec.Volume.ClaimName), Endpoint: display.Name(desired.Endpoint), Message: display.Message(ready.Message),
	}

	var p plan
	if !equality.Semantic.DeepEqual(observed, desired) {
		p.status = &desired
	}
	p.requeueAfter = seen.left
	if o.run != nil {
		p.run = planRun(o)
		p.event = held(o, desired)
		if ready.Reason != v1alpha1.ReasonDataplaneReady && (p.requeueAfter == 0 || p.requeueAfter > lookAgainAfter) {
			p.requeueAfter = lookAgainAfter
		}
	}
	return p
}

// lastKnown is where clients were sent last and what they were told to trust. While no replica is alive both stay:
// whoever has sessions asks for them until one is back, which would need another try than that. An endpoint that is not
// the store's any more goes all the same.
func lastKnown(store *v1alpha1.UploadStore) (endpoint string, caBundle []byte) {
	if store.Status.Endpoint == "" || checkHost(store, "", store.Status.Endpoint) != nil {
		return "", nil
	}
	return store.Status.Endpoint, store.Status.CABundle
}

// sessionsByReplica counts the sessions that each replica holds.
func sessionsByReplica(sessions []v1alpha1.UploadSession) map[string]int32 {
	count := map[string]int32{}
	for i := range sessions {
		if admission.Holds(&sessions[i]) {
			count[sessions[i].Status.Admission.Replica]++
		}
	}
	return count
}

// ownStatus returns what the operator owns of the status.
func ownStatus(store *v1alpha1.UploadStore) v1alpha1.UploadStoreStatus {
	own := *store.Status.DeepCopy()
	own.Conditions = conditions.Own(own.Conditions, v1alpha1.ConditionReady)
	return own
}

// sightings is what the Leases of a store's replicas show.
type sightings struct {
	// alive are the replicas that are alive and report what they should, by name.
	alive []heartbeat.Report
	// invalid is what is wrong with the report of a replica that is alive, nil when nothing is.
	invalid error
	// lost is the Lease that ran out last, nil when none did.
	lost *coordinationv1.Lease
	// left is after how long the first of the Leases that are alive runs out; 0 without any.
	left time.Duration
}

func look(store *v1alpha1.UploadStore, replicas []replica) sightings {
	// A cache lists in no order, and the plan must not depend on it.
	replicas = slices.SortedFunc(slices.Values(replicas), func(a, b replica) int { return cmp.Compare(a.lease.Name, b.lease.Name) })
	var s sightings
	for _, r := range replicas {
		if !standsAlive(store, r) {
			if s.lost == nil || heartbeat.LastSeen(r.lease).After(heartbeat.LastSeen(s.lost)) {
				s.lost = r.lease
			}
			continue
		}
		if s.left == 0 || r.life.Left < s.left {
			s.left = r.life.Left
		}
		report, err := reportOf(store, r.lease)
		switch {
		case err != nil:
			s.invalid = cmp.Or(s.invalid, err)
		case len(s.alive) < maxReplicas:
			s.alive = append(s.alive, report)
		}
	}
	return s
}

// standsAlive reports whether a replica counts as alive. Where nobody can tell yet, as after a restart of the operator
// with a clock that is wrong, the one before could: what it wrote last stands.
func standsAlive(store *v1alpha1.UploadStore, r replica) bool {
	if r.life.IsAlive() || !r.life.MayBeAlive() {
		return r.life.IsAlive()
	}
	return slices.ContainsFunc(store.Status.Replicas, func(listed v1alpha1.UploadStoreReplica) bool {
		return heartbeat.LeaseName(listed.Name) == r.lease.Name
	})
}

// reportOf is what a Lease says of a replica of the store. Where a replica of a Managed store is, is known without it;
// one that somebody else runs is under a name of the store's certificate, so that no client is sent elsewhere.
func reportOf(store *v1alpha1.UploadStore, lease *coordinationv1.Lease) (heartbeat.Report, error) {
	report, err := heartbeat.Read(lease)
	if err != nil {
		return report, err
	}
	if store.Spec.Dataplane.Mode != v1alpha1.DataplaneModeManaged {
		return report, checkHost(store, lease.Name, report.Replica.Endpoint)
	}
	if report.Replica.Endpoint = managed.ReplicaEndpoint(store, report.Replica.Name); report.Replica.Endpoint == "" {
		return heartbeat.Report{}, fmt.Errorf("the name of Lease %q is not that of a Pod of UploadStore %q", lease.Name, store.Name)
	}
	return report, nil
}

// checkHost refuses an endpoint that the store's certificate is not for, and plain HTTP but on loopback.
func checkHost(store *v1alpha1.UploadStore, lease, endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return err
	case u.Scheme == "http" && !net.ParseIP(u.Hostname()).IsLoopback():
		return fmt.Errorf("the endpoint of Lease %q is %q: plain HTTP is for loopback addresses", lease, endpoint)
	case !hosts.Has(store, u.Hostname()):
		return fmt.Errorf("the endpoint of Lease %q is %q, whose host is no name of the store's certificate: list it in spec.dataplane.certificate",
			lease, endpoint)
	}
	return nil
}

// readiness says how the store stands. One replica that reports well is
// enough: another that does not is left out, and the message tells of it.
func readiness(store *v1alpha1.UploadStore, seen sightings) metav1.Condition {
	switch {
	case len(seen.alive) > 0 && seen.invalid != nil:
		return metav1.Condition{
			Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDataplaneReady,
			Message: fmt.Sprintf("The dataplane takes sessions, but for one replica: %s.", seen.invalid),
		}
	case len(seen.alive) > 0:
		return metav1.Condition{
			Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDataplaneReady,
			Message: "The dataplane takes sessions.",
		}
	case seen.invalid != nil:
		return metav1.Condition{
			Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonInvalidReport,
			Message: fmt.Sprintf("%s: the dataplane writes it, so run one of the operator's version.", seen.invalid),
		}
	case seen.lost != nil:
		return metav1.Condition{
			Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDataplaneLost,
			Message: fmt.Sprintf("No replica is alive. The last one, whose Lease is %q, renewed it at %s by its own clock: start it again.",
				seen.lost.Name, heartbeat.LastSeen(seen.lost).UTC().Format(time.RFC3339)),
		}
	default:
		return metav1.Condition{
			Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDataplaneMissing,
			Message: fmt.Sprintf("No dataplane has reported yet: start one with --store %s --namespace %s.", store.Name, store.Namespace),
		}
	}
}

// claimInUse is how a store stands whose claim another store has: its replicas, if it has any, finish what they hold.
func claimInUse(o observation) metav1.Condition {
	return metav1.Condition{
		Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonClaimInUse, Message: admission.ClaimInUse(o.store, o.first),
	}
}

// trust returns a bundle with the certificates of another that it does not have.
// One for which there is no room is left out: clients of that replica find
// its certificate unknown, and nobody trusts too much.
func trust(bundle, more []byte) []byte {
	for len(more) > 0 {
		block, rest := pem.Decode(more)
		if block == nil {
			break
		}
		certificate := more[:len(more)-len(rest)]
		if more = rest; !bytes.Contains(bundle, certificate) && len(bundle)+len(certificate) <= maxCABundle {
			bundle = append(bundle, certificate...)
		}
	}
	return bundle
}

// least returns the smaller of a value that may be missing and another. The
// replicas share a volume, so the smallest report is the safe one.
func least(current *int64, next int64) *int64 {
	if current != nil {
		next = min(*current, next)
	}
	return &next
}
