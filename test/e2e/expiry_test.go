package e2e_test

import (
	"bytes"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/e2e/agent"
)

var _ = Describe("An idle session", Label("expiry"), func() {
	It("expires and leaves no bytes, while one that is slow goes on", SpecTimeout(specTimeout), func(ctx SpecContext) {
		const idle = 10 * time.Second
		s := newSpace(ctx)
		store := s.newManagedStore(ctx, "models")
		slow := s.newUpload(ctx, "models", "slow", 16<<20, idleAfter(idle), func(session *v1alpha1.UploadSession) {
			session.Spec.ChunkSizeBytes = slowChunk
		})
		slow.start(ctx, 1<<20) // longer than the timeout in all
		left := s.newUpload(ctx, "models", "left", 64, idleAfter(idle), func(session *v1alpha1.UploadSession) {
			session.Spec.ChunkSizeBytes = 32
		})
		left.await(ctx, v1alpha1.ConditionAcceptingChunks, "True")
		put := agent.Request{Method: http.MethodPut, URL: left.url(store.Status.Endpoint) + "/chunks/0", Body: bytes.Repeat([]byte("x"), 32), Token: agent.TokenDataplane}
		Expect(s.call(ctx, store, []agent.Request{put})[0].Status).To(Equal(http.StatusCreated))

		left.await(ctx, v1alpha1.ConditionSucceeded, "False", v1alpha1.ReasonIdleTimeout)
		late := s.call(ctx, store, []agent.Request{put})[0]
		Expect(late.Status).To(Equal(http.StatusGone), late.Body)
		Expect(code(late)).To(Equal(chunkapi.CodeSessionEnded))
		Expect(slow.finish(ctx).Seconds).To(BeNumerically(">", idle.Seconds()), "or it was not slow")
		Expect(s.list(ctx, "models")).NotTo(ContainElement(HaveSuffix(string(left.session.UID)+"/data")), "staged bytes")
	})
})
