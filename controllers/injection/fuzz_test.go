package injection_test

import (
	"encoding/json"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/slipway-dev/slipway/controllers/injection"
)

// FuzzHandle: whoever reaches the port may show the webhook anything. A patch
// that it gives can be applied, and gives a Pod that is left alone when shown again.
func FuzzHandle(f *testing.F) {
	for _, p := range []*corev1.Pod{
		pod(),
		pod(func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "a"}} }),
		pod(func(p *corev1.Pod) { p.Spec.SecurityContext = nil }),
		pod(func(p *corev1.Pod) { p.Labels = nil }),
	} {
		raw, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"spec": null}`))
	f.Add([]byte(`{"metadata": {"labels": {"uploads.slipway.dev/inject": "true"}, "annotations": {"uploads.slipway.dev/inject-store": "models"}},
		"spec": {"initContainers": null, "securityContext": null, "volumes": [{"persistentVolumeClaim": {"claimName": "models"}}]}}`))
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		f.Fatal(err)
	}
	h := injection.Handler{Reader: &reading{store: store()}, Decoder: admission.NewDecoder(scheme), Options: options}
	handle := func(t *testing.T, raw []byte) admission.Response {
		return h.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Namespace: namespace, Object: runtime.RawExtension{Raw: raw},
		}})
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		// The API server writes each field once.
		var object map[string]any
		if json.Unmarshal(raw, &object) != nil {
			return
		}
		raw, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		got := handle(t, raw)
		if len(got.Patch) == 0 {
			return
		}
		if !got.Allowed {
			t.Fatalf("refused and changed: %+v", got)
		}
		var steps []injection.Operation
		if err := json.Unmarshal(got.Patch, &steps); err != nil {
			t.Fatal(err)
		}
		if again := handle(t, apply(t, raw, steps)); len(again.Patch) > 0 || !again.Allowed {
			t.Fatalf("shown again: %+v", again)
		}
	})
}
