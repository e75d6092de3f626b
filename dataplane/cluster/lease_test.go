package cluster_test

import (
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/cluster"
)

// lease waits until the Lease is as the check wants it.
func (w *world) lease(check func(Gomega, *coordinationv1.Lease)) *coordinationv1.Lease {
	w.t.Helper()
	var lease coordinationv1.Lease
	key := client.ObjectKey{Namespace: w.namespace, Name: v1alpha1.LeaseNamePrefix + replica}
	w.Eventually(func(g Gomega) {
		g.Expect(w.admin.Get(w.t.Context(), key, &lease)).To(Succeed())
		check(g, &lease)
	}).Should(Succeed())
	return &lease
}

func TestTheLeaseSaysThatTheReplicaIsAlive(t *testing.T) {
	w := newWorld(t)
	w.config = func(c *cluster.Config) { c.HeartbeatInterval = time.Second }
	p := w.start()
	first := w.lease(func(Gomega, *coordinationv1.Lease) {})
	w.Expect(first.Labels).To(HaveKeyWithValue(v1alpha1.StoreLabel, store))
	w.Expect(first.Annotations).To(HaveKeyWithValue(v1alpha1.EndpointAnnotation, endpoint))
	w.Expect(first.Spec.LeaseDurationSeconds).To(HaveValue(BeEquivalentTo(30)))
	w.Expect(first.Spec.HolderIdentity).To(HaveValue(HavePrefix(replica + "_")))
	capacity, err := strconv.ParseInt(first.Annotations[v1alpha1.CapacityBytesAnnotation], 10, 64)
	w.Expect(err).NotTo(HaveOccurred())
	available, err := strconv.ParseInt(first.Annotations[v1alpha1.AvailableBytesAnnotation], 10, 64)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(available).To(And(BeNumerically(">", 0), BeNumerically("<=", capacity)))
	w.Expect(available % (1 << 20)).To(BeZero())

	w.lease(func(g Gomega, l *coordinationv1.Lease) {
		g.Expect(l.Spec.RenewTime.After(first.Spec.RenewTime.Time)).To(BeTrue())
		g.Expect(l.Spec.AcquireTime.Equal(first.Spec.AcquireTime)).To(BeTrue())
	})

	// The next process takes over at once.
	p.stop()
	w.start()
	w.lease(func(g Gomega, l *coordinationv1.Lease) {
		g.Expect(*l.Spec.HolderIdentity).To(And(HavePrefix(replica+"_"), Not(Equal(*first.Spec.HolderIdentity))))
	})
}

func TestTheLeaseIsTakenBack(t *testing.T) {
	w := newWorld(t)
	w.config = func(c *cluster.Config) { c.HeartbeatInterval = time.Second }
	w.start()
	lease := w.lease(func(Gomega, *coordinationv1.Lease) {})
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"holderIdentity":"stranger"}}`))
	w.Expect(w.admin.Patch(t.Context(), lease, patch)).To(Succeed())
	w.lease(func(g Gomega, l *coordinationv1.Lease) {
		g.Expect(l.Spec.HolderIdentity).To(HaveValue(HavePrefix(replica + "_")))
	})
	w.Expect(w.admin.Delete(t.Context(), lease)).To(Succeed())
	w.lease(func(Gomega, *coordinationv1.Lease) {})
}
