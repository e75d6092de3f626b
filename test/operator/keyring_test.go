package operator_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/keyring"
	"github.com/slipway-dev/slipway/controllers/metrics"
)

var _ = Describe("The keys and certificates of a namespace", func() {
	var (
		w    *world
		keys *keyring.Reconciler
	)
	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		keys = newKeyring(w)
		w.createStore(ctx)
	})
	step := func(ctx context.Context) ctrl.Result {
		GinkgoHelper()
		result, err := keys.Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace}})
		Expect(err).NotTo(HaveOccurred())
		return result
	}
	get := func(ctx context.Context, name string) *corev1.Secret {
		GinkgoHelper()
		var secret corev1.Secret
		Expect(user.Get(ctx, w.key(name), &secret)).To(Succeed())
		return &secret
	}

	It("are made, used, and written once", func(ctx SpecContext) {
		Expect(step(ctx).RequeueAfter).To(Equal(10 * time.Minute))
		mustServe(w, get(ctx, v1alpha1.DataplaneSecretName))
		Expect(get(ctx, v1alpha1.CASecretName).Type).To(Equal(corev1.SecretTypeTLS))

		By("doing nothing the next time, with all the rights that it has")
		step(ctx)
		Expect(writesOf(ctx, operatorUser, w.namespace)).To(Equal([]string{"create secrets", "create secrets"}))

		By("belonging to the stores, with which Kubernetes removes them")
		for _, name := range []string{v1alpha1.CASecretName, v1alpha1.DataplaneSecretName} {
			owners := get(ctx, name).OwnerReferences
			Expect(owners).To(HaveLen(1))
			Expect(owners[0].UID).To(Equal(w.getStore(ctx).UID))
		}

		By("having nothing to do without a store")
		Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
		Expect(step(ctx)).To(BeZero())
		Expect(writesOf(ctx, operatorUser, w.namespace)).To(HaveLen(2))
	})

	It("stay with a Managed store until it goes, however it is deleted", func(ctx SpecContext) {
		Expect(user.Delete(ctx, w.getStore(ctx))).To(Succeed())
		store := w.createStore(ctx, inManaged, func(s *v1alpha1.UploadStore) { s.Finalizers = []string{"example.com/held"} })
		step(ctx)
		before := get(ctx, v1alpha1.CASecretName)
		Expect(before.OwnerReferences).To(BeEmpty())
		Expect(user.Delete(ctx, store, client.PropagationPolicy(metav1.DeletePropagationForeground))).To(Succeed())
		step(ctx)
		Expect(get(ctx, v1alpha1.CASecretName).Data).To(Equal(before.Data))

		store = w.getStore(ctx)
		store.Finalizers = nil
		Expect(user.Update(ctx, store)).To(Succeed())
		step(ctx)
		for _, name := range []string{v1alpha1.CASecretName, v1alpha1.DataplaneSecretName} {
			Expect(apierrors.IsNotFound(user.Get(ctx, w.key(name), &corev1.Secret{}))).To(BeTrue(), name)
		}
	})

	DescribeTable("are repaired", func(ctx SpecContext, damage func(ctx context.Context, secret *corev1.Secret), name string) {
		step(ctx)
		before := get(ctx, name)
		damage(ctx, before.DeepCopy())
		step(ctx)
		mustServe(w, get(ctx, v1alpha1.DataplaneSecretName))
		Expect(get(ctx, name).Data).To(HaveLen(len(before.Data)))
		written := len(writesOf(ctx, operatorUser, w.namespace))
		step(ctx)
		Expect(writesOf(ctx, operatorUser, w.namespace)).To(HaveLen(written))
	},
		Entry("when the dataplane's Secret is deleted", remove, v1alpha1.DataplaneSecretName),
		Entry("when the CA's Secret is deleted", remove, v1alpha1.CASecretName),
		Entry("when a key is damaged", func(ctx context.Context, secret *corev1.Secret) {
			secret.Data[storeName+".key"] = []byte("x")
			Expect(user.Update(ctx, secret)).To(Succeed())
		}, v1alpha1.DataplaneSecretName),
	)

	It("never replace a Secret that is somebody else's", func(ctx SpecContext) {
		foreign := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v1alpha1.DataplaneSecretName},
			StringData: map[string]string{"password": "theirs"},
		}
		Expect(user.Create(ctx, foreign)).To(Succeed())
		Expect(step(ctx).RequeueAfter).To(Equal(10 * time.Minute))
		Expect(get(ctx, foreign.Name).ResourceVersion).To(Equal(foreign.ResourceVersion))
		Expect(writesOf(ctx, operatorUser, w.namespace)).To(BeEmpty())
		Expect(w.events).To(Receive(And(
			HavePrefix("Warning SecretInTheWay Secret slipway-dataplane is not Slipway's"),
			ContainSubstring("app.kubernetes.io/managed-by=slipway"))))

		By("going on once it is out of the way")
		Expect(user.Delete(ctx, foreign)).To(Succeed())
		step(ctx)
		mustServe(w, get(ctx, v1alpha1.DataplaneSecretName))
	})

	It("are not those that somebody made beforehand", func(ctx SpecContext) {
		label := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByOperator}
		w := newWorld(ctx)
		for _, name := range []string{v1alpha1.CASecretName, v1alpha1.DataplaneSecretName} {
			step(ctx) // the keys of another namespace are good ones, and known to whoever made them
			theirs := get(ctx, name)
			Expect(user.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: label}, Type: theirs.Type, Data: theirs.Data,
			})).To(Succeed())
		}
		known := get(ctx, v1alpha1.CASecretName).Data[corev1.TLSPrivateKeyKey]
		before, last := &corev1.Secret{}, &corev1.Secret{}
		Expect(user.Get(ctx, w.key(v1alpha1.CASecretName), before)).To(Succeed())
		Expect(before.Data[corev1.TLSPrivateKeyKey]).To(Equal(known))
		Expect(user.Get(ctx, w.key(v1alpha1.DataplaneSecretName), last)).To(Succeed())
		Eventually(ctx, time.Now).WithTimeout(time.Minute).
			Should(BeTemporally(">=", last.CreationTimestamp.Add(time.Second))) // the API server counts in seconds
		w.createStore(ctx)

		keys := newKeyring(w)
		request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace}}
		result, err := keys.Reconcile(ctx, request)
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).To(BeNumerically("<", time.Second))
		Expect(w.events).To(Receive(HavePrefix(
			"Warning SecretReplaced Secret slipway-dataplane has Slipway's label and was there before")))
		_, err = keys.Reconcile(ctx, request)
		Expect(err).NotTo(HaveOccurred())
		Expect(user.Get(ctx, w.key(v1alpha1.CASecretName), before)).To(Succeed())
		Expect(before.Data[corev1.TLSPrivateKeyKey]).NotTo(Equal(known))
		var dataplane corev1.Secret
		Expect(user.Get(ctx, w.key(v1alpha1.DataplaneSecretName), &dataplane)).To(Succeed())
		mustServe(w, &dataplane)
	})

	It("are what clients of a Managed store trust, whatever a Lease says", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.createStore(ctx, inManaged)
		says := func() {
			GinkgoHelper()
			w.renew(ctx, replicaName, w.clock.Now(), map[string]string{
				v1alpha1.EndpointAnnotation: "https://evil.example", v1alpha1.CapacityBytesAnnotation: "2000",
				v1alpha1.AvailableBytesAnnotation: "1000",
				v1alpha1.CABundleAnnotation:       string(get(ctx, v1alpha1.DataplaneSecretName).Data[v1alpha1.CABundleEntry]),
			})
			w.stepStore(ctx)
		}
		step(ctx) // the keys of another namespace, which are somebody else's
		says()
		Expect(w.getStore(ctx).Status.CABundle).To(BeEmpty())

		_, err := newKeyring(w).Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace}})
		Expect(err).NotTo(HaveOccurred())
		says()
		var own corev1.Secret
		Expect(user.Get(ctx, w.key(v1alpha1.DataplaneSecretName), &own)).To(Succeed())
		Expect(w.getStore(ctx).Status.CABundle).To(Equal(own.Data[v1alpha1.CABundleEntry]))
		Expect(w.getStore(ctx).Status.Endpoint).To(HavePrefix("https://models." + w.namespace + ".svc"))
	})

	It("have one author, when two leaders act on what they saw", func(ctx SpecContext) {
		const leaders = 4
		race := func() {
			GinkgoHelper()
			// All read before any writes.
			read := sync.WaitGroup{}
			read.Add(leaders)
			ended := make(chan ctrl.Result, leaders)
			for range leaders {
				leader := newKeyring(w)
				go func() {
					defer GinkgoRecover()
					leader.Client = &together{Client: operator, read: &read}
					result, err := leader.Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace}})
					Expect(err).NotTo(HaveOccurred())
					ended <- result
				}()
			}
			won := 0
			for range leaders {
				var result ctrl.Result
				Eventually(ctx, ended).Should(Receive(&result))
				if result.RequeueAfter == 10*time.Minute {
					won++
				}
			}
			Expect(won).To(Equal(1), "the others look again soon")
			mustServe(w, get(ctx, v1alpha1.DataplaneSecretName))
		}
		By("making them")
		race()
		By("changing them")
		store := w.getStore(ctx)
		store.Spec.Dataplane.Certificate.DNSNames = []string{"uploads.example.com"}
		Expect(user.Update(ctx, store)).To(Succeed())
		race()
	})

	It("end with their namespace without a complaint", func(ctx SpecContext) {
		// Nothing but the namespace's own controller, which is not here, would end it for good.
		Expect(user.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})).To(Succeed())
		Eventually(ctx, func() ctrl.Result { return step(ctx) }).Should(BeZero())
	})

	It("are all that the operator can read of Secrets", func(ctx SpecContext) {
		other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "other"}}
		Expect(user.Create(ctx, other)).To(Succeed())
		var secret corev1.Secret
		for what, err := range map[string]error{
			"get":               operator.Get(ctx, w.key(other.Name), &secret),
			"list":              operator.List(ctx, &corev1.SecretList{}, client.InNamespace(w.namespace)),
			"list by name":      operator.List(ctx, &corev1.SecretList{}, client.InNamespace(w.namespace), client.MatchingFields{"metadata.name": v1alpha1.CASecretName}),
			"update":            operator.Update(ctx, other.DeepCopy()),
			"patch":             operator.Patch(ctx, other.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{}`))),
			"delete":            operator.Delete(ctx, other.DeepCopy()),
			"delete collection": operator.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(w.namespace)),
		} {
			Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%s: %v", what, err)
		}
	})
})

func newKeyring(w *world) *keyring.Reconciler {
	recorder := events.NewFakeRecorder(100)
	w.events = recorder.Events
	return &keyring.Reconciler{Client: operator, Recorder: recorder, Clock: w.clock, Random: rand.Reader, Metrics: metrics.NewSecrets(nil)}
}

func remove(ctx context.Context, secret *corev1.Secret) {
	GinkgoHelper()
	Expect(user.Delete(ctx, secret)).To(Succeed())
}

// mustServe fails unless a dataplane with the Secret can serve a client with its bundle, and sign tickets.
func mustServe(w *world, secret *corev1.Secret) {
	GinkgoHelper()
	served, err := tls.X509KeyPair(secret.Data[storeName+".crt"], secret.Data[storeName+".key"])
	Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM(secret.Data["ca.crt"])).To(BeTrue())
	_, err = served.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: storeName + "." + w.namespace + ".svc", CurrentTime: w.clock.Now()})
	Expect(err).NotTo(HaveOccurred())
	var tickets v1alpha1.TicketKeys
	Expect(json.Unmarshal(secret.Data[storeName+".tickets"], &tickets)).To(Succeed())
	Expect(tickets.Keys).To(HaveLen(1))
	Expect(tickets.Keys[0].Key).To(HaveLen(v1alpha1.TicketKeyBytes))
	Expect(tickets.Keys[0].NotBefore.After(w.clock.Now())).To(BeFalse())
}

// together is a client whose list of stores, the last read of a reconcile, ends when all have read.
type together struct {
	client.Client
	read *sync.WaitGroup
}

// List lists, and waits for the others.
func (r *together) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	defer r.read.Wait()
	defer r.read.Done()
	return r.Client.List(ctx, list, opts...)
}
