package operator_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var _ = Describe("A store", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx) })

	It("is ready while a replica of its dataplane is alive", func(ctx SpecContext) {
		w.createStore(ctx)
		Expect(w.stepStore(ctx)).To(BeZero())
		store := w.getStore(ctx)
		Expect(condition(store.Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False DataplaneMissing"))
		Expect(message(store.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring("--store models --namespace " + w.namespace))

		By("seeing a heartbeat")
		w.heartbeat(ctx, replicaName, 1000)
		Expect(w.stepStore(ctx)).To(Equal(leaseLife))
		store = w.getStore(ctx)
		Expect(condition(store.Status.Conditions, v1alpha1.ConditionReady)).To(Equal("True DataplaneReady"))
		Expect(store.Status.Endpoint).To(Equal(endpoint))
		Expect(*store.Status.CapacityBytes).To(Equal(int64(2000)))
		Expect(*store.Status.AvailableBytes).To(Equal(int64(1000)))
		Expect(*store.Status.ReservedBytes).To(BeZero())
		Expect(store.Status.Replicas).To(Equal([]v1alpha1.UploadStoreReplica{{Name: replicaName, Endpoint: endpoint, ActiveSessions: ptr.To[int32](0)}}))

		By("writing nothing for a heartbeat that says the same")
		written := len(writesOf(ctx, operatorUser, w.namespace))
		w.pass(leaseDuration)
		w.heartbeat(ctx, replicaName, 1000)
		Expect(w.stepStore(ctx)).To(Equal(leaseLife))
		Expect(writesOf(ctx, operatorUser, w.namespace)).To(HaveLen(written))

		By("losing the replica")
		seen := w.clock.Now()
		w.pass(leaseLife)
		Expect(w.stepStore(ctx)).To(BeZero())
		store = w.getStore(ctx)
		Expect(condition(store.Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False DataplaneLost"))
		Expect(message(store.Status.Conditions, v1alpha1.ConditionReady)).To(And(
			ContainSubstring("slipway-models-0"), ContainSubstring(seen.UTC().Format(time.RFC3339))))
		Expect(store.Status.Replicas).To(BeEmpty())
		Expect(store.Status.Endpoint).To(Equal(endpoint), "whoever has sessions tries again there")
		Expect(store.Status.AvailableBytes).To(BeNil())

		By("seeing it come back")
		w.heartbeat(ctx, replicaName, 1000)
		w.stepStore(ctx)
		Expect(condition(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady)).To(Equal("True DataplaneReady"))
	})

	It("names what is wrong with a report", func(ctx SpecContext) {
		w.createStore(ctx)
		w.renew(ctx, replicaName, w.clock.Now(), map[string]string{v1alpha1.EndpointAnnotation: endpoint})
		w.stepStore(ctx)
		store := w.getStore(ctx)
		Expect(condition(store.Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False InvalidReport"))
		Expect(message(store.Status.Conditions, v1alpha1.ConditionReady)).To(ContainSubstring(v1alpha1.CapacityBytesAnnotation))
	})

	It("tells what its sessions reserve until they end", func(ctx SpecContext) {
		w.haveReadyStore(ctx)
		s := w.createSession(ctx)
		w.step(ctx, s)
		w.stepStore(ctx)
		Expect(*w.getStore(ctx).Status.ReservedBytes).To(Equal(int64(100)))

		report(ctx, s, w.publication())
		w.stepStore(ctx)
		Expect(*w.getStore(ctx).Status.ReservedBytes).To(BeZero())
	})

	It("has a status that the API server takes, whatever a replica reports", func(ctx SpecContext) {
		w.createStore(ctx)
		for _, bad := range []string{
			"", "models-0", "ftp:", "http://", "http://a b", "http://[::1", "http://%zz", "://x",
			strings.Repeat("a", 40_000), "https://" + strings.Repeat("\u202e", 40_000), strings.Repeat("\x01", 100_000),
		} {
			w.renew(ctx, replicaName, w.clock.Now(), map[string]string{
				v1alpha1.EndpointAnnotation: bad, v1alpha1.CapacityBytesAnnotation: "1", v1alpha1.AvailableBytesAnnotation: "1",
			})
			w.stepStore(ctx)
			Expect(condition(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False InvalidReport"), bad[:min(len(bad), 80)])
		}
		for _, annotation := range []string{v1alpha1.CapacityBytesAnnotation, v1alpha1.AvailableBytesAnnotation, v1alpha1.CABundleAnnotation} {
			report := map[string]string{
				v1alpha1.EndpointAnnotation: "https://models-0", v1alpha1.CapacityBytesAnnotation: "1", v1alpha1.AvailableBytesAnnotation: "1",
			}
			report[annotation] = strings.Repeat("9", 100_000)
			w.renew(ctx, replicaName, w.clock.Now(), report)
			w.stepStore(ctx)
			stored := w.getStore(ctx).Status.Conditions
			Expect(condition(stored, v1alpha1.ConditionReady)).To(Equal("False InvalidReport"))
			Expect(message(stored, v1alpha1.ConditionReady)).To(ContainSubstring(annotation))
		}
	})

	It("forgets a replica whose Lease is deleted", func(ctx SpecContext) {
		w.haveReadyStore(ctx)
		Expect(dataplane.Delete(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v1alpha1.LeaseNamePrefix + replicaName},
		})).To(Succeed())
		w.stepStore(ctx)
		Expect(condition(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady)).To(Equal("False DataplaneMissing"))
	})
})
