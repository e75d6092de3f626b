package deletion_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers"
	"github.com/slipway-dev/slipway/controllers/managed"
	"github.com/slipway-dev/slipway/test/controlplane"
	"github.com/slipway-dev/slipway/test/uploader"
)

const (
	storeName   = "models"
	replicaName = "models-0"
	sessionName = "llama"
	chunkBytes  = 64 << 10

	// long is more than anything takes on a machine that is busy.
	long = 3 * time.Minute
)

// withoutFinalizers lets an object go.
var withoutFinalizers = client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))

// world is a namespace with a Managed store, its operator and its kubelet.
type world struct {
	*WithT
	client.Client // an administrator's
	t             *testing.T
	namespace     string
	clock         *clock
	kubelet       *kubelet
	stop          func() // the operator
	before        map[string]types.UID
}

// clock is that of the machine, and may be ahead of it.
type clock struct{ ahead atomic.Int64 }

// Now tells the time.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Since is how long ago a time was.
func (c *clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), t: t, clock: &clock{}}
	w.SetDefaultEventuallyTimeout(long)
	w.SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	options, err := controllers.ManagerOptions()
	w.Expect(err).NotTo(HaveOccurred())
	w.Client, err = client.New(plane.Config, client.Options{Scheme: options.Scheme})
	w.Expect(err).NotTo(HaveOccurred())
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "deletion-"}}
	w.Expect(w.Create(t.Context(), namespace)).To(Succeed())
	w.namespace = namespace.Name
	w.createClaim()
	w.createUploader()
	w.before = w.objects()
	w.startOperator()
	return w
}

// startOperator runs the operator for the namespace, as a new leader.
func (w *world) startOperator() {
	w.t.Helper()
	options, err := controllers.ManagerOptions()
	w.Expect(err).NotTo(HaveOccurred())
	options.Cache.DefaultNamespaces = map[string]cache.Config{w.namespace: {}}
	options.Metrics = server.Options{BindAddress: "0"}
	options.Controller.SkipNameValidation = ptr.To(true) // each test has a manager of its own
	mgr, err := ctrl.NewManager(operatorConfig, options)
	w.Expect(err).NotTo(HaveOccurred())
	dataplane := managed.Options{Image: "slipway-dataplane:test", Role: managed.DefaultRole}
	err = controllers.SetupWithManager(w.t.Context(), mgr, w.clock, w.namespace, dataplane, prometheus.NewRegistry())
	w.Expect(err).NotTo(HaveOccurred())
	running, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(running) }()
	var once atomic.Bool
	w.stop = func() {
		cancel()
		if once.CompareAndSwap(false, true) {
			w.Expect(<-stopped).To(Succeed())
		}
	}
	w.t.Cleanup(w.stop)
}

// meta is the metadata of an object of the namespace.
func (w *world) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: w.namespace, Name: name}
}

func (w *world) createClaim() {
	w.t.Helper()
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: w.meta(storeName), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceStorage: resource.MustParse("1Gi"),
		}},
	}}
	w.Expect(w.Create(w.t.Context(), claim)).To(Succeed())
	// Its protection ends by a controller that is not here.
	w.Expect(w.Patch(w.t.Context(), claim, withoutFinalizers)).To(Succeed())
	claim.Status.Phase = corev1.ClaimBound
	w.Expect(w.Status().Update(w.t.Context(), claim)).To(Succeed())
}

// createUploader makes a ServiceAccount that may upload.
func (w *world) createUploader() {
	w.t.Helper()
	w.Expect(w.Create(w.t.Context(), &corev1.ServiceAccount{ObjectMeta: w.meta("uploader")})).To(Succeed())
	w.Expect(w.Create(w.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: w.meta("uploader"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "slipway-uploader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.namespace, Name: "uploader"}},
	})).To(Succeed())
}

// haveStore makes the store, and waits until it is ready and all is as the spec asks.
func (w *world) haveStore() *v1alpha1.UploadStore {
	w.t.Helper()
	store := &v1alpha1.UploadStore{ObjectMeta: w.meta(storeName), Spec: v1alpha1.UploadStoreSpec{
		Volume:    v1alpha1.VolumeSource{ClaimName: storeName},
		Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeManaged},
		Limits:    v1alpha1.StoreLimits{MinFreeBytes: ptr.To[int64](0)},
	}}
	w.Expect(w.Create(w.t.Context(), store)).To(Succeed())
	w.kubelet = startKubelet(w)
	w.Eventually(func() string {
		w.Expect(w.Get(w.t.Context(), client.ObjectKeyFromObject(store), store)).To(Succeed())
		return condition(store.Status.Conditions, v1alpha1.ConditionReady)
	}).Should(Equal("True DataplaneReady"), w.kubelet.tell)
	return store
}

// haveUpload makes a session of two chunks, of which the first is sent.
func (w *world) haveUpload(store *v1alpha1.UploadStore) *uploader.Uploader {
	w.t.Helper()
	s := &v1alpha1.UploadSession{ObjectMeta: w.meta(sessionName), Spec: v1alpha1.UploadSessionSpec{
		StoreRef: v1alpha1.StoreReference{Name: storeName}, Key: "llama/model.gguf",
		SizeBytes: ptr.To[int64](2 * chunkBytes), ChunkSizeBytes: chunkBytes,
	}}
	w.Expect(w.Create(w.t.Context(), s)).To(Succeed())
	w.becomes(v1alpha1.ConditionAcceptingChunks, "True Uploading")
	u := &uploader.Uploader{
		Caller: w.caller(store),
		Base: fmt.Sprintf("%s/v1/namespaces/%s/uploadsessions/%s",
			managed.ReplicaEndpoint(store, replicaName), w.namespace, sessionName),
		Content: bytes.NewReader(make([]byte, 2*chunkBytes)),
		Again: func(ctx context.Context, err error) error {
			select { // rights may be a moment behind
			case <-time.After(100 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return err
			}
		},
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), long)
	defer cancel()
	w.Expect(u.PutBytes(ctx, 0, make([]byte, chunkBytes))).To(Succeed(), w.kubelet.tell)
	return u
}

// caller calls the dataplane as any client does, whatever its name resolves to here.
func (w *world) caller(store *v1alpha1.UploadStore) uploader.Caller {
	w.t.Helper()
	request := &authenticationv1.TokenRequest{}
	request.Spec.Audiences = []string{v1alpha1.TokenAudience(w.namespace, storeName)}
	account := &corev1.ServiceAccount{ObjectMeta: w.meta("uploader")}
	w.Expect(w.SubResource("token").Create(w.t.Context(), account, request)).To(Succeed())
	trusted := x509.NewCertPool()
	w.Expect(trusted.AppendCertsFromPEM(store.Status.CABundle)).To(BeTrue())
	here := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, w.kubelet.address)
	}
	transport := &http.Transport{DialContext: here, TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS13}}
	w.t.Cleanup(transport.CloseIdleConnections)
	return uploader.Caller{HTTP: &http.Client{Transport: transport}, Token: request.Status.Token}
}

// becomes waits until a condition of the session is so.
func (w *world) becomes(conditionType, want string) {
	w.t.Helper()
	w.Eventually(func() string {
		var s v1alpha1.UploadSession
		w.Expect(w.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: sessionName}, &s)).To(Succeed())
		return condition(s.Status.Conditions, conditionType)
	}).Should(Equal(want), w.kubelet.tell)
}

// isGone reports whether an object is not there any more.
func (w *world) isGone(o client.Object) bool {
	err := w.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
	return apierrors.IsNotFound(err)
}

// objects are all that there is in the namespace, and outside of it for its store, by kind and name. What tells of
// others, and the Lease that the kubelet of a node has, is not among them.
func (w *world) objects() map[string]types.UID {
	w.t.Helper()
	found := map[string]types.UID{}
	kinds, err := discovery.NewDiscoveryClientForConfigOrDie(plane.Config).ServerPreferredNamespacedResources()
	w.Expect(err).NotTo(HaveOccurred())
	config := rest.CopyConfig(plane.Config)
	config.WarningHandler = rest.NoWarnings{} // some kinds are deprecated
	reader := metadata.NewForConfigOrDie(config)
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "delete"}}, kinds) {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		w.Expect(err).NotTo(HaveOccurred())
		for _, kind := range list.APIResources {
			if kind.Name == "events" {
				continue
			}
			ofKind := reader.Resource(version.WithResource(kind.Name)).Namespace(w.namespace)
			all, err := ofKind.List(w.t.Context(), metav1.ListOptions{})
			w.Expect(err).NotTo(HaveOccurred())
			for i := range all.Items {
				found[kind.Kind+" "+all.Items[i].Name] = all.Items[i].UID
			}
		}
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{
		Name: managed.ClusterRoleBindingName(types.NamespacedName{Namespace: w.namespace, Name: storeName}),
	}}
	if !w.isGone(binding) {
		found["ClusterRoleBinding "+binding.Name] = binding.UID
	}
	return found
}

// writes are what a user has written in the namespace so far.
func (w *world) writes(user string) []string {
	w.t.Helper()
	list, err := plane.Writes(w.t.Context(), controlplane.Filter{User: user, Namespace: w.namespace})
	w.Expect(err).NotTo(HaveOccurred())
	var told []string
	for _, write := range list {
		at := write.Time.Format("05.000")
		told = append(told, fmt.Sprintf("%s %s %s %s %s", at, write.Verb, write.Resource, write.Subresource, write.Name))
	}
	return told
}

func condition(conditions []metav1.Condition, conditionType string) string {
	c := meta.FindStatusCondition(conditions, conditionType)
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s", c.Status, c.Reason)
}
