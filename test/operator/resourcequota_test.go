package operator_test

import (
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

var _ = Describe("A ResourceQuota as in config/samples", func() {
	const sessions = "count/uploadsessions.uploads.slipway.dev"

	It("bounds how many sessions a namespace has", func(ctx SpecContext) {
		w := newWorld(ctx)
		file, err := os.ReadFile("../../config/samples/resourcequota.yaml")
		Expect(err).NotTo(HaveOccurred())
		var quota corev1.ResourceQuota
		Expect(yaml.UnmarshalStrict(file, &quota)).To(Succeed())
		Expect(quota.Spec.Hard).To(HaveKey(corev1.ResourceName(sessions)))
		quota.Namespace = w.namespace
		quota.Spec.Hard[sessions] = resource.MustParse("2")
		Expect(user.Create(ctx, &quota)).To(Succeed())
		// The controller manager counts what there is; none runs here.
		quota.Status.Hard = quota.Spec.Hard
		quota.Status.Used = corev1.ResourceList{}
		for name := range quota.Spec.Hard {
			quota.Status.Used[name] = resource.MustParse("0")
		}
		Expect(user.Status().Update(ctx, &quota)).To(Succeed())

		w.createSession(ctx)
		w.createSession(ctx)
		Expect(func() error {
			third := &v1alpha1.UploadSession{}
			third.Namespace, third.GenerateName = w.namespace, "more-"
			third.Spec.StoreRef.Name, third.Spec.Key, third.Spec.SizeBytes = storeName, "key", new(int64)
			return user.Create(ctx, third)
		}()).To(MatchError(apierrors.IsForbidden, "IsForbidden"))
	})
})
