package e2e_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// patience is how long anything may take that is not about time itself: much
// longer than it takes on a slow machine, as no spec waits for it in vain.
const patience = 3 * time.Minute

// specTimeout bounds one spec, without its cleanup.
const specTimeout = 10 * time.Minute

// cluster is the administrator's client.
var cluster client.Client

// ours is whether this process installed Slipway: nobody else's is uninstalled.
var ours bool

func TestEndToEnd(t *testing.T) {
	if settings.agentImage == "" {
		t.Skip("runs on a cluster: make test-e2e")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(patience)
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Slipway end to end")
}

var _ = SynchronizedBeforeSuite(func(ctx SpecContext) {
	connect()
	install(ctx)
}, func(SpecContext) {
	connect()
}, NodeTimeout(specTimeout))

// What a failed or filtered run leaves; where the spec of the uninstallation ran it finds nothing.
var _ = SynchronizedAfterSuite(func() {}, func(ctx SpecContext) {
	uninstall(ctx)
}, NodeTimeout(specTimeout))

func connect() {
	GinkgoHelper()
	ctrl.SetLogger(GinkgoLogr)
	rest, err := config.GetConfig()
	Expect(err).NotTo(HaveOccurred(), "KUBECONFIG names no cluster")
	// What waits looks often, and the API server has its own limits.
	rest.QPS = -1
	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	cluster, err = client.New(rest, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
}

// get reads an object anew.
func get[T client.Object](ctx context.Context, object T) T {
	GinkgoHelper()
	Expect(cluster.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	return object
}
