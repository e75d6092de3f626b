package uploadstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/managed"
)

// run is what is known of what a Managed store consists of.
type run struct {
	options managed.Options
	// objects are those that there are under the names that the store needs.
	objects map[objectKey]client.Object
	// set is the store's StatefulSet, nil where there is none.
	set *appsv1.StatefulSet
	// pods are those of the StatefulSet, by ordinal.
	pods []corev1.Pod
	// bundle is what clients trust: certificates in PEM, empty before there are any.
	bundle []byte
	// claim is the store's claim, nil where there is none.
	claim *corev1.PersistentVolumeClaim
	// notes are what Kubernetes says of the objects that wait for something, by UID.
	notes map[types.UID]note
	// outcomes are what came of those that were applied last.
	outcomes map[objectKey]string
	// mayUpdate tells that it is the store's turn to follow an upgrade of the operator.
	mayUpdate bool
	// refusal is what the API server said of an object that it refused, known once that was tried.
	refusal string
}

type objectKey struct{ kind, name string }

func keyOf(o client.Object, kind schema.GroupVersionKind) objectKey {
	return objectKey{kind: kind.Kind, name: o.GetName()}
}

// note is the newest event of an object.
type note struct{ reason, message string }

// observeRun reads what a Managed store consists of.
func (r *Reconciler) observeRun(ctx context.Context, o *observation) error {
	o.run = &run{
		options: r.Dataplane, objects: map[objectKey]client.Object{}, notes: map[types.UID]note{},
		outcomes: r.outcomes.of(client.ObjectKeyFromObject(o.store)),
	}
	if err := r.observeObjects(ctx, o); err != nil {
		return err
	}
	if err := r.observePods(ctx, o); err != nil {
		return err
	}
	var claim corev1.PersistentVolumeClaim
	key := types.NamespacedName{Namespace: o.store.Namespace, Name: o.store.Spec.Volume.ClaimName}
	switch err := r.Client.Get(ctx, key, &claim); {
	case err == nil:
		o.run.claim = &claim
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("get the store's claim: %w", err)
	}
	if !o.store.DeletionTimestamp.IsZero() && active(o.sessions) == 0 {
		// What a store is let go by is not a cache's word.
		sessions, err := sessionsOf(ctx, r.Direct, client.ObjectKeyFromObject(o.store))
		if err != nil {
			return err
		}
		o.sessions = sessions
	}
	return r.observeNotes(ctx, o.run)
}

// observeObjects looks for each object in the cache, which has those of the
// operator, and then at the API server, which has those of others too.
func (r *Reconciler) observeObjects(ctx context.Context, o *observation) error {
	for _, desired := range managed.Objects(o.store, 1, r.Dataplane) {
		kind := desired.GetObjectKind().GroupVersionKind()
		found, err := newObject(r.Client.Scheme(), kind)
		if err != nil {
			return err
		}
		key := client.ObjectKeyFromObject(desired)
		err = r.Client.Get(ctx, key, found)
		if apierrors.IsNotFound(err) {
			err = r.Direct.Get(ctx, key, found)
		}
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("get %s %s: %w", kind.Kind, desired.GetName(), err)
		}
		o.run.objects[keyOf(found, kind)] = found
		if set, ok := found.(*appsv1.StatefulSet); ok && managed.Owns(o.store, set) {
			o.run.set = set
		}
	}
	return nil
}

// newObject returns an empty object of a kind.
func newObject(scheme *runtime.Scheme, kind schema.GroupVersionKind) (client.Object, error) {
	created, err := scheme.New(kind)
	if err != nil {
		return nil, fmt.Errorf("make a %s: %w", kind.Kind, err)
	}
	object, ok := created.(client.Object)
	if !ok {
		return nil, fmt.Errorf("a %s is no object", kind.Kind)
	}
	return object, nil
}

func (r *Reconciler) observePods(ctx context.Context, o *observation) error {
	if o.run.set == nil {
		return nil
	}
	var pods corev1.PodList
	ofStore := client.MatchingLabels(o.run.set.Spec.Selector.MatchLabels)
	if err := r.Client.List(ctx, &pods, client.InNamespace(o.store.Namespace), ofStore); err != nil {
		return fmt.Errorf("list the Pods of the store: %w", err)
	}
	pods.Items = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !metav1.IsControlledBy(&p, o.run.set) })
	ordinal := func(p corev1.Pod) int32 { n, _ := admission.Ordinal(o.store.Name, p.Name); return n }
	o.run.pods = slices.SortedFunc(slices.Values(pods.Items), func(a, b corev1.Pod) int {
		return cmp.Or(cmp.Compare(ordinal(a), ordinal(b)), cmp.Compare(a.Name, b.Name))
	})
	return nil
}

// observeNotes reads the events of what waits. Their status says only that it does.
func (r *Reconciler) observeNotes(ctx context.Context, run *run) error {
	var waiting []client.Object
	if run.claim != nil && run.claim.Status.Phase != corev1.ClaimBound {
		waiting = append(waiting, run.claim)
	}
	if run.set != nil && int32(len(run.pods)) < *run.set.Spec.Replicas {
		waiting = append(waiting, run.set)
	}
	for i := range run.pods {
		if isBeingSetUp(&run.pods[i]) {
			waiting = append(waiting, &run.pods[i])
		}
	}
	for _, object := range waiting {
		var list corev1.EventList
		about := client.MatchingFields{"involvedObject.uid": string(object.GetUID())}
		if err := r.Direct.List(ctx, &list, client.InNamespace(object.GetNamespace()), about, client.Limit(100)); err != nil {
			return fmt.Errorf("list the events of %s: %w", object.GetName(), err)
		}
		if n, ok := newest(list.Items); ok {
			run.notes[object.GetUID()] = n
		}
	}
	return nil
}

// newest returns the newest warning, and without one the newest event.
func newest(list []corev1.Event) (note, bool) {
	if len(list) == 0 {
		return note{}, false
	}
	seen := func(e corev1.Event) int64 {
		return max(e.LastTimestamp.UnixNano(), e.EventTime.UnixNano(), e.CreationTimestamp.UnixNano())
	}
	warns := func(e corev1.Event) int {
		if e.Type == corev1.EventTypeWarning {
			return 1
		}
		return 0
	}
	last := slices.MaxFunc(list, func(a, b corev1.Event) int {
		return cmp.Or(cmp.Compare(warns(a), warns(b)), cmp.Compare(seen(a), seen(b)))
	})
	return note{reason: last.Reason, message: strings.TrimSpace(last.Message)}, true
}

// isBeingSetUp reports whether a Pod has its node, and its volumes or its container are on their way.
func isBeingSetUp(pod *corev1.Pod) bool {
	if pod.Spec.NodeName == "" || pod.Status.Phase != corev1.PodPending {
		return false
	}
	s := statusOf(pod)
	return s == nil || s.State.Waiting != nil && s.State.Waiting.Reason == "ContainerCreating"
}

// statusOf is that of the dataplane's container, nil before there is one.
func statusOf(pod *corev1.Pod) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.Name == managed.ContainerName {
			return s
		}
	}
	return nil
}

// active counts the sessions that need their replica.
func active(sessions []v1alpha1.UploadSession) int {
	n := 0
	for i := range sessions {
		if admission.Occupies(&sessions[i]) {
			n++
		}
	}
	return n
}
