package uploadstore

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/managed"
)

// maxOrdinals is how many replicas a store can ask for.
const maxOrdinals = 64

// runPlan is what a reconcile does to what a Managed store consists of, in this order.
type runPlan struct {
	// addFinalizer comes before the first object that nothing else removes.
	addFinalizer bool
	// apply are the objects that are not as they should be.
	apply []client.Object
	// release deletes what the store consists of, and then removes the finalizer.
	release bool
}

func planRun(o observation) runPlan {
	finalized := controllerutil.ContainsFinalizer(o.store, v1alpha1.StoreFinalizer)
	if !o.store.DeletionTimestamp.IsZero() && active(o.sessions) == 0 {
		return runPlan{release: finalized}
	}
	if !o.store.DeletionTimestamp.IsZero() && !finalized {
		return runPlan{} // it goes as soon as others let it
	}
	if o.first != nil && o.run.set == nil {
		return runPlan{} // another store's dataplane is on the volume
	}
	p := runPlan{addFinalizer: !finalized}
	if objectInTheWay(o) == nil {
		p.apply = amiss(o)
	}
	return p
}

// amiss are the objects that are not there, or not as they should be.
func amiss(o observation) []client.Object {
	var list []client.Object
	for _, desired := range managed.Objects(o.store, replicasToRun(o), o.run.options) {
		key := keyOf(desired, desired.GetObjectKind().GroupVersionKind())
		observed := o.run.objects[key]
		if bindsOther(desired, observed) && !isUpdated(o) {
			continue // a Pod of an earlier version needs the role that is bound
		}
		if set, ok := desired.(*appsv1.StatefulSet); ok && waitsToUpdate(o) {
			if kept := heldBack(o, set); kept != nil {
				list = append(list, kept)
			}
			continue
		}
		if observed == nil || !managed.Same(desired, observed) && o.run.outcomes[key] != managed.Outcome(desired, observed) {
			list = append(list, desired)
		}
	}
	return list
}

// bindsOther reports whether two bindings are of different roles, which is never changed of one that there is.
func bindsOther(desired, observed client.Object) bool {
	switch d := desired.(type) {
	case *rbacv1.ClusterRoleBinding:
		there, ok := observed.(*rbacv1.ClusterRoleBinding)
		return ok && there.RoleRef != d.RoleRef
	case *rbacv1.RoleBinding:
		there, ok := observed.(*rbacv1.RoleBinding)
		return ok && there.RoleRef != d.RoleRef
	}
	return false
}

// replicasToRun is how many replicas run: those that the spec asks for, and the
// ones above them as long as a session needs one. If one was admitted there just
// when its replica went, the replica comes back for it. Several share a volume
// only where its claim says that they may; where it is not known yet, no more are
// run than do already.
func replicasToRun(o observation) int32 {
	wanted := max(admission.Replicas(o.store), occupied(o))
	switch {
	case wanted == 1:
		return 1
	case o.run.claim == nil && o.run.set != nil:
		return min(wanted, max(1, *o.run.set.Spec.Replicas))
	case !isShared(o.run.claim):
		return 1
	}
	return wanted
}

// isShared reports whether Pods on several nodes may use a claim at once.
func isShared(claim *corev1.PersistentVolumeClaim) bool {
	return claim != nil && slices.Contains(claim.Spec.AccessModes, corev1.ReadWriteMany)
}

// occupied is how many replicas there must be for each session that needs its own to have it.
func occupied(o observation) int32 {
	var n int32
	for i := range o.sessions {
		s := &o.sessions[i]
		if ordinal, ok := admission.Ordinal(o.store.Name, s.Status.Admission.Replica); ok && ordinal < maxOrdinals && admission.Occupies(s) {
			n = max(n, ordinal+1)
		}
	}
	return n
}
