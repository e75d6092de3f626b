package cluster

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/liveness"
)

const (
	// freshEndpoint is how long an endpoint is believed without another look at the Lease; while the
	// API server does not answer it is believed for as long as ownership is.
	freshEndpoint = 10 * time.Second
	// doubtful is how long it is believed where the replica could not be reached, or had no live
	// Lease: it may be back at any time.
	doubtful = time.Second
	// maxReplicas bounds how many endpoints are remembered.
	maxReplicas = 256
)

// Replicas tells where the other replicas of the store are, by their Leases. It
// may be used before Run, and its methods concurrently.
type Replicas struct {
	place     place
	live      client.Reader // no cache
	clock     session.Clock
	owners    *owners
	liveness  *liveness.Observer
	endpoints *cache.LRUExpireCache // name of a replica -> sighting
}

// sighting is where a replica was, or why it was nowhere.
type sighting struct {
	endpoint string
	err      error
	since    time.Time
	doubted  bool // it could not be reached there
}

// holds reports whether it need not be looked at again.
func (s sighting) holds(now time.Time) bool {
	believed := freshEndpoint
	if s.err != nil || s.doubted {
		believed = doubtful
	}
	return now.Sub(s.since) < believed
}

// Endpoint returns the base URL of a replica of this store. upload.ErrAway where
// its Lease is of another store, or has run out; upload.ErrUnavailable where the API server can't be asked.
func (r *Replicas) Endpoint(ctx context.Context, replica string) (string, error) {
	now := r.clock.Now()
	seen, remembered := r.seen(replica)
	if remembered && seen.holds(now) {
		return seen.endpoint, seen.err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var lease coordinationv1.Lease
	err := r.live.Get(ctx, client.ObjectKey{Namespace: r.place.namespace, Name: v1alpha1.LeaseNamePrefix + replica}, &lease)
	switch {
	case apierrors.IsNotFound(err):
		r.liveness.Forget(r.place.namespace, v1alpha1.LeaseNamePrefix+replica)
		seen = sighting{err: fmt.Errorf("%w: it has no Lease", upload.ErrAway), since: now}
	case err != nil && remembered && seen.err == nil:
		return seen.endpoint, nil
	case err != nil:
		return "", fmt.Errorf("%w: %w", upload.ErrUnavailable, err)
	default:
		seen = sighting{since: now}
		seen.endpoint, seen.err = r.endpointOf(&lease)
	}
	r.endpoints.Add(replica, seen, stale)
	return seen.endpoint, seen.err
}

func (r *Replicas) seen(replica string) (sighting, bool) {
	known, _ := r.endpoints.Get(replica)
	seen, ok := known.(sighting)
	return seen, ok
}

// Unreachable has the next request look where the replica is now.
func (r *Replicas) Unreachable(replica string) {
	if seen, ok := r.seen(replica); ok && !seen.doubted {
		seen.doubted = true
		r.endpoints.Add(replica, seen, stale)
	}
}

// Mistaken forgets who owns a session: somebody else does by now, or nobody.
func (r *Replicas) Mistaken(name upload.Name) { r.owners.forget(name) }

// endpointOf is where the replica of a Lease is, if that may be alive and is of the store. To call one that is not
// alive costs the call.
func (r *Replicas) endpointOf(lease *coordinationv1.Lease) (string, error) {
	if of := lease.Labels[v1alpha1.StoreLabel]; of != r.place.store {
		return "", fmt.Errorf("%w: its Lease is of store %q", upload.ErrAway, of)
	}
	if !r.liveness.Observe(lease).MayBeAlive() {
		return "", fmt.Errorf("%w: its Lease has run out", upload.ErrAway)
	}
	return lease.Annotations[v1alpha1.EndpointAnnotation], nil
}
