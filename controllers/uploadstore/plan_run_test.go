package uploadstore

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/managed"
)

// running is a Managed store that asks for so many replicas and has them, on a claim that can be shared.
func running(asked int32, changes ...func(*observation)) observation {
	store := &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models", UID: "1", Finalizers: []string{v1alpha1.StoreFinalizer}},
		Spec: v1alpha1.UploadStoreSpec{
			Volume:    v1alpha1.VolumeSource{ClaimName: "models"},
			Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeManaged, Replicas: asked},
		},
	}
	o := observation{store: store, run: &run{
		options: managed.Options{Image: "dataplane", Role: "role"},
		objects: map[objectKey]client.Object{},
		notes:   map[types.UID]note{},
		claim: &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: "models", UID: "claim"},
			Spec:       corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}},
			Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
		},
	}}
	for _, object := range managed.Objects(store, asked, o.run.options) {
		o.run.objects[keyOf(object, object.GetObjectKind().GroupVersionKind())] = object
		if set, ok := object.(*appsv1.StatefulSet); ok {
			set.UID = "set"
			set.Status = appsv1.StatefulSetStatus{Replicas: asked, ReadyReplicas: asked, UpdatedReplicas: asked}
			o.run.set = set
		}
	}
	for _, change := range changes {
		change(&o)
	}
	return o
}

func pinned(replica string) v1alpha1.UploadSession {
	return v1alpha1.UploadSession{Status: v1alpha1.UploadSessionStatus{
		Admission: v1alpha1.UploadSessionAdmission{Replica: replica, ReservedBytes: ptr.To[int64](1)},
	}}
}

func accessMode(mode corev1.PersistentVolumeAccessMode) func(*observation) {
	return func(o *observation) { o.run.claim.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{mode} }
}

func runs(n int32) func(*observation) { return func(o *observation) { o.run.set.Spec.Replicas = &n } }

func holding(replicas ...string) func(*observation) {
	return func(o *observation) {
		for _, replica := range replicas {
			o.sessions = append(o.sessions, pinned(replica))
		}
	}
}

func alive(o *observation) { o.replicas = seen(0, lease("models-0", 0)) }

func withoutClaim(o *observation) { o.run.claim = nil }

func TestReplicasToRun(t *testing.T) {
	ended := func(o *observation) {
		for i := range o.sessions {
			o.sessions[i].Status.CompletionTime = metav1.NewTime(noon)
		}
	}
	for _, test := range []struct {
		name string
		o    observation
		want int32
	}{
		{name: "one by default", o: running(0), want: 1},
		{name: "as many as are asked for", o: running(3), want: 3},
		{name: "one where the claim is one node's", o: running(3, accessMode(corev1.ReadWriteOnce)), want: 1},
		{name: "one where the claim is one Pod's, whatever sessions there are", o: running(3, accessMode(corev1.ReadWriteOncePod), holding("models-2")), want: 1},
		{name: "one where nothing is known of the claim", o: running(3, withoutClaim, func(o *observation) { o.run.set = nil }), want: 1},
		{name: "no more where the claim is gone", o: running(3, withoutClaim, runs(2)), want: 2},
		{name: "one that is to go stays for its session", o: running(1, runs(3), holding("models-1")), want: 2},
		{name: "one that is to go goes when its session has ended", o: running(1, runs(3), holding("models-1"), ended), want: 1},
		{name: "one that went comes back for a session", o: running(1, runs(1), holding("models-1")), want: 2},
		{name: "no replica is run for what is none of the store's", o: running(1, holding("data-5", "models-64", "models-x")), want: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := replicasToRun(test.o); got != test.want {
				t.Errorf("%d replicas run, want %d", got, test.want)
			}
		})
	}
}

func TestReadinessOfAManagedStore(t *testing.T) {
	pod := func(change func(*corev1.Pod)) func(*observation) {
		return func(o *observation) {
			p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "models-0", UID: "pod"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
			change(&p)
			o.run.pods = append(o.run.pods, p)
		}
	}
	unschedulable := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "no node has a GPU"}}
	}
	pending := func(said note) func(*observation) {
		return func(o *observation) { o.run.claim.Status.Phase, o.run.notes["claim"] = corev1.ClaimPending, said }
	}
	for _, test := range []struct {
		name        string
		o           observation
		ready, says string
	}{
		{name: "all is well", o: running(1, alive), ready: "True DataplaneReady", says: "The dataplane takes sessions."},
		{name: "nobody has reported", o: running(1), ready: "False DataplaneStarting", says: "have not reported yet"},
		{
			name: "a replica is cut off", o: running(1, func(o *observation) { o.replicas = seen(0, lease("models-0", 3600e9)) }),
			ready: "False DataplaneLost", says: "kubectl logs models-0",
		},
		{name: "the claim is missing", o: running(1, withoutClaim), ready: "False ClaimNotFound", says: "create it"},
		{name: "the claim is lost", o: running(1, func(o *observation) { o.run.claim.Status.Phase = corev1.ClaimLost }), ready: "False ClaimNotBound", says: "volume is gone"},
		{name: "the claim waits", o: running(1, pending(note{"ProvisioningFailed", "no such class"})), ready: "False ClaimNotBound", says: "ProvisioningFailed: no such class."},
		{
			name: "the claim waits for the Pod", o: running(1, pending(note{"WaitForFirstConsumer", "waiting for first consumer"})),
			ready: "False ClaimNotBound", says: "waiting for first consumer",
		},
		{
			name: "the claim waits for the Pod, which no node takes", o: running(1, pending(note{"WaitForFirstConsumer", "waiting"}), pod(unschedulable)),
			ready: "False PodUnschedulable", says: `No node takes Pod "models-0": no node has a GPU.`,
		},
		{name: "a replica beside one that takes sessions", o: running(2, alive, pod(unschedulable)), ready: "True PodUnschedulable", says: "on 1 replica. No node takes"},
		{
			name: "a Pod that goes is nobody's trouble", o: running(1, alive, pod(unschedulable), func(o *observation) {
				o.run.pods[0].DeletionTimestamp = &metav1.Time{Time: noon}
			}), ready: "True DataplaneReady",
		},
		{name: "a Pod's volume can't be mounted", o: running(1, pod(func(p *corev1.Pod) { p.Spec.NodeName = "n" }), func(o *observation) {
			o.run.notes["pod"] = note{"FailedMount", "secret not found"}
		}), ready: "False DataplaneStarting", says: "being set up (FailedMount): secret not found."},
		{name: "a Pod is evicted", o: running(1, pod(func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "disk pressure"
		})), ready: "False DataplaneFailing", says: "failed (Evicted): disk pressure."},
		{name: "more are asked for than the claim lets run", o: running(2, alive, runs(1), accessMode(corev1.ReadWriteOnce)), ready: "True ClaimNotShared"},
		{name: "replicas go", o: running(1, alive, runs(2), holding("models-1", "models-1")), ready: "True ScalingDown", says: `From Pod "models-1" on`},
		{
			name: "a change rolls out", o: running(2, alive, func(o *observation) { o.run.set.Status.UpdatedReplicas = 1 }),
			ready: "True RollingOut", says: "Of 2 replicas 1 are as the spec says and 2 are ready.",
		},
		{name: "an object is refused", o: running(1, func(o *observation) { o.run.refusal = "invalid" }), ready: "False DataplaneRefused", says: "invalid."},
		{name: "it is deleted, and has sessions", o: running(1, alive, holding("models-0", "models-0"), func(o *observation) {
			o.store.DeletionTimestamp = &metav1.Time{Time: noon}
		}), ready: "False StoreDeleting", says: "when 2 active sessions have ended"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := planFor(test.o, noon).status.Conditions[0]
			if got := string(c.Status) + " " + c.Reason; got != test.ready || !strings.Contains(c.Message, test.says) {
				t.Errorf("ready is %q: %q, want %q with %q", got, c.Message, test.ready, test.says)
			}
		})
	}
}

func TestPlanOfAManagedStore(t *testing.T) {
	deleted := func(o *observation) { o.store.DeletionTimestamp = &metav1.Time{Time: noon} }
	unfinalized := func(o *observation) { o.store.Finalizers = nil }
	taken := func(o *observation) { o.run.objects[objectKey{"Service", "models"}].SetLabels(nil) }
	for _, test := range []struct {
		name    string
		o       observation
		adds    bool
		applies int
		lets    bool
	}{
		{name: "all is as it should be", o: running(1)},
		{name: "a new store", o: running(1, unfinalized, func(o *observation) { o.run.objects = nil }), adds: true, applies: 8},
		{name: "other replicas", o: running(2, runs(1)), applies: 1},
		{name: "an object of somebody else", o: running(2, runs(1), taken)},
		{name: "deleted with a session", o: running(1, deleted, holding("models-0"))},
		{name: "deleted with a session, and drifted", o: running(1, deleted, holding("models-0"), runs(0)), applies: 1},
		{name: "deleted", o: running(1, deleted, runs(0)), lets: true},
		{name: "deleted and let go", o: running(1, deleted, unfinalized, runs(0))},
		{name: "deleted with a session, and let go by others", o: running(1, deleted, unfinalized, holding("models-0"), runs(0))},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := planFor(test.o, noon).run
			if p.addFinalizer != test.adds || len(p.apply) != test.applies || p.release != test.lets {
				t.Errorf("the plan is to add the finalizer: %v, to apply %d objects, to let go: %v", p.addFinalizer, len(p.apply), p.release)
			}
		})
	}
}

// updated is an observation as a newer version of the operator makes it, which asks for another image.
func updated(changes ...func(*observation)) observation {
	o := running(1, alive)
	o.store.Generation, o.store.Status.ObservedGeneration = 3, ptr.To[int64](3)
	o.run.options.Image = "newer"
	for _, change := range changes {
		change(&o)
	}
	return o
}

// The Pods of a store follow an upgrade of the operator in the store's turn, and what its users or others change at once.
func TestUpdatesWaitForTheirTurn(t *testing.T) {
	onChange := func(o *observation) { o.store.Spec.Dataplane.UpdatePolicy = v1alpha1.UpdatePolicyOnChange }
	turn := func(o *observation) { o.run.mayUpdate = asksForTurn(*o) }
	more := func(o *observation) { o.sessions = append(o.sessions, pinned("models-1")) }
	for _, test := range []struct {
		name  string
		o     observation
		image string // of the StatefulSet that is applied; empty for none
		runs  int32
		ready string
	}{
		{name: "before its turn", o: updated(), ready: "True UpdatePending"},
		{name: "in its turn", o: updated(turn), image: "newer", runs: 1, ready: "True DataplaneReady"},
		{name: "before its turn, when a replica must come back", o: updated(more), image: "dataplane", runs: 2, ready: "True ScalingDown"},
		{name: "the user has changed the spec", o: updated(func(o *observation) { o.store.Generation++ }), image: "newer", runs: 1, ready: "True DataplaneReady"},
		{name: "the user wants none by itself", o: updated(onChange, turn), ready: "True UpdatePending"},
		{name: "the user wants none, and has changed the spec", o: updated(onChange, func(o *observation) { o.store.Generation++ }), image: "newer", runs: 1, ready: "True DataplaneReady"},
		{name: "somebody has changed the Pods, and the operator is as before", o: updated(func(o *observation) {
			o.run.options.Image = "dataplane"
			o.run.set.Spec.Template.Spec.Containers[0].Image = "theirs"
		}), image: "dataplane", runs: 1, ready: "True DataplaneReady"},
		{name: "somebody has scaled it, and the operator is as before", o: updated(runs(0), func(o *observation) {
			o.run.options.Image = "dataplane"
		}), image: "dataplane", runs: 1, ready: "True RollingOut"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := planFor(test.o, noon)
			var image string
			var replicas int32
			for _, object := range p.run.apply {
				if set, ok := object.(*appsv1.StatefulSet); ok {
					image, replicas = set.Spec.Template.Spec.Containers[0].Image, *set.Spec.Replicas
				}
			}
			if image != test.image || replicas != test.runs {
				t.Errorf("applied are %d of %q, want %d of %q", replicas, image, test.runs, test.image)
			}
			ready := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionReady)
			if got := string(ready.Status) + " " + ready.Reason; got != test.ready {
				t.Errorf("Ready is %q, want %q: %s", got, test.ready, ready.Message)
			}
		})
	}
}

// Which role a binding is of can't be changed: it is made anew, once no Pod is left that may need the one before.
func TestABindingOfAnotherRole(t *testing.T) {
	earlier := func(o *observation) {
		for _, object := range o.run.objects {
			if binding, ok := object.(*rbacv1.ClusterRoleBinding); ok {
				binding.RoleRef.Name = "system:auth-delegator"
			}
		}
	}
	for _, test := range []struct {
		name string
		o    observation
		want bool
	}{
		{"it is of the role that is asked for", updated(func(o *observation) { o.run.options.Image = "dataplane" }), false},
		{"the Pods are as the operator wants them", updated(earlier, func(o *observation) { o.run.options.Image = "dataplane" }), true},
		{"they are not yet", updated(earlier), false},
		{"they are being replaced", updated(earlier, func(o *observation) {
			o.run.options.Image, o.run.set.Status.UpdatedReplicas = "dataplane", 0
		}), false},
		{"nothing runs", updated(earlier, func(o *observation) {
			o.run.set = nil
			o.run.objects[objectKey{"StatefulSet", "models"}] = nil
		}), false},
	} {
		got := false
		for _, object := range planFor(test.o, noon).run.apply {
			_, binding := object.(*rbacv1.ClusterRoleBinding)
			got = got || binding
		}
		if got != test.want {
			t.Errorf("%s: it is made anew: %v", test.name, got)
		}
	}
}

func TestOneStoreAtATime(t *testing.T) {
	var turns turn
	at := func(after time.Duration, store types.UID, want bool) {
		t.Helper()
		if got := turns.take(store, noon.Add(after)); got != want {
			t.Errorf("after %v it is the turn of %s: %v", after, store, got)
		}
	}
	at(0, "a", true)
	at(time.Minute, "b", false)
	at(time.Minute, "a", true)
	turns.pass("b") // which has none
	at(2*time.Minute, "b", false)
	turns.pass("a")
	at(3*time.Minute, "b", true)
	at(4*time.Minute, "a", false)
	at(13*time.Minute-time.Second, "c", false) // however often it asks, the turn lasts no longer
	at(13*time.Minute, "c", true)
	at(13*time.Minute, "b", false)
}

// A store whose claim another store has takes no session, and starts no dataplane on that volume; one that
// runs already finishes what it holds.
func TestAClaimThatAnotherStoreHas(t *testing.T) {
	first := &v1alpha1.UploadStore{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "earlier"}}
	another := func(o *observation) { o.first = first }
	fresh := func(o *observation) {
		o.store.Finalizers, o.run.set, o.run.objects = nil, nil, map[objectKey]client.Object{}
	}
	for _, test := range []struct {
		name string
		o    observation
		runs bool
	}{
		{name: "a new one", o: running(1, fresh, another)},
		{name: "one that runs", o: running(1, another, alive, func(o *observation) { clear(o.run.objects) }), runs: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := planFor(test.o, noon)
			if got := len(p.run.apply) > 0; got != test.runs {
				t.Errorf("its objects are kept: %v, want %v", got, test.runs)
			}
			if p.run.addFinalizer {
				t.Error("it gets a finalizer")
			}
			ready := meta.FindStatusCondition(p.status.Conditions, v1alpha1.ConditionReady)
			if ready.Status != metav1.ConditionFalse || ready.Reason != v1alpha1.ReasonClaimInUse || !strings.Contains(ready.Message, `"earlier"`) {
				t.Errorf("Ready is %+v", ready)
			}
		})
	}
}

func TestFirstOnClaim(t *testing.T) {
	named := func(name, claim string, age time.Duration) v1alpha1.UploadStore {
		return v1alpha1.UploadStore{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: name, CreationTimestamp: metav1.NewTime(noon.Add(-age))},
			Spec:       v1alpha1.UploadStoreSpec{Volume: v1alpha1.VolumeSource{ClaimName: claim}},
		}
	}
	store := named("b", "data", time.Minute)
	for _, test := range []struct {
		name  string
		other v1alpha1.UploadStore
		want  bool
	}{
		{"an older one has it", named("c", "data", time.Hour), true},
		{"a younger one has not", named("a", "data", time.Second), false},
		{"within a second the name decides", named("a", "data", time.Minute), true},
		{"another claim", named("a", "other", time.Hour), false},
		{"itself, as the cache has it", named("b", "data", time.Hour), false},
	} {
		if got := firstOnClaim(&store, []v1alpha1.UploadStore{test.other}) != nil; got != test.want {
			t.Errorf("%s: another store has the claim: %v", test.name, got)
		}
	}
}
