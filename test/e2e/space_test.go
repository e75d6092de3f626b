package e2e_test

import (
	"context"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// spacePrefix begins the name of every namespace that the suite makes.
const spacePrefix = "slipway-e2e-"

// uploaderAccount is the ServiceAccount of each space that may upload.
const uploaderAccount = "uploader"

// space is a namespace of one spec, with somebody in it who may upload. All its Pods have to keep
// to the restricted Pod Security Standard.
type space struct {
	name string
	own  []string // what is in it before anything of Slipway
	made int      // Pods of the agent
}

func newSpace(ctx context.Context) *space {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: spacePrefix,
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	Expect(cluster.Create(ctx, namespace)).To(Succeed())
	s := &space{name: namespace.Name}
	DeferCleanup(s.remove, NodeTimeout(2*patience))
	DeferCleanup(s.dumpIfFailed, NodeTimeout(time.Minute)) // before it is removed
	s.addAccount(ctx, uploaderAccount, uploaderRole)
	Eventually(ctx, func() error { // that the controller manager makes
		return cluster.Get(ctx, s.key("default"), &corev1.ServiceAccount{})
	}).Should(Succeed())
	own, err := s.things(ctx)
	Expect(err).NotTo(HaveOccurred())
	s.own = own
	return s
}

func (s *space) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.name, Name: name}
}

func (s *space) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.name, Name: name}
}

// addAccount makes a ServiceAccount with these ClusterRoles in the space.
func (s *space) addAccount(ctx context.Context, name string, roles ...string) {
	GinkgoHelper()
	Expect(cluster.Create(ctx, &corev1.ServiceAccount{ObjectMeta: s.meta(name)})).To(Succeed())
	for _, role := range roles {
		Expect(cluster.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: s.meta(name + "-" + role),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.name, Name: name}},
		})).To(Succeed())
	}
}

// remove removes the namespace with all in it, and waits for its end. Sessions go
// first, while their dataplane is there: without it they wait for it, for two minutes.
func (s *space) remove(ctx context.Context) {
	GinkgoHelper()
	if installed(ctx) {
		Expect(cluster.DeleteAllOf(ctx, &v1alpha1.UploadSession{}, client.InNamespace(s.name))).To(Succeed())
		Eventually(ctx, func(g Gomega) {
			var left v1alpha1.UploadSessionList
			g.Expect(cluster.List(ctx, &left, client.InNamespace(s.name))).To(Succeed())
			g.Expect(left.Items).To(BeEmpty())
		}).Should(Succeed())
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
	Expect(client.IgnoreNotFound(cluster.Delete(ctx, namespace))).To(Succeed())
	s.awaitGone(ctx)
}

// awaitGone waits until the namespace is no more.
func (s *space) awaitGone(ctx context.Context) {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
	Eventually(ctx, func(g Gomega) {
		err := cluster.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)
		g.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "the namespace has %v", namespace.Status.Conditions)
	}).WithTimeout(2 * patience).Should(Succeed())
}

// things lists what is in the namespace and may outlive an uninstallation, but for the Pods of this suite.
func (s *space) things(ctx context.Context) ([]string, error) {
	out, err := try(ctx, "--namespace", s.name, "get", "--output=name", "--ignore-not-found",
		"pods,services,statefulsets,deployments,jobs,configmaps,secrets,serviceaccounts,roles,rolebindings,"+
			"leases,poddisruptionbudgets,networkpolicies", "--selector=!"+agentLabel)
	things := strings.Fields(out)
	slices.Sort(things)
	return things, err
}
