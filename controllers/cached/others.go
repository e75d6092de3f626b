package cached

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ours begins the annotations that the operator reads.
const ours = "uploads.slipway.dev/"

// Object leaves out of any object who wrote which field, and annotations of others, such as the whole object as
// kubectl applied it. It is a transform of the cache, as Session is.
func Object(obj any) (any, error) {
	o, ok := obj.(client.Object)
	if !ok {
		return obj, nil
	}
	o.SetManagedFields(nil)
	if annotations := o.GetAnnotations(); len(annotations) > 0 {
		maps.DeleteFunc(annotations, func(key, _ string) bool { return !strings.HasPrefix(key, ours) })
		o.SetAnnotations(annotations)
	}
	return o, nil
}

// Pod leaves of a Pod whose it is and how it stands. It is a transform of the cache, as Session is.
func Pod(obj any) (any, error) {
	whole, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: whole.Namespace, Name: whole.Name, UID: whole.UID, ResourceVersion: whole.ResourceVersion, Labels: whole.Labels,
			CreationTimestamp: whole.CreationTimestamp, DeletionTimestamp: whole.DeletionTimestamp, OwnerReferences: whole.OwnerReferences,
		},
		Spec:   corev1.PodSpec{NodeName: whole.Spec.NodeName},
		Status: whole.Status,
	}, nil
}

// Claim leaves of a PersistentVolumeClaim what stores are concerned with. It is a transform of the cache, as Session is.
func Claim(obj any) (any, error) {
	claim, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok {
		return obj, nil
	}
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
		},
		Spec:   corev1.PersistentVolumeClaimSpec{AccessModes: claim.Spec.AccessModes},
		Status: corev1.PersistentVolumeClaimStatus{Phase: claim.Status.Phase},
	}, nil
}
