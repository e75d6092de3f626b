package e2e_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/e2e/agent"
)

var _ = Describe("Two replicas", Label("replicas"), func() {
	It("share a volume, and either takes chunks for a session of the other", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		var class *string
		if settings.sharedClass != "" {
			class = ptr.To(settings.sharedClass)
		}
		s.newClaim(ctx, "models", corev1.ReadWriteMany, class)
		store := s.newStore(ctx, "models", v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeManaged, Replicas: 2})
		Eventually(ctx, func(g Gomega) {
			if why := s.refusedClaim(ctx, "models"); why != "" {
				Skip("this cluster makes no ReadWriteMany volumes (E2E_SHARED_CLASS may name a StorageClass that does): " + why)
			}
			g.Expect(get(ctx, store).Status.Replicas).To(HaveLen(2))
		}).Should(Succeed())
		awaitStore(ctx, store, v1alpha1.ReasonDataplaneReady)

		By("asking every replica about one session")
		u := s.newUpload(ctx, "models", "object", 64, func(session *v1alpha1.UploadSession) { session.Spec.ChunkSizeBytes = 32 })
		u.await(ctx, v1alpha1.ConditionAcceptingChunks, "True")
		var requests []agent.Request
		for i, replica := range store.Status.Replicas {
			requests = append(requests,
				agent.Request{Method: http.MethodPut, URL: u.url(replica.Endpoint) + "/chunks/" + strconv.Itoa(i), Body: chunk(u, i), Token: agent.TokenDataplane},
				agent.Request{Method: http.MethodGet, URL: u.url(replica.Endpoint), Token: agent.TokenDataplane},
			)
		}
		replies := s.call(ctx, store, requests)
		for i := range store.Status.Replicas {
			Expect(replies[2*i].Status).To(Equal(http.StatusCreated), "%s: %s", requests[2*i].URL, replies[2*i].Body)
			Expect(statusOf(replies[2*i+1], http.StatusOK).ReceivedChunks).To(Equal(i+1), requests[2*i+1].URL)
		}
		u.await(ctx, v1alpha1.ConditionSucceeded, "True")
		u.checkVolume(ctx, "models")

		By("uploading through the Service, which leads to both")
		var uploads []*upload
		pinned := map[string]bool{}
		for _, name := range []string{"one", "two", "three", "four"} {
			through := s.newUpload(ctx, "models", name, 32<<20, func(session *v1alpha1.UploadSession) { session.Spec.ChunkSizeBytes = 1 << 20 })
			through.await(ctx, v1alpha1.ConditionAcceptingChunks, "True")
			pinned[through.session.Status.Admission.Replica] = true
			uploads = append(uploads, through)
		}
		Expect(pinned).To(HaveLen(2), "both have sessions of their own")
		for _, through := range uploads {
			through.start(ctx, 0, "--endpoint", store.Status.Endpoint)
		}
		for _, through := range uploads {
			through.finish(ctx)
		}
	})
})

// chunk is one chunk of a tiny object.
func chunk(u *upload, index int) []byte {
	GinkgoHelper()
	body := make([]byte, u.session.Spec.ChunkSizeBytes)
	_, err := u.content.ReadAt(body, int64(index)*u.session.Spec.ChunkSizeBytes)
	Expect(err).NotTo(HaveOccurred())
	return body
}

// refusedClaim is why the cluster makes no volume for the claim; empty where nothing says so.
func (s *space) refusedClaim(ctx context.Context, claim string) string {
	GinkgoHelper()
	var events corev1.EventList
	Expect(cluster.List(ctx, &events, client.InNamespace(s.name))).To(Succeed())
	for _, event := range events.Items {
		if event.InvolvedObject.Name == claim && strings.Contains(event.Reason, "ProvisioningFailed") {
			return event.Message
		}
	}
	return ""
}
