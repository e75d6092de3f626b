package admission

import (
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Replicas is how many replicas a Managed store asks for.
func Replicas(store *v1alpha1.UploadStore) int32 {
	return max(1, store.Spec.Dataplane.Replicas)
}

// Ordinal returns which one of the Pods of a Managed store a replica is: the
// StatefulSet names them so.
func Ordinal(store, replica string) (int32, bool) {
	number, ok := strings.CutPrefix(replica, store+"-")
	if !ok || number != "0" && strings.HasPrefix(number, "0") {
		return 0, false
	}
	n, err := strconv.ParseUint(number, 10, 31)
	return int32(n), err == nil
}

// Takes reports whether a replica that is alive takes new sessions. One that a
// Managed store is to lose, and all of a store that is being deleted, only
// finish those that they have.
func Takes(store *v1alpha1.UploadStore, replica string) bool {
	if !store.DeletionTimestamp.IsZero() {
		return false
	}
	if store.Spec.Dataplane.Mode != v1alpha1.DataplaneModeManaged {
		return true
	}
	n, ok := Ordinal(store.Name, replica)
	return ok && n < Replicas(store)
}

// Occupies reports whether a session needs its replica: it holds something
// there, or its object is to be removed by it.
func Occupies(s *v1alpha1.UploadSession) bool {
	return Holds(s) || Admitted(s) && Reclaims(s)
}

// takers are the live replicas that take new sessions.
func takers(store *v1alpha1.UploadStore) []v1alpha1.UploadStoreReplica {
	var list []v1alpha1.UploadStoreReplica
	for _, replica := range store.Status.Replicas {
		if Takes(store, replica.Name) {
			list = append(list, replica)
		}
	}
	return list
}

// SameReplicas compares what clients and sessions see of replicas, and not how
// many sessions each has: that changes with every admission.
func SameReplicas(a, b []v1alpha1.UploadStoreReplica) bool {
	return slices.EqualFunc(a, b, func(a, b v1alpha1.UploadStoreReplica) bool { return a.Name == b.Name && a.Endpoint == b.Endpoint })
}
