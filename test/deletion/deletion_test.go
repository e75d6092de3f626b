package deletion_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// fewWrites is what an operator may write at most, from a store's deletion to the end of its last session.
const fewWrites = 10

var cascades = []metav1.DeletionPropagation{
	metav1.DeletePropagationForeground, metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan,
}

func TestAnUploadGoesOnWhileItsStoreIsDeleted(t *testing.T) {
	for _, cascade := range cascades {
		t.Run(string(cascade), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			store := w.haveStore()
			upload := w.haveUpload(store)
			before, written := w.objects(), len(w.writes(operatorUser))

			w.deleteAndCollect(store, cascade)
			w.Expect(w.objects()).To(Equal(before), "nothing goes, and nothing is made anew")
			w.Expect(w.kubelet.started()).To(Equal(1))
			w.Expect(len(w.writes(operatorUser))-written).To(BeNumerically("<=", fewWrites), "%q", w.writes(operatorUser))

			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			sent, err := upload.Send(ctx)
			w.Expect(err).NotTo(HaveOccurred())
			w.Expect(sent).To(Equal(1), "the chunk of before is still there")
			w.becomes(v1alpha1.ConditionSucceeded, "True Published")
			w.Eventually(w.isGone).WithArguments(store).Should(BeTrue())
			w.Expect(w.Delete(t.Context(), &v1alpha1.UploadSession{ObjectMeta: w.meta(sessionName)})).To(Succeed())
			w.leavesNothing()
		})
	}
}

func TestAStoreGoesWhereNothingIsUploaded(t *testing.T) {
	for _, cascade := range cascades {
		t.Run(string(cascade), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			store := w.haveStore()
			written := len(w.writes(operatorUser))
			w.Expect(w.Delete(t.Context(), store, client.PropagationPolicy(cascade))).To(Succeed())
			w.leavesNothing()
			// What it consists of is deleted once each.
			most := 3 * fewWrites
			w.Expect(len(w.writes(operatorUser))-written).To(BeNumerically("<=", most), "%q", w.writes(operatorUser))
		})
	}
}

func TestANamespaceGoesWithItsStore(t *testing.T) {
	for name, uploads := range map[string]bool{"in the middle of an upload": true, "where nothing is uploaded": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			store := w.haveStore()
			if uploads {
				w.haveUpload(store)
			}
			written := len(w.writes(operatorUser))
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
			w.Expect(w.Delete(t.Context(), namespace)).To(Succeed())
			w.Eventually(w.isGone).WithArguments(&corev1.Pod{ObjectMeta: w.meta(replicaName)}).Should(BeTrue(), w.kubelet.tell)

			// Whether its dataplane ended the session before it went itself is chance. Without that it is let go later.
			w.stop()
			w.clock.ahead.Store(int64(10 * time.Minute))
			w.startOperator()
			w.Eventually(w.isGone).WithArguments(namespace).WithPolling(200*time.Millisecond).Should(BeTrue(), func() string {
				return fmt.Sprintf("%v\n%+v\nthe operator: %q", w.objects(), namespace.Status, w.writes(operatorUser))
			})
			w.Expect(w.objects()).To(BeEmpty(), "inside of it and outside")
			w.Expect(len(w.writes(operatorUser))-written).To(BeNumerically("<=", 2*fewWrites), "%q", w.writes(operatorUser))
		})
	}
}

// deleteAndCollect deletes the store, and waits until the collector has done what that makes it do, several times.
func (w *world) deleteAndCollect(store *v1alpha1.UploadStore, cascade metav1.DeletionPropagation) {
	w.t.Helper()
	dependent := w.createDependent(store, blocking, holding)
	w.Expect(w.Delete(w.t.Context(), store, client.PropagationPolicy(cascade))).To(Succeed())
	switch cascade {
	case metav1.DeletePropagationForeground:
		// While one of them does not go, the collector looks for more each time that another goes.
		for range 3 {
			next := w.createDependent(store, blocking)
			w.Expect(w.Delete(w.t.Context(), w.createDependent(store, blocking))).To(Succeed())
			w.Eventually(w.isGone).WithArguments(next).Should(BeTrue(), kubernetesOwn.Log)
		}
		w.letGo(dependent)
		w.Eventually(w.isGone).WithArguments(dependent).Should(BeTrue(), kubernetesOwn.Log)
	case metav1.DeletePropagationOrphan:
		w.Eventually(func() []metav1.OwnerReference {
			w.Expect(w.Get(w.t.Context(), client.ObjectKeyFromObject(dependent), dependent)).To(Succeed())
			return dependent.OwnerReferences
		}).Should(BeEmpty(), kubernetesOwn.Log)
		fallthrough
	default: // the collector waits for the store to be gone
		w.letGo(dependent)
		w.Expect(client.IgnoreNotFound(w.Delete(w.t.Context(), dependent))).To(Succeed())
	}
	w.Eventually(func() string {
		w.Expect(w.Get(w.t.Context(), client.ObjectKeyFromObject(store), store)).To(Succeed())
		return condition(store.Status.Conditions, v1alpha1.ConditionReady)
	}).Should(Equal("False StoreDeleting"))
}

// blocking has the owner wait for the object, where it is deleted in the foreground.
func blocking(o *corev1.ConfigMap) { o.OwnerReferences[0].BlockOwnerDeletion = ptr.To(true) }

// holding keeps the object too.
func holding(o *corev1.ConfigMap) { o.Finalizers = []string{"example.com/held"} }

// letGo takes back what holding did.
func (w *world) letGo(o *corev1.ConfigMap) {
	w.t.Helper()
	w.Expect(w.Patch(w.t.Context(), o, withoutFinalizers)).To(Succeed())
}

// createDependent makes an object that the store owns.
func (w *world) createDependent(store *v1alpha1.UploadStore, changes ...func(*corev1.ConfigMap)) *corev1.ConfigMap {
	w.t.Helper()
	dependent := &corev1.ConfigMap{ObjectMeta: w.meta("")}
	dependent.GenerateName = "dependent-"
	dependent.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "UploadStore", Name: store.Name, UID: store.UID,
	}}
	for _, change := range changes {
		change(dependent)
	}
	w.Expect(w.Create(w.t.Context(), dependent)).To(Succeed())
	return dependent
}

// leavesNothing waits until all is as it was before the store came.
func (w *world) leavesNothing() {
	w.t.Helper()
	w.Eventually(w.objects).WithPolling(200*time.Millisecond).Should(Equal(w.before), func() string {
		return fmt.Sprintf("%s\nthe operator: %q\nKubernetes: %q",
			w.kubelet.tell(), w.writes(operatorUser), w.writes(controlplane.ControllersUser))
	})
}
