package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/e2e/agent"
)

var _ = Describe("Access", Label("access"), func() {
	It("is for who has the Role, and who has not learns nothing", SpecTimeout(specTimeout), func(ctx SpecContext) {
		s := newSpace(ctx)
		store := s.newManagedStore(ctx, "models")
		u := s.newUpload(ctx, "models", "secret", 64, func(session *v1alpha1.UploadSession) { session.Spec.ChunkSizeBytes = 32 })
		u.await(ctx, v1alpha1.ConditionAcceptingChunks, "True")
		s.addAccount(ctx, "stranger")
		elsewhere := newSpace(ctx) // whose uploader may upload there

		for _, who := range []struct {
			name, token string
			status      int
			code        chunkapi.Code
			calls       func(requests []agent.Request) []agent.Reply
		}{
			{
				"a ServiceAccount without the Role", agent.TokenDataplane, http.StatusForbidden, chunkapi.CodeForbidden,
				func(r []agent.Request) []agent.Reply { return s.call(ctx, store, r, as("stranger")) },
			},
			{
				"a ServiceAccount with the Role in another namespace", agent.TokenDataplane, http.StatusForbidden, chunkapi.CodeForbidden,
				func(r []agent.Request) []agent.Reply { return elsewhere.call(ctx, store, r) },
			},
			{
				"the right one with a token for another audience", agent.TokenKubernetes, http.StatusUnauthorized, chunkapi.CodeUnauthenticated,
				func(r []agent.Request) []agent.Reply { return s.call(ctx, store, r) },
			},
			{
				"nobody", agent.TokenNone, http.StatusUnauthorized, chunkapi.CodeUnauthenticated,
				func(r []agent.Request) []agent.Reply { return s.call(ctx, store, r) },
			},
		} {
			By("asking as " + who.name)
			there := everyCall(store.Status.Endpoint, s.name, "secret", who.token)
			missing := everyCall(store.Status.Endpoint, s.name, "absent", who.token)
			replies := who.calls(append(there, missing...))
			for i, request := range there {
				reply, other := replies[i], replies[len(there)+i]
				Expect(reply.Status).To(Equal(who.status), "%s %s: %s", request.Method, request.URL, reply.Body)
				Expect(code(reply)).To(Equal(who.code), "%s %s", request.Method, request.URL)
				Expect(strings.ReplaceAll(reply.Body, "secret", "absent")).To(Equal(other.Body),
					"%s %s tells whether there is such a session", request.Method, request.URL)
			}
		}

		By("asking as who may")
		replies := s.call(ctx, store, everyCall(store.Status.Endpoint, s.name, "secret", agent.TokenDataplane)[:1])
		Expect(replies[0].Status).To(Equal(http.StatusOK), replies[0].Body)
		var status chunkapi.Status
		Expect(json.Unmarshal([]byte(replies[0].Body), &status)).To(Succeed())
		Expect(status.State).To(Equal(chunkapi.StateActive))
		Expect(status.ReceivedBytes).To(BeZero(), "of those who may not send")
	})
})

// everyCall is each call of the protocol once.
func everyCall(endpoint, namespace, session, token string) []agent.Request {
	sessions := endpoint + "/v1/namespaces/" + namespace + "/uploadsessions"
	base := sessions + "/" + session
	requests := []agent.Request{
		{Method: http.MethodGet, URL: base},
		{Method: http.MethodPut, URL: base + "/chunks/0", Body: bytes.Repeat([]byte("x"), 32)},
		{Method: http.MethodPost, URL: base + "/complete"},
		{Method: http.MethodGet, URL: base + "/content"},
		{Method: http.MethodPost, URL: base + "/tickets"},
		{Method: http.MethodDelete, URL: base},
	}
	for i := range requests {
		requests[i].Token = token
	}
	return requests
}

// code is that of the problem in a reply.
func code(reply agent.Reply) chunkapi.Code {
	GinkgoHelper()
	var problem chunkapi.Problem
	Expect(json.Unmarshal([]byte(reply.Body), &problem)).To(Succeed(), reply.Body)
	return problem.Code
}
