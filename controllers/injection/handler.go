package injection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Path is where the webhook is served.
const Path = "/inject-sidecar"

// Handler is the webhook that is shown each labeled Pod before it is created.
type Handler struct {
	// Reader reads stores. It has no cache: a store may have been applied a moment before its Pod.
	Reader client.Reader
	// Decoder knows Pods.
	Decoder admission.Decoder
	// Options are what every sidecar is given.
	Options Options
}

// Handle adds the sidecar, lets through what needs none, or denies with the reason.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	var pod corev1.Pod
	if err := h.Decoder.Decode(req, &pod); err != nil {
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("read the Pod: %w", err))
	}
	r := Request{Pod: &pod, Namespace: req.Namespace}
	if Wants(&pod) && storeIsNamed(r) == "" {
		var store v1alpha1.UploadStore
		err := h.Reader.Get(ctx, client.ObjectKey{Namespace: req.Namespace, Name: storeOf(&pod)}, &store)
		switch {
		case err == nil:
			r.Store = &store
		case !apierrors.IsNotFound(err):
			log.FromContext(ctx).Error(err, "the store of a Pod can't be read", "namespace", req.Namespace, "store", storeOf(&pod))
			return admission.Errored(http.StatusInternalServerError,
				errors.New("the UploadStore of the Pod can't be read now, so it is not known whether the Pod may have its sidecar: try again (the operator's log says more)"))
		}
	}
	result := Inject(r, h.Options)
	if result.Refusal != "" {
		return admission.Denied("slipway: " + result.Refusal)
	}
	if len(result.Patch) == 0 {
		return admission.Allowed("")
	}
	patch, err := json.Marshal(result.Patch)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, fmt.Errorf("write the patch: %w", err))
	}
	response := admission.Allowed("").WithWarnings(result.Warnings...)
	response.Patch, response.PatchType = patch, ptr.To(admissionv1.PatchTypeJSONPatch)
	return response
}
