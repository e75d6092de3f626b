package operator_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers"
	"github.com/slipway-dev/slipway/controllers/cached"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// lag makes the manager's cache show sessions late, as that of a busy cluster
// does, so that an admission which relies on the cache alone gives room twice.
func lag(obj any) (any, error) {
	time.Sleep(20 * time.Millisecond)
	return cached.Session(obj)
}

var _ = Describe("The manager", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		options, err := controllers.ManagerOptions()
		Expect(err).NotTo(HaveOccurred())
		options.Cache.DefaultNamespaces = map[string]cache.Config{w.namespace: {}}
		options.Cache.ByObject[&v1alpha1.UploadSession{}] = cache.ByObject{Transform: lag}
		options.Metrics = server.Options{BindAddress: "0"}
		options.Controller.SkipNameValidation = ptr.To(true) // each spec has a manager of its own
		mgr, err := ctrl.NewManager(operatorConfig, options)
		Expect(err).NotTo(HaveOccurred())
		Expect(controllers.SetupWithManager(ctx, mgr, w.clock, w.namespace, dataplaneOptions, prometheus.NewRegistry())).To(Succeed())

		running, stop := context.WithCancel(context.Background())
		stopped := make(chan error)
		go func() { stopped <- mgr.Start(running) }()
		DeferCleanup(func() {
			stop()
			Eventually(stopped).Should(Receive(BeNil()))
		})
	})

	// becomes waits until the session's condition Succeeded has the reason.
	becomes := func(ctx SpecContext, s *v1alpha1.UploadSession, reason string) {
		GinkgoHelper()
		Eventually(ctx, func() string {
			w.refresh(ctx, s)
			return condition(s.Status.Conditions, v1alpha1.ConditionSucceeded)
		}).Should(HaveSuffix(" " + reason))
	}

	It("reacts to stores, Leases and sessions, in as few writes", func(ctx SpecContext) {
		s := w.createSession(ctx, func(s *v1alpha1.UploadSession) {
			s.Spec.SizeBytes, s.Spec.Key = ptr.To[int64](900), "llama"+strings.Repeat("/a", 500)+"/model.gguf"
		})
		becomes(ctx, s, v1alpha1.ReasonStoreNotFound)
		Expect(s.Status.Display.Key).To(Equal("llama/a/a/a/…/a/a/a/a/a/a/a/model.gguf"), "the cache knows no more of a key")

		By("noticing the store")
		w.createStore(ctx)
		becomes(ctx, s, v1alpha1.ReasonStoreNotReady)

		By("noticing the Lease of a replica")
		w.heartbeat(ctx, replicaName, 1000)
		becomes(ctx, s, v1alpha1.ReasonUploading)
		Eventually(ctx, func() int64 { return *w.getStore(ctx).Status.ReservedBytes }).Should(Equal(int64(900)))

		By("letting the next session wait for the room of the first")
		next := w.createSession(ctx, func(s *v1alpha1.UploadSession) {
			s.Spec.SizeBytes, s.Spec.ReclaimPolicy = ptr.To[int64](900), v1alpha1.ReclaimPolicyDelete
		})
		becomes(ctx, next, v1alpha1.ReasonInsufficientSpace)
		for n := range int64(10) {
			report(ctx, s, progress(n))
		}
		report(ctx, s, w.publication())
		becomes(ctx, s, v1alpha1.ReasonPublished)
		By("counting the published object until the replica has looked at its volume again")
		w.pass(time.Second)
		w.heartbeat(ctx, replicaName, 1000)
		becomes(ctx, next, v1alpha1.ReasonUploading)

		By("telling how it ended, and of the other that it waited and then started, once each")
		Eventually(ctx, func() []string {
			var list eventsv1.EventList
			Expect(user.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
			var told []string
			for _, e := range list.Items {
				Expect(e.ReportingController).To(Equal(v1alpha1.OperatorFieldManager))
				told = append(told, e.Regarding.Name+" "+e.Reason)
			}
			return told
		}).Should(ConsistOf(s.Name+" "+v1alpha1.ReasonPublished,
			next.Name+" "+v1alpha1.ReasonInsufficientSpace, next.Name+" "+v1alpha1.ReasonAdmitted))

		By("letting a deleted session go, and its object first where it has one to lose")
		report(ctx, next, w.publication())
		Expect(user.Delete(ctx, next)).To(Succeed())
		Eventually(ctx, func() string {
			w.refresh(ctx, next)
			return condition(next.Status.Conditions, v1alpha1.ConditionReady)
		}).Should(Equal("False Deleting"))
		report(ctx, next, w.publication().WithReclaimedTime(metav1.NewTime(w.clock.Now())))
		Eventually(ctx, func() *v1alpha1.UploadSession { w.refresh(ctx, next); return next }).Should(beGone())
		Expect(user.Delete(ctx, s)).To(Succeed())
		Eventually(ctx, func() *v1alpha1.UploadSession { w.refresh(ctx, s); return s }).Should(beGone())
	})

	It("keeps the keys and certificates of the stores of a namespace", func(ctx SpecContext) {
		secret := func() *corev1.Secret {
			var secret corev1.Secret
			Expect(client.IgnoreNotFound(user.Get(ctx, w.key(v1alpha1.DataplaneSecretName), &secret))).To(Succeed())
			return &secret
		}
		w.createStore(ctx)
		Eventually(ctx, func() map[string][]byte { return secret().Data }).Should(HaveKey(storeName + ".crt"))
		mustServe(w, secret())

		By("noticing a store that comes, and one that goes")
		w.createStore(ctx, func(s *v1alpha1.UploadStore) { s.Name = "data" })
		Eventually(ctx, func() map[string][]byte { return secret().Data }).Should(HaveKey("data.tickets"))
		Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
		Eventually(ctx, func() map[string][]byte { return secret().Data }).ShouldNot(HaveKey(storeName + ".key"))
		Expect(secret().Data).To(HaveKey("data.key"))
	})

	It("runs a managed store in the one namespace that it looks after", func(ctx SpecContext) {
		w.createStore(ctx, inManaged)
		ready := func() string { return condition(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady) }
		Eventually(ctx, ready).Should(Equal("False ClaimNotFound"))
		w.createClaim(ctx, corev1.ReadWriteOnce, corev1.ClaimBound)
		Eventually(ctx, ready).Should(Equal("False DataplaneStarting"))
		pod := w.podOf(ctx, 0)
		Expect(user.Create(ctx, pod)).To(Succeed())
		w.podStatus(ctx, pod, corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node",
		}}})
		Eventually(ctx, ready).Should(Equal("False PodUnschedulable"))

		By("noticing what somebody changes or removes")
		for _, gone := range []client.Object{
			&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: storeName}},
			&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "slipway:" + w.namespace + ":" + storeName}},
		} {
			before := get(ctx, w, gone).GetUID()
			Expect(user.Delete(ctx, gone)).To(Succeed())
			Eventually(ctx, func(g Gomega) {
				g.Expect(user.Get(ctx, client.ObjectKeyFromObject(gone), gone)).To(Succeed())
				g.Expect(gone.GetUID()).NotTo(Equal(before))
			}).Should(Succeed())
		}
		By("letting it go")
		Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
		Eventually(ctx, func() bool { return apierrors.IsNotFound(user.Get(ctx, w.key(storeName), &v1alpha1.UploadStore{})) }).Should(BeTrue())
	})

	It("hears that a replica is gone for good", func(ctx SpecContext) {
		w.createStore(ctx)
		w.heartbeat(ctx, replicaName, 1000)
		s := w.createSession(ctx)
		becomes(ctx, s, v1alpha1.ReasonUploading)
		w.pass(leaseLife + time.Minute)
		store := w.getStore(ctx) // which makes the operator look at its Leases
		Expect(user.Patch(ctx, store, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"limits":{"maxObjectBytes":1000}}}`)))).To(Succeed())
		becomes(ctx, s, v1alpha1.ReasonReplicaNotReady)
		w.sayGone(ctx, replicaName)
		becomes(ctx, s, v1alpha1.ReasonReplicaGone)
	})

	It("admits a burst of sessions as far as there is room, and no further", func(ctx SpecContext) {
		w.createStore(ctx)
		w.heartbeat(ctx, replicaName, 1000)
		for range 10 {
			w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = ptr.To[int64](300) })
		}
		standing := func() map[string]int {
			var list v1alpha1.UploadSessionList
			Expect(user.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
			count := map[string]int{}
			for i := range list.Items {
				count[condition(list.Items[i].Status.Conditions, v1alpha1.ConditionSucceeded)]++
			}
			return count
		}
		Eventually(ctx, standing).Should(Equal(map[string]int{"Unknown Uploading": 3, "Unknown InsufficientSpace": 7}))
	})

	It("wakes who waits, and nobody else, when a quota or a session changes", func(ctx SpecContext) {
		const all = 12
		q := w.createQuota(ctx, "team", activeSessions(2))
		w.createStore(ctx)
		w.heartbeat(ctx, replicaName, 100_000)
		// Who comes before the store is ready is told of that first, in one write more.
		Eventually(ctx, func() string { return condition(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady) }).Should(HavePrefix("True "))
		s := w.inOrder(ctx, all)
		count := func() int {
			n := 0
			for _, one := range s {
				if one.Name == "" {
					continue // gone
				}
				w.refresh(ctx, one)
				if one.Status.Admission.Replica != "" && one.Status.CompletionTime.IsZero() {
					n++
				}
			}
			return n
		}
		Eventually(ctx, count).Should(Equal(2))
		for _, one := range s[2:] {
			becomes(ctx, one, v1alpha1.ReasonQuotaExceeded)
		}
		Expect(s[0].Status.Admission.Replica).NotTo(BeEmpty(), "the first go first")
		Expect(s[1].Status.Admission.Replica).NotTo(BeEmpty())

		By("a result")
		report(ctx, s[0], w.abortion(v1alpha1.ReasonAborted))
		becomes(ctx, s[2], v1alpha1.ReasonUploading)
		By("a deletion")
		Expect(user.Delete(ctx, s[1])).To(Succeed())
		report(ctx, s[1], w.abortion(v1alpha1.ReasonDeleted))
		becomes(ctx, s[3], v1alpha1.ReasonUploading)
		By("a session that waits, and goes")
		w.change(ctx, s[4], func(spec *v1alpha1.UploadSessionSpec) { spec.DesiredState = v1alpha1.DesiredStateCancelled })
		becomes(ctx, s[4], v1alpha1.ReasonCancelled)
		By("a higher limit")
		w.changeQuota(ctx, q, func(spec *v1alpha1.UploadQuotaSpec) { spec.Hard.ActiveSessions = ptr.To[int32](4) })
		becomes(ctx, s[6], v1alpha1.ReasonUploading)
		Expect(count()).To(Equal(4))
		By("showing what is taken")
		Eventually(ctx, func() string {
			Expect(user.Get(ctx, w.key("team"), q)).To(Succeed())
			return q.Status.Summary
		}).Should(Equal("activeSessions: 4/4"))
		By("no limit")
		Expect(user.Delete(ctx, q)).To(Succeed())
		Eventually(ctx, count).Should(Equal(all - 3))

		By("writing of each what is needed and no more: the wait, the finalizer, the admission")
		list, err := plane.Writes(ctx, controlplane.Filter{User: operatorUser, Namespace: w.namespace, Resource: "uploadsessions"})
		Expect(err).NotTo(HaveOccurred())
		for _, one := range s[5:] {
			var writes []string
			for _, write := range list {
				if write.Name == one.Name {
					writes = append(writes, write.Time.Format("05.000")+" "+write.Verb+" "+write.Subresource)
				}
			}
			Expect(len(writes)).To(BeNumerically("<=", 3), "%s: %q", one.Name, writes)
		}
	})
})
