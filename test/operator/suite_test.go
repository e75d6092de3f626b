package operator_test

import (
	"context"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// Whoever writes is a user of their own, so that the audit log tells them
// apart and the operator can do no more than its role allows.
const (
	operatorUser  = "operator"
	dataplaneUser = "dataplane"
)

var (
	plane          *controlplane.ControlPlane
	operatorConfig *rest.Config

	// Direct clients of the three parties.
	user, operator, dataplane client.Client
)

func TestOperator(t *testing.T) {
	RegisterFailHandler(Fail)
	// Less than the life of a Lease, when the operator looks again unasked.
	SetDefaultEventuallyTimeout(10 * time.Second)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Operator")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	ctrl.SetLogger(GinkgoLogr)

	var err error
	plane, err = controlplane.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })

	operatorConfig, err = plane.AddUser(operatorUser)
	Expect(err).NotTo(HaveOccurred())
	dataplaneConfig, err := plane.AddUser(dataplaneUser, "system:masters")
	Expect(err).NotTo(HaveOccurred())

	user = newClient(plane.Config)
	operator = newClient(operatorConfig)
	dataplane = newClient(dataplaneConfig)
	grantOperatorRole(ctx)
})

// grantOperatorRole lets the operator do what it may do in a cluster, and nothing else.
func grantOperatorRole(ctx context.Context) {
	GinkgoHelper()
	content, err := os.ReadFile("../../config/rbac/role.yaml")
	Expect(err).NotTo(HaveOccurred(), "make generate writes it")
	var role rbacv1.ClusterRole
	Expect(yaml.UnmarshalStrict(content, &role)).To(Succeed())
	Expect(user.Create(ctx, &role)).To(Succeed())
	Expect(user.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: operatorUser},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	})).To(Succeed())
	// The API server's authorizer follows the API with a delay.
	Eventually(ctx, func() error { return operator.List(ctx, &v1alpha1.UploadSessionList{}) }).Should(Succeed())
}

func newClient(config *rest.Config) client.Client {
	GinkgoHelper()
	options, err := controllers.ManagerOptions()
	Expect(err).NotTo(HaveOccurred())
	c, err := client.New(config, client.Options{Scheme: options.Scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// writesOf lists what a user wrote to the API server in a namespace, as "verb resource/subresource".
func writesOf(ctx context.Context, userName, namespace string) []string {
	GinkgoHelper()
	writes, err := plane.Writes(ctx, controlplane.Filter{User: userName, Namespace: namespace})
	Expect(err).NotTo(HaveOccurred())
	var list []string
	for _, w := range writes {
		entry := w.Verb + " " + w.Resource
		if w.Subresource != "" {
			entry += "/" + w.Subresource
		}
		list = append(list, entry)
	}
	return list
}
