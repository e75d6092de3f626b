package managed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/made"
)

// stamp writes the digest of an object into its annotations. By it a field
// that is no longer asked for is noticed, which comparing what is asked for with
// what is there does not show.
func stamp(o client.Object) {
	encoded, err := json.Marshal(content(o)) // with sorted keys
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", o, err))
	}
	sum := sha256.Sum256(encoded)
	o.SetAnnotations(map[string]string{v1alpha1.AppliedAnnotation: hex.EncodeToString(sum[:16])})
}

// Same reports whether an object is as it should be, in all that is asked for.
// Fields that others have added are theirs.
func Same(desired, observed client.Object) bool {
	want, have := content(desired), content(observed)
	for _, other := range []string{"apiVersion", "kind", "metadata", "status"} {
		delete(want, other)
	}
	return holds(have, want) && holdsAll(observed.GetLabels(), desired.GetLabels()) && holdsAll(observed.GetAnnotations(), desired.GetAnnotations())
}

// Outcome tells apart what came of asking for an object: what was asked for, and what there is of it, but for its status.
// Where Same does not hold because others change what is written, such as a mutating webhook, asking for it again helps
// only when the outcome is another than that of the last time.
func Outcome(desired, observed client.Object) string {
	have := content(observed)
	for _, other := range []string{"apiVersion", "kind", "metadata", "status"} {
		delete(have, other)
	}
	encoded, err := json.Marshal([]any{
		desired.GetAnnotations()[v1alpha1.AppliedAnnotation], observed.GetUID(), have,
		among(observed.GetLabels(), desired.GetLabels()), among(observed.GetAnnotations(), desired.GetAnnotations()),
	})
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", observed, err))
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:16])
}

// among is what a map has under the keys of another.
func among(have, keys map[string]string) map[string]string {
	some := map[string]string{}
	for k := range keys {
		if v, ok := have[k]; ok {
			some[k] = v
		}
	}
	return some
}

// holds reports whether a value has all that is wanted of it. Lists are wanted as they are: one
// more argument, or one more rule of who is let in, is not what was asked for.
func holds(have, want any) bool {
	switch w := want.(type) {
	case nil:
		return true
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return len(w) == 0
		}
		for k := range w {
			if !holds(h[k], w[k]) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		return ok && slices.EqualFunc(h, w, holds)
	default:
		return have == want
	}
}

func holdsAll(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// Owns reports whether an object is the store's own, and not one that only has
// its name. Its labels say so. What something else controls is that one's: an earlier operator had the store control it,
// and one that was left by an earlier store of the same name is on its way out. A ServiceAccount that is older than the
// store is none of it, whatever its labels: somebody may have tokens of it, from when nothing kept them from that.
func Owns(store *v1alpha1.UploadStore, observed client.Object) bool {
	labels := observed.GetLabels()
	if labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByOperator || labels[v1alpha1.StoreLabel] != store.Name {
		return false
	}
	if _, ok := observed.(*corev1.ServiceAccount); ok && !made.For(observed, *store) {
		return false
	}
	return metav1.GetControllerOf(observed) == nil || metav1.IsControlledBy(observed, store)
}

// Configuration returns an object for server-side apply, with nothing but what is asked for.
func Configuration(o client.Object) *unstructured.Unstructured {
	asked := content(o)
	delete(asked, "status") // another subresource's
	return &unstructured.Unstructured{Object: asked}
}

// content is an object as JSON has it. Only a value that is no JSON fails, and
// there is none in Kubernetes' own types.
func content(o client.Object) map[string]any {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		panic(fmt.Sprintf("convert %T: %v", o, err))
	}
	return m
}
