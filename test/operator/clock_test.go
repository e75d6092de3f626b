package operator_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/liveness"
)

var _ = Describe("A clock that is set", func() {
	for _, operators := range []time.Duration{-2 * time.Hour, 0, 2 * time.Hour} {
		for _, replicas := range []time.Duration{-2 * time.Hour, 0, 2 * time.Hour} {
			it := fmt.Sprintf("ends and holds up nothing, by %v the operator's and by %v the replica's", operators, replicas)
			It(it, func(ctx SpecContext) {
				w := newWorld(ctx)
				renew := func() {
					annotations := map[string]string{
						v1alpha1.EndpointAnnotation:      endpoint,
						v1alpha1.CapacityBytesAnnotation: "2000", v1alpha1.AvailableBytesAnnotation: "1000",
					}
					w.renew(ctx, replicaName, w.clock.FakePassiveClock.Now().Add(replicas), annotations)
				}
				ready := func() string { return condition(w.getStore(ctx).Status.Conditions, v1alpha1.ConditionReady) }
				w.haveReadyStore(ctx)
				s := w.createSession(ctx)
				w.step(ctx, s)
				Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))

				By("setting them")
				w.clock.set = operators
				for range 3 {
					w.pass(10 * time.Second)
					renew()
					w.stepStore(ctx)
					w.step(ctx, s)
					Expect(ready()).To(Equal("True DataplaneReady"))
					Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
				}

				By("starting the operator again, by which what it knew is lost")
				restart := func() {
					w.stores.Liveness = liveness.NewObserver(w.clock)
					w.sessions.Liveness = w.stores.Liveness
				}
				restart()
				for range 3 {
					w.stepStore(ctx)
					w.step(ctx, s)
					Expect(ready()).To(Equal("True DataplaneReady"))
					Expect(s).To(showing("True Admitted", "True Uploading", "Unknown Uploading"))
					w.pass(10 * time.Second)
					renew()
				}

				By("leaving the Lease as it is")
				w.stepStore(ctx)
				Expect(w.stepStore(ctx)).To(Equal(leaseLife))
				w.clock.set = -operators
				w.pass(leaseLife - time.Second)
				w.stepStore(ctx)
				Expect(ready()).To(Equal("True DataplaneReady"))
				w.pass(time.Second)
				w.stepStore(ctx)
				Expect(ready()).To(Equal("False DataplaneLost"))
				w.pass(time.Minute)
				w.step(ctx, s)
				Expect(s).To(showing("True Admitted", "False ReplicaNotReady", "Unknown ReplicaNotReady"))

				By("starting the operator once more, which brings no dead replica to life")
				w.clock.set = operators
				restart()
				w.stepStore(ctx)
				w.step(ctx, s)
				Expect(ready()).To(Equal("False DataplaneLost"))
				Expect(s).To(showing("True Admitted", "False ReplicaNotReady", "Unknown ReplicaNotReady"))
				w.pass(leaseLife)
				w.stepStore(ctx)
				Expect(ready()).To(Equal("False DataplaneLost"))
			})
		}
	}
})
