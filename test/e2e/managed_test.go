package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/e2e/agent"
)

var _ = Describe("A managed store", Label("managed"), func() {
	It("says what it waits for, becomes ready from nothing, and takes a small object in two requests", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		store := s.newStore(ctx, "models", v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeManaged})
		awaitStoreIs(ctx, store, metav1.ConditionFalse, v1alpha1.ReasonClaimNotFound)
		s.newClaim(ctx, "models", corev1.ReadWriteOnce, nil)
		awaitStore(ctx, store, v1alpha1.ReasonDataplaneReady)
		Expect(store.Status.Endpoint).To(Equal("https://models." + s.name + ".svc:8443"))
		Expect(store.Status.CABundle).NotTo(BeEmpty())

		By("creating a session over HTTP, as a Pod's ServiceAccount")
		const body = "slipway\n"
		sessions := store.Status.Endpoint + "/v1/namespaces/" + s.name + "/uploadsessions"
		create := agent.Request{
			Method: http.MethodPost, URL: sessions, Body: fmt.Appendf(nil, `{"key": "objects/made", "sizeBytes": %d}`, len(body)), Token: agent.TokenDataplane,
			Header: map[string]string{"Content-Type": "application/json", "Idempotency-Key": `"one"`},
		}
		made := statusOf(s.call(ctx, store, []agent.Request{create})[0], http.StatusCreated)
		put := agent.Request{
			Method: http.MethodPut, URL: sessions + "/" + made.Name + "/chunks/0", Body: []byte(body), Token: agent.TokenDataplane,
			Header: map[string]string{"Prefer": "wait=10"},
		}
		replies := s.call(ctx, store, []agent.Request{put, create})
		Expect(replies[0].Status).To(Equal(http.StatusCreated), replies[0].Body)
		again := statusOf(replies[1], http.StatusOK)
		Expect(again.State).To(Equal(chunkapi.StatePublished))

		session := get(ctx, &v1alpha1.UploadSession{ObjectMeta: s.meta(made.Name)})
		Expect(session.Spec.Owner).To(Equal("system:serviceaccount:" + s.name + ":" + uploaderAccount))
		Expect(s.read(ctx, "models", "objects/made")).To(Equal(string(again.Result.Digest)))
	})

	It("takes a gibibyte in parallel over TLS, whole and right", Label("large"), SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		s.newManagedStore(ctx, "models")
		u := s.newUpload(ctx, "models", "large", 1<<30)
		u.run(ctx)
		u.checkVolume(ctx, "models")
	})
})

// statusOf is the status in a reply with this code.
func statusOf(reply agent.Reply, want int) chunkapi.Status {
	GinkgoHelper()
	Expect(reply.Status).To(Equal(want), reply.Body)
	var status chunkapi.Status
	Expect(json.Unmarshal([]byte(reply.Body), &status)).To(Succeed(), reply.Body)
	return status
}
