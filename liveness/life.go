package liveness

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// goneGrace is how long ago a replica must have been alive last before it counts as gone for good, whoever says so: a
// process that is only cut off renews its Lease before.
const goneGrace = time.Minute

// Life is how a replica stands by its Lease, at the time when an Observer was asked.
type Life struct {
	// Left is for how long the replica may be alive unless it renews its Lease; 0 or less when it is not, and how much
	// less for how long it has not been.
	Left time.Duration
	// InDoubt tells that nobody here saw the Lease renewed, and that by the clock at hand it had run out, or was yet to
	// come, when it was first seen.
	InDoubt bool
	// SaidGone tells that somebody says of the process that holds the Lease that it is gone for good.
	SaidGone bool
}

// NoLife is how a replica without a Lease stands, or with one that was never renewed.
func NoLife() Life { return Life{Left: -never} }

// IsAlive reports whether the replica is alive, as far as anybody knows.
func (l Life) IsAlive() bool { return l.Left > 0 && !l.InDoubt }

// MayBeAlive reports whether the replica is alive or nobody knows. What can't be taken back waits until it is neither.
func (l Life) MayBeAlive() bool { return l.Left > 0 }

// GoneIn returns after how long the replica is gone for good unless it renews its Lease, 0 where it is; false where
// nobody says that it is.
func (l Life) GoneIn() (time.Duration, bool) {
	return max(0, l.Left+goneGrace), l.SaidGone
}

// SaidGone reports whether somebody says of the process that holds a Lease, and of no other, that it is gone for good.
func SaidGone(lease *coordinationv1.Lease) bool {
	said, holder := lease.Annotations[v1alpha1.GoneForGoodAnnotation], lease.Spec.HolderIdentity
	return said != "" && holder != nil && said == *holder
}
