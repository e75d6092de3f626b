package operator_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers"
)

// lag makes the manager's cache show sessions late, as that of a busy cluster
// does, so that an admission which relies on the cache alone gives room twice.
func lag(obj any) (any, error) {
	time.Sleep(20 * time.Millisecond)
	return obj, nil
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
		Expect(controllers.SetupWithManager(ctx, mgr, w.clock, w.namespace)).To(Succeed())

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
		s := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = ptr.To[int64](900) })
		becomes(ctx, s, v1alpha1.ReasonStoreNotFound)

		By("noticing the store")
		w.createStore(ctx)
		becomes(ctx, s, v1alpha1.ReasonStoreNotReady)

		By("noticing the Lease of a replica")
		w.heartbeat(ctx, replicaName, 1000)
		becomes(ctx, s, v1alpha1.ReasonUploading)
		Eventually(ctx, func() int64 { return *w.getStore(ctx).Status.ReservedBytes }).Should(Equal(int64(900)))

		By("letting the next session wait for the room of the first")
		next := w.createSession(ctx, func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = ptr.To[int64](900) })
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

		By("telling how it ended, once")
		var list eventsv1.EventList
		Eventually(ctx, func() []eventsv1.Event {
			Expect(user.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
			return list.Items
		}).Should(HaveLen(1))
		Expect(list.Items[0].Reason).To(Equal(v1alpha1.ReasonPublished))
		Expect(list.Items[0].Regarding.Name).To(Equal(s.Name))
		Expect(list.Items[0].ReportingController).To(Equal(v1alpha1.OperatorFieldManager))

		By("letting a deleted session go")
		Expect(user.Delete(ctx, s)).To(Succeed())
		Eventually(ctx, func() *v1alpha1.UploadSession { w.refresh(ctx, s); return s }).Should(beGone())
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
})
