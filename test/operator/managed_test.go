package operator_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/managed"
)

var _ = Describe("A managed store", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx) })

	ready := func(ctx context.Context) string {
		GinkgoHelper()
		return condition(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady)
	}
	says := func(ctx context.Context) string {
		GinkgoHelper()
		return message(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady)
	}

	It("is made of objects that go with it, and written once", func(ctx SpecContext) {
		store := w.createStore(ctx, inManaged)
		w.stepStore(ctx)
		for _, desired := range managed.Objects(store, 1, dataplaneOptions) {
			made := get(ctx, w, desired)
			Expect(managed.Owns(store, made)).To(BeTrue(), "%T %s", desired, desired.GetName())
		}
		Expect(w.getStore(ctx).Finalizers).To(ConsistOf(v1alpha1.StoreFinalizer))
		Expect(w.getStore(ctx).Status.Endpoint).To(Equal("https://models." + w.namespace + ".svc:8443"))

		By("writing nothing where nothing has changed")
		w.stepStore(ctx)
		written := w.allWrites(ctx)
		w.stepStore(ctx)
		Expect(w.allWrites(ctx)).To(Equal(written))
	})

	It("runs Pods that the restricted Pod Security Standard lets in", func(ctx SpecContext) {
		w.createStore(ctx, inManaged)
		w.stepStore(ctx)
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
		enforce := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`))
		Expect(user.Patch(ctx, namespace, enforce)).To(Succeed())
		pod := w.podOf(ctx, 0)
		Expect(user.Create(ctx, pod.DeepCopy(), client.DryRunAll)).To(Succeed())
		Expect(*pod.Spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem).To(BeTrue())
		pod.Spec.SecurityContext.SeccompProfile = nil
		Expect(user.Create(ctx, pod, client.DryRunAll)).To(MatchError(ContainSubstring("seccompProfile")))
	})

	It("corrects what somebody changed of it", func(ctx SpecContext) {
		w.createStore(ctx, inManaged)
		w.stepStore(ctx)

		set := w.set(ctx)
		set.Spec.Template.Spec.Containers[0].Args = append(set.Spec.Template.Spec.Containers[0].Args, "--log-level=DEBUG")
		Expect(user.Update(ctx, set)).To(Succeed())
		service := get(ctx, w, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "models"}})
		service.Spec.Selector[v1alpha1.StoreLabel] = "other"
		Expect(user.Update(ctx, service)).To(Succeed())
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "slipway:" + w.namespace + ":models"}}
		Expect(user.Delete(ctx, binding.DeepCopy())).To(Succeed())
		Expect(user.Delete(ctx, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "models"}})).To(Succeed())

		w.stepStore(ctx)
		Expect(w.set(ctx).Spec.Template.Spec.Containers[0].Args).NotTo(ContainElement("--log-level=DEBUG"))
		Expect(get(ctx, w, service).Spec.Selector[v1alpha1.StoreLabel]).To(Equal(storeName))
		Expect(get(ctx, w, binding)).NotTo(BeNil())
		get(ctx, w, &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "models"}})

		By("leaving alone what others have added")
		set = w.set(ctx)
		set.Spec.Template.Annotations["kubectl.kubernetes.io/restartedAt"] = "2026-11-23T12:00:00Z"
		Expect(user.Update(ctx, set)).To(Succeed())
		w.stepStore(ctx)
		Expect(w.set(ctx).Spec.Template.Annotations).To(HaveKey("kubectl.kubernetes.io/restartedAt"))
	})

	It("takes the rights of an earlier version from its dataplane once that has been updated", func(ctx SpecContext) {
		w.createStore(ctx, inManaged)
		w.stepStore(ctx)
		binding := get(ctx, w, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "slipway:" + w.namespace + ":models"}})
		Expect(binding.RoleRef.Name).To(Equal("slipway-token-reviewer"))
		Expect(user.Delete(ctx, binding.DeepCopy())).To(Succeed())
		binding.ResourceVersion, binding.UID, binding.RoleRef.Name = "", "", "system:auth-delegator"
		Expect(user.Create(ctx, binding)).To(Succeed())

		w.stepStore(ctx)
		Expect(get(ctx, w, binding).RoleRef.Name).To(Equal("system:auth-delegator"))
		w.createClaim(ctx, corev1.ReadWriteOnce, corev1.ClaimBound)
		w.setStatus(ctx, 1)
		w.stepStore(ctx)
		Expect(get(ctx, w, binding).RoleRef.Name).To(Equal("slipway-token-reviewer"))
	})

	It("takes no identity of which somebody may have tokens", func(ctx SpecContext) {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: "slipway-models",
			Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByOperator, v1alpha1.StoreLabel: storeName},
		}}
		Expect(user.Create(ctx, account)).To(Succeed())
		Eventually(ctx, time.Now).WithTimeout(time.Minute).
			Should(BeTemporally(">=", account.CreationTimestamp.Add(time.Second))) // the API server counts in seconds
		w.createStore(ctx, inManaged)
		w.stepStore(ctx)
		Expect(ready(ctx)).To(Equal("False ObjectInTheWay"))
		Expect(says(ctx)).To(ContainSubstring(`ServiceAccount "slipway-models" is older than the store`))
		Expect(apierrors.IsNotFound(user.Get(ctx, w.key("slipway-models"), &rbacv1.RoleBinding{}))).To(BeTrue())

		By("making one of its own once that is gone")
		Expect(user.Delete(ctx, account.DeepCopy())).To(Succeed())
		w.stepStore(ctx)
		Expect(get(ctx, w, account.DeepCopy()).UID).NotTo(Equal(account.UID))
	})

	It("is applied once where others change whatever is written, and again where something else changes", func(ctx SpecContext) {
		w.mutatesStatefulSets(ctx, "--injected")
		w.createStore(ctx, inManaged)
		w.stepStore(ctx)
		Expect(w.set(ctx).Spec.Template.Spec.Containers[0].Args).To(ContainElement("--injected"))
		w.stepStore(ctx) // the store's status tells of what was made
		written := w.allWrites(ctx)
		w.stepStore(ctx)
		w.stepStore(ctx)
		Expect(w.allWrites(ctx)).To(Equal(written))

		set := w.set(ctx)
		set.Spec.Template.Spec.Containers[0].Args = append(set.Spec.Template.Spec.Containers[0].Args, "--log-level=DEBUG")
		Expect(user.Update(ctx, set)).To(Succeed())
		w.stepStore(ctx)
		Expect(w.set(ctx).Spec.Template.Spec.Containers[0].Args).To(And(
			ContainElement("--injected"), Not(ContainElement("--log-level=DEBUG"))))
	})

	It("follows what the spec says of its Pods, and what it no longer says", func(ctx SpecContext) {
		w.createStore(ctx, inManaged)
		w.stepStore(ctx)
		w.changeStore(ctx, func(s *v1alpha1.UploadStoreSpec) {
			s.Limits.MaxConcurrentChunks = 128
			s.Dataplane.Pod = v1alpha1.DataplanePod{
				Image:        "example/dataplane:2",
				NodeSelector: map[string]v1alpha1.LabelValue{"disk": "fast"},
				Tolerations:  []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}},
				Resources:    &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}},
				ExtraArgs:    []v1alpha1.ExtraArg{"--log-level=DEBUG"},
			}
		})
		w.stepStore(ctx)
		pod := w.set(ctx).Spec.Template.Spec
		Expect(pod.Containers[0].Image).To(Equal("example/dataplane:2"))
		Expect(pod.Containers[0].Args).To(ContainElements("--log-level=DEBUG", "--max-concurrent-chunks=128"))
		Expect(pod.NodeSelector).To(Equal(map[string]string{"disk": "fast"}))
		Expect(pod.Tolerations).To(HaveLen(1))
		Expect(pod.Containers[0].Resources.Limits).To(BeEmpty())
		written := w.allWrites(ctx)
		w.stepStore(ctx)
		w.stepStore(ctx)
		Expect(len(w.allWrites(ctx))-len(written)).To(BeNumerically("<=", 1), "no more than a status")

		w.changeStore(ctx, func(s *v1alpha1.UploadStoreSpec) {
			s.Limits.MaxConcurrentChunks, s.Dataplane.Pod = 0, v1alpha1.DataplanePod{}
		})
		w.stepStore(ctx)
		pod = w.set(ctx).Spec.Template.Spec
		Expect(pod.Containers[0].Image).To(Equal(dataplaneOptions.Image))
		Expect(pod.NodeSelector).To(BeEmpty())
		Expect(pod.Tolerations).To(BeEmpty())
		Expect(pod.Containers[0].Resources.Limits.Memory().String()).To(Equal("256Mi"))
	})

	It("takes over nothing that is somebody else's", func(ctx SpecContext) {
		service := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "models"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		}
		Expect(user.Create(ctx, service)).To(Succeed())
		w.createStore(ctx, inManaged)
		Expect(w.stepStore(ctx)).To(Equal(10 * time.Second))
		Expect(ready(ctx)).To(Equal("False ObjectInTheWay"))
		Expect(says(ctx)).To(ContainSubstring(`Service "models" exists`))
		Expect(get(ctx, w, service).Spec.Ports[0].Port).To(Equal(int32(80)))
		Expect(apierrors.IsNotFound(user.Get(ctx, w.key("models"), &appsv1.StatefulSet{}))).To(BeTrue())

		By("going on once it is gone")
		Expect(user.Delete(ctx, service)).To(Succeed())
		w.stepStore(ctx)
		w.stepStore(ctx)
		Expect(ready(ctx)).To(Equal("False ClaimNotFound"))
	})

	It("tells what the API server refuses", func(ctx SpecContext) {
		w.createStore(ctx, inManaged, func(s *v1alpha1.UploadStore) {
			s.Spec.Dataplane.Pod.Tolerations = []corev1.Toleration{{Key: "a b", Operator: corev1.TolerationOpExists}}
		})
		w.createClaim(ctx, corev1.ReadWriteOnce, corev1.ClaimBound)
		w.stepStore(ctx)
		Expect(ready(ctx)).To(Equal("False DataplaneRefused"))
		Expect(says(ctx)).To(ContainSubstring("tolerations"))
		w.changeStore(ctx, func(s *v1alpha1.UploadStoreSpec) { s.Dataplane.Pod = v1alpha1.DataplanePod{} })
		w.stepStore(ctx)
		Expect(ready(ctx)).To(Equal("False DataplaneStarting"))
	})

	It("says what it waits for, from the claim to the first heartbeat", func(ctx SpecContext) {
		w.createStore(ctx, inManaged)
		w.stepStore(ctx)
		step := func() { GinkgoHelper(); w.stepStore(ctx); w.stepStore(ctx) }
		Expect(ready(ctx)).To(Equal("False ClaimNotFound"))
		Expect(says(ctx)).To(ContainSubstring(`no PersistentVolumeClaim "models"`))

		By("a claim that can't be provisioned")
		claim := w.createClaim(ctx, corev1.ReadWriteOnce, corev1.ClaimPending)
		w.event(ctx, claim, "PersistentVolumeClaim", "ProvisioningFailed", `storageclass "fast" not found`)
		step()
		Expect(ready(ctx)).To(Equal("False ClaimNotBound"))
		Expect(says(ctx)).To(ContainSubstring(`ProvisioningFailed: storageclass "fast" not found.`))

		By("a Pod that a quota keeps out")
		w.setPhase(ctx, claim, corev1.ClaimBound)
		w.event(ctx, w.set(ctx), "StatefulSet", "FailedCreate", "pods models-0 is forbidden: exceeded quota: team")
		step()
		Expect(ready(ctx)).To(Equal("False PodRefused"))
		Expect(says(ctx)).To(ContainSubstring("exceeded quota: team"))

		By("a Pod that no node takes")
		pod := w.podOf(ctx, 0)
		Expect(user.Create(ctx, pod)).To(Succeed())
		w.podStatus(ctx, pod, corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available: 3 Insufficient cpu",
		}}})
		step()
		Expect(ready(ctx)).To(Equal("False PodUnschedulable"))
		Expect(says(ctx)).To(ContainSubstring(`No node takes Pod "models-0": 0/3 nodes are available: 3 Insufficient cpu.`))

		By("an image that can't be pulled")
		w.podStatus(ctx, pod, containerStatus(corev1.ContainerStatus{State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "Back-off pulling image"},
		}}))
		step()
		Expect(ready(ctx)).To(Equal("False ImageNotPulled"))
		Expect(says(ctx)).To(ContainSubstring("Back-off pulling image"))

		By("a dataplane that ends")
		w.podStatus(ctx, pod, containerStatus(corev1.ContainerStatus{
			RestartCount:         3,
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "the volume can't keep what it is given"}},
		}))
		step()
		Expect(ready(ctx)).To(Equal("False DataplaneFailing"))
		Expect(says(ctx)).To(And(ContainSubstring("exit code 1"), ContainSubstring("the volume can't keep what it is given")))

		By("a replica that runs")
		w.podStatus(ctx, pod, containerStatus(corev1.ContainerStatus{Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}))
		w.setStatus(ctx, 1)
		w.heartbeat(ctx, replicaName, 1000)
		step()
		Expect(ready(ctx)).To(Equal("True DataplaneReady"))

		By("a change that is rolled out")
		w.changeStore(ctx, func(s *v1alpha1.UploadStoreSpec) { s.Dataplane.Pod.Image = "example/dataplane:2" })
		step()
		Expect(ready(ctx)).To(Equal("True RollingOut"))
	})

	It("follows an upgrade of the operator in its turn, one store after another", func(ctx SpecContext) {
		others := []*world{w, newWorld(ctx), newWorld(ctx)}
		image := func(of *world) string { return of.set(ctx).Spec.Template.Spec.Containers[0].Image }
		for _, each := range others {
			each.stores = w.stores // one operator
			each.createStore(ctx, inManaged)
			each.createClaim(ctx, corev1.ReadWriteOnce, corev1.ClaimBound)
			each.stepStore(ctx)
			each.setStatus(ctx, 1)
			each.stepStore(ctx)
		}
		w.stores.Dataplane.Image = "slipway-dataplane:newer"
		updated := func() (n int) {
			for _, each := range others {
				each.stepStore(ctx)
			}
			for _, each := range others {
				if image(each) == "slipway-dataplane:newer" {
					n++
				}
			}
			return n
		}
		for want, each := range others {
			Expect(updated()).To(Equal(want + 1))
			Expect(updated()).To(Equal(want+1), "until the one before has its replicas")
			Expect(image(each)).To(Equal("slipway-dataplane:newer"))
			each.setStatus(ctx, 1)
		}
	})

	It("runs one replica on a claim that can't be shared, however many are asked for", func(ctx SpecContext) {
		w.createStore(ctx, inManaged, replicas(3))
		w.createClaim(ctx, corev1.ReadWriteOnce, corev1.ClaimBound)
		w.stepStore(ctx)
		Expect(*w.set(ctx).Spec.Replicas).To(Equal(int32(1)))
		w.setStatus(ctx, 1)
		w.stepStore(ctx)
		Expect(ready(ctx)).To(Equal("False ClaimNotShared"))
		w.heartbeat(ctx, replicaName, 1000)
		w.stepStore(ctx)
		Expect(ready(ctx)).To(Equal("True ClaimNotShared"))
		Expect(says(ctx)).To(ContainSubstring("only a ReadWriteMany claim can be shared"))
	})

	It("keeps a replica until the sessions on it have ended, and gives it no more", func(ctx SpecContext) {
		w.createStore(ctx, inManaged, replicas(2))
		w.createClaim(ctx, corev1.ReadWriteMany, corev1.ClaimBound)
		w.heartbeat(ctx, "models-1", 1000)
		w.stepStore(ctx)
		Expect(*w.set(ctx).Spec.Replicas).To(Equal(int32(2)))
		first := w.createSession(ctx)
		w.step(ctx, first)
		Expect(first.Status.Admission.Replica).To(Equal("models-1"))

		w.heartbeat(ctx, "models-0", 1000)
		w.changeStore(ctx, func(s *v1alpha1.UploadStoreSpec) { s.Dataplane.Replicas = 1 })
		w.stepStore(ctx)
		w.setStatus(ctx, 2)
		w.stepStore(ctx)
		Expect(*w.set(ctx).Spec.Replicas).To(Equal(int32(2)))
		Expect(ready(ctx)).To(Equal("True ScalingDown"))
		Expect(says(ctx)).To(ContainSubstring(`From Pod "models-1" on, replicas take no new session and go when theirs have ended: 1 still active.`))
		Expect(*w.getStore(ctx).Status.Replicas[1].ActiveSessions).To(Equal(int32(1)))
		for range 3 {
			next := w.createSession(ctx)
			w.step(ctx, next)
			Expect(next.Status.Admission.Replica).To(Equal("models-0"))
		}

		report(ctx, first, w.publication())
		w.stepStore(ctx)
		Expect(*w.set(ctx).Spec.Replicas).To(Equal(int32(1)))

		By("bringing a replica back for a session that was admitted there when it went")
		late := w.createSession(ctx)
		Expect(operator.Status().Patch(ctx, late, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil,
			`{"status":{"admission":{"replica":"models-1","endpoint":%q,"chunkSizeBytes":100,"idleTimeoutSeconds":60,"reservedBytes":100,"admittedTime":"2026-11-23T12:00:00Z"}}}`, endpoint)))).To(Succeed())
		w.stepStore(ctx)
		Expect(*w.set(ctx).Spec.Replicas).To(Equal(int32(2)))
	})

	It("is kept while its sessions are active, and then goes with what is outside its namespace", func(ctx SpecContext) {
		w.haveReadyStore(ctx, inManaged)
		w.createClaim(ctx, corev1.ReadWriteOnce, corev1.ClaimBound)
		s := w.createSession(ctx)
		w.step(ctx, s)
		Expect(s.Status.Admission.Replica).To(Equal(replicaName))

		Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
		late := w.createSession(ctx)
		w.step(ctx, late)
		Expect(late.Status.Admission.Replica).To(BeEmpty())
		Expect(message(late.Status.Conditions, v1alpha1.ConditionAdmitted)).To(ContainSubstring("is being deleted"))
		w.stepStore(ctx)
		Expect(ready(ctx)).To(Equal("False StoreDeleting"))
		Expect(says(ctx)).To(And(ContainSubstring("1 active session"), ContainSubstring("kubectl delete uploadsessions --namespace "+w.namespace)))
		Expect(w.events).To(Receive(HavePrefix("Warning StoreDeleting")))
		w.stepStore(ctx)
		Expect(w.events).NotTo(Receive())
		Expect(condition(s.Status.Conditions, v1alpha1.ConditionAcceptingChunks)).To(Equal("True Uploading"), "what was admitted goes on")

		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "slipway:" + w.namespace + ":models"}}
		get(ctx, w, binding)
		report(ctx, s, w.publication())
		w.stepStore(ctx)
		Expect(apierrors.IsNotFound(user.Get(ctx, w.key(storeName), &v1alpha1.UploadStore{}))).To(BeTrue())
		Expect(apierrors.IsNotFound(user.Get(ctx, client.ObjectKeyFromObject(binding), binding))).To(BeTrue())
	})

	for _, cascade := range []metav1.DeletionPropagation{
		metav1.DeletePropagationForeground, metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan,
	} {
		It("keeps its dataplane until its sessions have ended, and leaves nothing, deleted with "+string(cascade), func(ctx SpecContext) {
			w.haveReadyStore(ctx, inManaged)
			w.createClaim(ctx, corev1.ReadWriteOnce, corev1.ClaimBound)
			s := w.createSession(ctx)
			w.step(ctx, s)
			before := w.set(ctx)
			Expect(user.Delete(ctx, w.getStore(ctx), client.PropagationPolicy(cascade))).To(Succeed())
			w.stepStore(ctx)
			Expect(ready(ctx)).To(Equal("False StoreDeleting"))
			// The garbage collector deletes what has owners, and nothing else.
			store := w.getStore(ctx)
			for _, object := range managed.Objects(store, 1, dataplaneOptions) {
				get(ctx, w, object)
				Expect(object.GetOwnerReferences()).To(BeEmpty(), object.GetName())
			}
			Expect(w.set(ctx).UID).To(Equal(before.UID))

			report(ctx, s, w.publication())
			w.stepStore(ctx)
			for _, object := range managed.Objects(store, 1, dataplaneOptions) {
				err := user.Get(ctx, client.ObjectKeyFromObject(object), object)
				Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%T %s: %v", object, object.GetName(), err)
			}
			var leases coordinationv1.LeaseList
			Expect(user.List(ctx, &leases, client.InNamespace(w.namespace))).To(Succeed())
			Expect(leases.Items).To(BeEmpty())
			// What is left of the store is for the garbage collector, which this control plane does not have.
			err := user.Get(ctx, w.key(storeName), store)
			Expect(apierrors.IsNotFound(err) || !controllerutil.ContainsFinalizer(store, v1alpha1.StoreFinalizer)).To(BeTrue())
		})
	}

	It("lets a namespace end in which nothing runs any more", func(ctx SpecContext) {
		w.haveReadyStore(ctx, inManaged)
		s := w.createSession(ctx)
		w.step(ctx, s)
		Expect(user.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})).To(Succeed())
		Expect(user.Delete(ctx, w.set(ctx))).To(Succeed()) // as the namespace's controller does with all that it finds
		Expect(user.Delete(ctx, s)).To(Succeed())
		Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
		w.pass(leaseLife)
		w.step(ctx, s)
		w.stepStore(ctx) // which can't make the StatefulSet again
		Expect(ready(ctx)).To(Equal("False StoreDeleting"))

		w.pass(2 * time.Minute)
		w.step(ctx, s)
		Expect(s).To(beGone())
		w.stepStore(ctx)
		Expect(apierrors.IsNotFound(user.Get(ctx, w.key(storeName), &v1alpha1.UploadStore{}))).To(BeTrue())
	})
})

func inManaged(s *v1alpha1.UploadStore) { s.Spec.Dataplane.Mode = v1alpha1.DataplaneModeManaged }

func replicas(n int32) func(*v1alpha1.UploadStore) {
	return func(s *v1alpha1.UploadStore) { s.Spec.Dataplane.Replicas = n }
}

// get reads an object of the namespace, or of the cluster, again.
func get[T client.Object](ctx context.Context, w *world, o T) T {
	GinkgoHelper()
	key := client.ObjectKeyFromObject(o)
	namespaced, err := user.IsObjectNamespaced(o)
	Expect(err).NotTo(HaveOccurred())
	if namespaced {
		key.Namespace = w.namespace
	}
	found, ok := o.DeepCopyObject().(T)
	Expect(ok).To(BeTrue())
	Expect(user.Get(ctx, key, found)).To(Succeed())
	return found
}

func (w *world) set(ctx context.Context) *appsv1.StatefulSet {
	GinkgoHelper()
	return get(ctx, w, &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: storeName}})
}

// allWrites are the operator's, in the namespace and outside.
func (w *world) allWrites(ctx context.Context) []string {
	GinkgoHelper()
	return append(writesOf(ctx, operatorUser, w.namespace), writesOf(ctx, operatorUser, "")...)
}

func (w *world) changeStore(ctx context.Context, edit func(*v1alpha1.UploadStoreSpec)) {
	GinkgoHelper()
	store := w.getStore(ctx)
	before := store.DeepCopy()
	edit(&store.Spec)
	Expect(user.Patch(ctx, store, client.MergeFrom(before))).To(Succeed())
}

func (w *world) createClaim(ctx context.Context, mode corev1.PersistentVolumeAccessMode, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
	GinkgoHelper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: storeName},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{mode},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	Expect(user.Create(ctx, claim)).To(Succeed())
	w.setPhase(ctx, claim, phase)
	return claim
}

func (w *world) setPhase(ctx context.Context, claim *corev1.PersistentVolumeClaim, phase corev1.PersistentVolumeClaimPhase) {
	GinkgoHelper()
	claim.Status.Phase = phase
	Expect(user.Status().Update(ctx, claim)).To(Succeed())
}

// podOf is what the StatefulSet's controller makes of its template.
func (w *world) podOf(ctx context.Context, ordinal int) *corev1.Pod {
	GinkgoHelper()
	set := w.set(ctx)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: set.Spec.Template.Spec.ServiceAccountName}}
	get(ctx, w, account)
	pod := &corev1.Pod{ObjectMeta: *set.Spec.Template.ObjectMeta.DeepCopy(), Spec: *set.Spec.Template.Spec.DeepCopy()}
	pod.Namespace, pod.Name = w.namespace, fmt.Sprintf("%s-%d", set.Name, ordinal)
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("StatefulSet"))}
	return pod
}

func (w *world) podStatus(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) {
	GinkgoHelper()
	pod.Status = status
	pod.Status.Phase = corev1.PodPending
	Expect(user.Status().Update(ctx, pod)).To(Succeed())
}

func containerStatus(s corev1.ContainerStatus) corev1.PodStatus {
	s.Name = managed.ContainerName
	return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{s}}
}

// setStatus says of the StatefulSet that so many replicas are as they should be.
func (w *world) setStatus(ctx context.Context, n int32) {
	GinkgoHelper()
	set := w.set(ctx)
	set.Status = appsv1.StatefulSetStatus{ObservedGeneration: set.Generation, Replicas: n, ReadyReplicas: n, UpdatedReplicas: n, CurrentReplicas: n}
	Expect(user.Status().Update(ctx, set)).To(Succeed())
}

func (w *world) event(ctx context.Context, about client.Object, kind, reason, words string) {
	GinkgoHelper()
	Expect(user.Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "e-"},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: w.namespace, Name: about.GetName(), UID: about.GetUID()},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: words, LastTimestamp: metav1.Now(),
	})).To(Succeed())
}
