package injection_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers"
	"github.com/slipway-dev/slipway/controllers/injection"
)

const (
	image = "slipway-dataplane:test"
	home  = "slipway-system"
	look  = 31 * time.Second // after which the operator has looked at its certificate again
	long  = time.Minute
)

// world is a cluster with the operator in it, as config/default deploys it.
type world struct {
	*WithT
	client.Client // an administrator's
	t             *testing.T
	clock         *testingclock.FakeClock
	replicas      []*replica
	warnings      warnings
}

// replica is one process of the operator.
type replica struct {
	port    int
	elected <-chan struct{}
	stop    func()
}

type warnings struct{ said []string }

// HandleWarningHeader keeps what the API server warns of.
func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.said = append(w.said, text) }

// newWorld installs the operator, whose clock shows the time, and starts none of it.
func newWorld(t *testing.T, now time.Time) *world {
	t.Helper()
	w := &world{clock: testingclock.NewFakeClock(now)}
	w.in(t)
	config := rest.CopyConfig(plane.Config)
	config.WarningHandler = &w.warnings
	w.Client = w.clientOf(config)
	for _, o := range render(t, "default") {
		switch o.GetKind() {
		case "CustomResourceDefinition", "Deployment":
			continue // the first are there, and nobody would run the other
		}
		w.Expect(w.Create(t.Context(), o)).To(Succeed(), "%s %s", o.GetKind(), o.GetName())
	}
	return w
}

// in lets what follows fail the test.
func (w *world) in(t *testing.T) {
	w.WithT, w.t = NewWithT(t), t
	w.SetDefaultEventuallyTimeout(long)
}

// run runs a part of the test.
func (w *world) run(name string, part func()) {
	whole := w.t
	defer w.in(whole)
	whole.Run(name, func(t *testing.T) {
		w.in(t)
		part()
	})
}

func (w *world) clientOf(config *rest.Config) client.Client {
	w.t.Helper()
	options, err := controllers.ManagerOptions()
	w.Expect(err).NotTo(HaveOccurred())
	c, err := client.New(config, client.Options{Scheme: options.Scheme})
	w.Expect(err).NotTo(HaveOccurred())
	return c
}

// operatorConfig lets in the operator's ServiceAccount.
func operatorConfig() *rest.Config {
	config := rest.CopyConfig(plane.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + home + ":slipway-manager"}
	return config
}

// start starts another replica of the operator.
func (w *world) start() *replica {
	w.t.Helper()
	options, err := controllers.ManagerOptions()
	w.Expect(err).NotTo(HaveOccurred())
	options.Metrics = server.Options{BindAddress: "0"}
	options.LeaderElection, options.LeaderElectionID, options.LeaderElectionNamespace = true, "slipway-operator", home
	options.LeaderElectionReleaseOnCancel = true
	options.GracefulShutdownTimeout = ptr.To(10 * time.Second)
	mgr, err := ctrl.NewManager(operatorConfig(), options)
	w.Expect(err).NotTo(HaveOccurred())
	r := &replica{port: freePort(w), elected: mgr.Elected()}
	w.Expect(controllers.SetupWebhook(mgr, w.clock, controllers.WebhookOptions{
		Host: "127.0.0.1", Port: r.port, Namespace: home, DataplaneImage: image,
	})).To(Succeed())

	running, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(running) }()
	r.stop = func() {
		stop()
		w.Eventually(stopped).Should(Receive(BeNil()))
		stopped <- nil
	}
	w.t.Cleanup(r.stop)
	w.Eventually(func() *x509.Certificate { return r.shows() }).ShouldNot(BeNil(), "a certificate")
	w.replicas = append(w.replicas, r)
	return r
}

func freePort(w *world) int {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.Expect(err).NotTo(HaveOccurred())
	address, ok := listener.Addr().(*net.TCPAddr)
	w.Expect(ok).To(BeTrue())
	w.Expect(listener.Close()).To(Succeed())
	return address.Port
}

// shows is the certificate that the replica shows, nil while it shows none.
func (r *replica) shows() *x509.Certificate {
	// Whether it is trusted is the API server's question.
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0]
}

// call lets the API server call one of the replicas, as there is no Service here
// that would choose one.
func (w *world) call(r *replica) {
	w.t.Helper()
	w.Eventually(func() error {
		c := w.configuration()
		before := c.DeepCopy()
		c.Webhooks[0].ClientConfig.Service = nil
		c.Webhooks[0].ClientConfig.URL = ptr.To(fmt.Sprintf("https://127.0.0.1:%d%s", r.port, injection.Path))
		return w.Patch(w.t.Context(), c, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	}).Should(Succeed())
	// The API server follows its configuration with a delay: until this replica refuses.
	namespace := w.namespace()
	w.Eventually(func() error {
		return w.Create(w.t.Context(), namespace.pod(func(p *corev1.Pod) { p.Annotations = nil }), client.DryRunAll)
	}).Should(MatchError(ContainSubstring("inject-store is missing")))
}

func (w *world) configuration() *admissionregistrationv1.MutatingWebhookConfiguration {
	w.t.Helper()
	var c admissionregistrationv1.MutatingWebhookConfiguration
	w.Expect(w.Get(w.t.Context(), client.ObjectKey{Name: v1alpha1.InjectionConfigurationName}, &c)).To(Succeed())
	return &c
}

// place is a namespace, with the standard that it holds Pods to.
type place struct {
	*world
	name string
}

func (w *world) namespace(name ...string) place {
	w.t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "team-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if len(name) > 0 {
		w.Expect(w.Get(w.t.Context(), client.ObjectKey{Name: name[0]}, n)).To(Succeed())
	} else {
		w.Expect(w.Create(w.t.Context(), n)).To(Succeed())
	}
	for _, account := range []string{"default", "slipway-dataplane"} {
		a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: n.Name, Name: account}}
		w.Expect(client.IgnoreAlreadyExists(w.Create(w.t.Context(), a))).To(Succeed())
	}
	return place{world: w, name: n.Name}
}

func (p place) store(name string) {
	p.t.Helper()
	p.Expect(p.Create(p.t.Context(), &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.name, Name: name},
		Spec: v1alpha1.UploadStoreSpec{
			Volume:    v1alpha1.VolumeSource{ClaimName: name},
			Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeSidecar},
		},
	})).To(Succeed())
}

// pod is a Pod that asks for the dataplane of the store "models".
func (p place) pod(changes ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.name, GenerateName: "models-",
			Labels:      map[string]string{v1alpha1.InjectLabel: "true"},
			Annotations: map[string]string{v1alpha1.InjectStoreAnnotation: "models"},
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "main", Image: "main",
				SecurityContext: &corev1.SecurityContext{
					RunAsNonRoot: ptr.To(true), AllowPrivilegeEscalation: ptr.To(false),
					Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "models"},
			}}},
		},
	}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

// sidecars are the containers of the Pod that are a dataplane.
func sidecars(pod *corev1.Pod) []corev1.Container {
	var found []corev1.Container
	for _, c := range pod.Spec.InitContainers {
		if c.Name == v1alpha1.SidecarContainerName {
			found = append(found, c)
		}
	}
	return found
}

// render returns what kustomize makes of a folder of config/.
func render(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", "config/"+folder)
	build.Dir, build.Stderr = filepath.Join("..", ".."), os.Stderr
	rendered, err := build.Output()
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
}

func convert[T any](w *world, from *unstructured.Unstructured) *T {
	w.t.Helper()
	to := new(T)
	w.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, to)).To(Succeed())
	return to
}

// said returns the warnings since it was last asked.
func (w *world) said() string {
	all := strings.Join(w.warnings.said, "\n")
	w.warnings.said = nil
	return all
}

// requests is how many times the webhook was shown a Pod, by all replicas here.
func requests(w *world) float64 {
	w.t.Helper()
	families, err := metrics.Registry.Gather()
	w.Expect(err).NotTo(HaveOccurred())
	var total float64
	for _, family := range families {
		if family.GetName() != "controller_runtime_webhook_requests_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			total += metric.GetCounter().GetValue()
		}
	}
	w.Expect(total).NotTo(BeZero())
	return total
}
