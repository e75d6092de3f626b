package uploadstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/managed"
)

// The objects of a Managed store. They are deleted when the store is let go, and no sooner. Roles are bound, and none is
// made: the operator can grant what these two say and no more.
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=services;serviceaccounts,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterrolebindings,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterroles,resourceNames=slipway-dataplane-role;slipway-token-reviewer,verbs=bind
// +kubebuilder:rbac:groups=uploads.slipway.dev,resources=uploadstores/finalizers,verbs=update
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=delete
// +kubebuilder:rbac:groups="",resources=pods;persistentvolumeclaims,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// applyRun does what was planned with what a Managed store consists of, and
// reports whether the store is gone then. What the API server refuses is noted in the observation.
func (r *Reconciler) applyRun(ctx context.Context, o *observation, p runPlan) (gone bool, err error) {
	if p.release {
		return true, r.release(ctx, o)
	}
	if p.addFinalizer {
		desired := configuration(o.store).WithFinalizers(v1alpha1.StoreFinalizer)
		if err := r.Client.Apply(ctx, desired, client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership); err != nil {
			return false, fmt.Errorf("add the finalizer: %w", err)
		}
		o.store.ResourceVersion = *desired.ResourceVersion
	}
	for _, desired := range p.apply {
		observed := o.run.objects[keyOf(desired, desired.GetObjectKind().GroupVersionKind())]
		if bindsOther(desired, observed) {
			if err := r.remove(ctx, observed, desired.GetObjectKind().GroupVersionKind().Kind); err != nil {
				return false, err
			}
		}
		err := r.applyObject(ctx, o.store, desired)
		switch {
		case err == nil:
		case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
			return false, nil // what is gone stays gone
		case apierrors.IsInvalid(err), apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
			o.run.refusal = err.Error()
			return false, nil
		default:
			return false, err
		}
	}
	return false, nil
}

// applyObject applies an object, and takes note of what came of that.
func (r *Reconciler) applyObject(ctx context.Context, store *v1alpha1.UploadStore, desired client.Object) error {
	kind := desired.GetObjectKind().GroupVersionKind()
	applied := managed.Configuration(desired)
	err := r.Direct.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", kind.Kind, desired.GetName(), err)
	}
	came, err := newObject(r.Client.Scheme(), kind)
	if err != nil {
		return err
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, came); err != nil {
		return fmt.Errorf("read %s %s as it was applied: %w", kind.Kind, desired.GetName(), err)
	}
	r.outcomes.set(client.ObjectKeyFromObject(store), keyOf(desired, kind), managed.Outcome(desired, came))
	return nil
}

// remove deletes an object of a kind that was observed, and no other under its name. In the background its own
// dependents go too.
func (r *Reconciler) remove(ctx context.Context, observed client.Object, kind string) error {
	uid := observed.GetUID()
	only := []client.DeleteOption{client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground)}
	if err := client.IgnoreNotFound(r.Direct.Delete(ctx, observed, only...)); err != nil {
		return fmt.Errorf("delete %s %s: %w", kind, observed.GetName(), err)
	}
	return nil
}

// release deletes what the store consists of, the Pods first and the rights that they need last, then the Leases that
// nobody can write any more, and lets the store go.
// The finalizer is patched away instead of applied: an apply would leave one that somebody else owns too, such as a
// restored backup, for ever.
func (r *Reconciler) release(ctx context.Context, o *observation) error {
	objects := managed.Objects(o.store, 1, o.run.options)
	for _, object := range slices.Backward(objects) {
		kind := object.GetObjectKind().GroupVersionKind()
		observed := o.run.objects[keyOf(object, kind)]
		if observed == nil || !managed.Owns(o.store, observed) || observed.GetDeletionTimestamp() != nil {
			continue
		}
		if err := r.remove(ctx, observed, kind.Kind); err != nil {
			return err
		}
	}
	for _, replica := range o.replicas {
		lease := replica.lease
		if !isReplicas(o.store, lease) {
			continue
		}
		if err := r.remove(ctx, lease, "Lease"); err != nil {
			return err
		}
	}
	observed := client.MergeFromWithOptions(o.store.DeepCopy(), client.MergeFromWithOptimisticLock{})
	controllerutil.RemoveFinalizer(o.store, v1alpha1.StoreFinalizer)
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, o.store, observed, client.FieldOwner(v1alpha1.OperatorFieldManager))); err != nil {
		return fmt.Errorf("remove the finalizer: %w", err)
	}
	return nil
}

// isReplicas reports whether a Lease with the store's label has the name of one of its replicas'.
func isReplicas(store *v1alpha1.UploadStore, lease *coordinationv1.Lease) bool {
	replica, ok := strings.CutPrefix(lease.Name, v1alpha1.LeaseNamePrefix)
	return ok && managed.ReplicaEndpoint(store, replica) != ""
}
