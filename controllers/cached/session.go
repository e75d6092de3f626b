package cached

import (
	"slices"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/conditions"
	"github.com/slipway-dev/slipway/controllers/display"
)

// Session leaves out of an UploadSession what nobody here reads and a user may make large, and keeps strings once
// that many sessions have in common. Of the key it leaves what is displayed: spec.key is not the key where that is
// long. It is a transform of the cache: what is no session, such as a tombstone, stays as it is, and it never fails.
func Session(obj any) (any, error) {
	whole, ok := obj.(*v1alpha1.UploadSession)
	if !ok {
		return obj, nil
	}
	s := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: one(whole.Namespace), Name: whole.Name, UID: whole.UID, ResourceVersion: whole.ResourceVersion,
			Generation: whole.Generation, CreationTimestamp: whole.CreationTimestamp, DeletionTimestamp: whole.DeletionTimestamp,
			Finalizers: own(whole.Finalizers),
		},
		Spec: whole.Spec, Status: whole.Status,
	}
	spec, status := &s.Spec, &s.Status
	spec.Key, spec.Digest, spec.Attributes, spec.Uploaders = display.Name(spec.Key), "", nil, nil
	if shown := &status.Display; shown.Key == spec.Key {
		shown.Key = spec.Key // the same memory
	}
	status.Display.Owner, status.Display.Message = one(status.Display.Owner), one(status.Display.Message)
	spec.StoreRef.Name, spec.Owner = one(spec.StoreRef.Name), one(spec.Owner)
	status.Progress = v1alpha1.UploadSessionProgress{}
	status.Conditions = told(status.Conditions)
	status.Admission.Replica, status.Admission.Endpoint = one(status.Admission.Replica), one(status.Admission.Endpoint)
	return s, nil
}

// told is the operator's own conditions. What others add is nothing that it reads.
func told(list []metav1.Condition) []metav1.Condition {
	own := conditions.Own(list, v1alpha1.ConditionAdmitted, v1alpha1.ConditionAcceptingChunks, v1alpha1.ConditionSucceeded,
		v1alpha1.ConditionReady, v1alpha1.ConditionStalled)
	for i := range own {
		c := &own[i]
		c.Type, c.Status, c.Reason, c.Message = one(c.Type), one(c.Status), one(c.Reason), one(c.Message)
	}
	return own
}

// one is a string that all that are equal share, as long as anybody has it.
func one[S ~string](s S) S { return unique.Make(s).Value() }

// own is the operator's finalizer. Those of others, of which there may be thousands, it does not read.
func own(list []string) []string {
	if slices.Contains(list, v1alpha1.StagingFinalizer) {
		return []string{v1alpha1.StagingFinalizer}
	}
	return nil
}
