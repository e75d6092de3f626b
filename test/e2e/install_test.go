package e2e_test

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// The names in config/.
const (
	systemNamespace   = "slipway-system"
	managerDeployment = "deployment/slipway-manager"
	uploaderRole      = "slipway-uploader"
)

// install does what docs/install.md says: one file, and it runs.
func install(ctx context.Context) {
	GinkgoHelper()
	if settings.existing {
		Expect(installed(ctx)).To(BeTrue(), "E2E_EXISTING is true, and Slipway is not installed")
		return
	}
	Expect(installed(ctx)).To(BeFalse(), "Slipway is on this cluster already: the suite installs it and uninstalls it, "+
		"and with it every session and store. Run the suite on another cluster, or with E2E_EXISTING=true")
	ours = true
	kubectl(ctx, "apply", "--server-side", "--filename", settings.manifest)
	kubectl(ctx, "--namespace", systemNamespace, "rollout", "status", managerDeployment, "--timeout=5m")
}

// installed reports whether the API server knows the API.
func installed(ctx context.Context) bool {
	GinkgoHelper()
	err := cluster.List(ctx, &v1alpha1.UploadStoreList{})
	if meta.IsNoMatchError(err) {
		return false
	}
	Expect(client.IgnoreNotFound(err)).To(Succeed())
	return err == nil
}

// uninstall does what docs/install.md says: sessions and stores first, while the operator is
// there to let go of them, then the rest.
func uninstall(ctx context.Context) {
	GinkgoHelper()
	if !ours {
		return
	}
	if installed(ctx) {
		kubectl(ctx, "delete", "uploadsessions,uploadstores,uploadquotas", "--all", "--all-namespaces", "--timeout=4m")
	}
	kubectl(ctx, "delete", "--ignore-not-found", "--timeout=4m", "--filename", settings.manifest)
}

// Last of all, since nothing works after it.
var _ = Describe("Uninstalling", Serial, SpecPriority(-1), Label("install"), func() {
	It("leaves nothing but published objects and what was asked to stay", SpecTimeout(specTimeout), func(ctx SpecContext) {
		if settings.existing {
			Skip("E2E_EXISTING=true: what was there is to stay")
		}
		s := newSpace(ctx)
		s.newManagedStore(ctx, "models")
		kept := s.newUpload(ctx, "models", "kept", 3<<20)
		kept.run(ctx)
		gone := s.newUpload(ctx, "models", "gone", 3<<20, func(session *v1alpha1.UploadSession) {
			session.Spec.ReclaimPolicy = v1alpha1.ReclaimPolicyDelete
		})
		gone.run(ctx)
		half := s.newUpload(ctx, "models", "half", 3<<20)
		half.await(ctx, v1alpha1.ConditionAcceptingChunks, "True")

		By("uninstalling")
		uninstall(ctx)

		By("looking for what is left of the operator")
		Eventually(leftBehind).WithContext(ctx).Should(BeEmpty())

		By("looking for what is left in the namespace of a store")
		Eventually(s.things).WithContext(ctx).Should(ConsistOf(s.own))

		By("looking at the volume, which stays as its claim does")
		lock := MatchRegexp(`^\.slipway/([^/]+/)?\.[a-z]+$`) // by which replicas keep out of each other's way
		Expect(s.list(ctx, "models")).To(And(ContainElement(kept.session.Spec.Key), HaveEach(Or(Equal(kept.session.Spec.Key), lock))))
		Expect(s.read(ctx, "models", kept.session.Spec.Key)).To(Equal(kept.content.Digest()))
	})
})

// leftBehind lists what is called after Slipway in the whole cluster, but for the namespaces of this suite.
func leftBehind(ctx context.Context) ([]string, error) {
	var left []string
	for _, kind := range []string{
		"customresourcedefinitions", "clusterroles", "clusterrolebindings", "namespaces", "apiservices",
		"mutatingwebhookconfigurations", "validatingwebhookconfigurations",
		"validatingadmissionpolicies", "validatingadmissionpolicybindings",
		"mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
	} {
		out, err := try(ctx, "get", kind, "--output=name")
		if err != nil && strings.Contains(err.Error(), "doesn't have a resource type") {
			continue // an older cluster
		}
		if err != nil {
			return nil, err
		}
		for _, name := range strings.Fields(out) {
			if strings.Contains(name, "slipway") && !strings.Contains(name, spacePrefix) {
				left = append(left, name)
			}
		}
	}
	return left, nil
}
