package uploadstore

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/managed"
)

// isUpdate reports whether the Pods would be others although nobody has changed the spec: another version of the operator
// asks for them. What somebody else has changed of the StatefulSet is none, and is put right at once.
func isUpdate(o observation) bool {
	set := o.run.set
	if set == nil || ptr.Deref(o.store.Status.ObservedGeneration, 0) != o.store.Generation {
		return false
	}
	// How many run is no part of it, also where somebody else has changed that.
	for _, replicas := range []int32{*set.Spec.Replicas, replicasToRun(o)} {
		asked := managed.StatefulSet(o.store, replicas, o.run.options)
		if set.Annotations[v1alpha1.AppliedAnnotation] == asked.Annotations[v1alpha1.AppliedAnnotation] {
			return false
		}
	}
	return true
}

// asksForTurn reports whether an update waits for nothing but the store's turn.
func asksForTurn(o observation) bool {
	return isUpdate(o) && o.store.Spec.Dataplane.UpdatePolicy != v1alpha1.UpdatePolicyOnChange && o.store.DeletionTimestamp.IsZero()
}

// waitsToUpdate reports whether the Pods stay as they are for now.
func waitsToUpdate(o observation) bool { return !o.run.mayUpdate && isUpdate(o) }

// isRolledOut reports whether all that run are as the StatefulSet says, and ready.
func isRolledOut(o observation) bool { return o.run.set != nil && rollingOut(o) == nil }

// isUpdated reports whether all Pods that run are of this version of the operator, and ready.
func isUpdated(o observation) bool {
	if !isRolledOut(o) {
		return false
	}
	asked := managed.StatefulSet(o.store, replicasToRun(o), o.run.options)
	return o.run.set.Annotations[v1alpha1.AppliedAnnotation] == asked.Annotations[v1alpha1.AppliedAnnotation]
}

// heldBack is the StatefulSet that is asked for while an update waits: as many as there should be, of the Pods that
// there are; nil where that is so already.
func heldBack(o observation, desired *appsv1.StatefulSet) *appsv1.StatefulSet {
	set := o.run.set
	if *set.Spec.Replicas == *desired.Spec.Replicas {
		return nil
	}
	kept := desired.DeepCopy()
	kept.Spec = *set.Spec.DeepCopy()
	kept.Spec.Replicas = desired.Spec.Replicas
	kept.Annotations[v1alpha1.AppliedAnnotation] = set.Annotations[v1alpha1.AppliedAnnotation]
	return kept
}

func updatePending(o observation) *trouble {
	if !waitsToUpdate(o) {
		return nil
	}
	why := "it is their turn when those of other stores have been updated"
	if o.store.Spec.Dataplane.UpdatePolicy == v1alpha1.UpdatePolicyOnChange {
		why = "updatePolicy is OnChange: any change of the spec updates them"
	}
	return &trouble{v1alpha1.ReasonUpdatePending, fmt.Sprintf("The Pods are as an earlier version of the operator had them, and %s.", why)}
}
