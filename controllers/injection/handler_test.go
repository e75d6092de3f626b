package injection_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/injection"
)

// reading answers every read of a store.
type reading struct {
	client.Reader
	store *v1alpha1.UploadStore
	err   error
	reads int
}

// Get returns the store, or the error.
func (r *reading) Get(_ context.Context, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	r.reads++
	if s, ok := obj.(*v1alpha1.UploadStore); ok && r.store != nil {
		r.store.DeepCopyInto(s)
	}
	return r.err
}

func TestHandler(t *testing.T) {
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: "uploadstores"}, "models")
	for _, test := range []struct {
		name    string
		raw     any
		reading reading
		code    int32
		says    string
		patched bool
		warns   bool
		reads   int
	}{
		{name: "a Pod and its store", raw: pod(), reading: reading{store: store()}, code: 200, patched: true, reads: 1},
		{name: "a Pod before its store", raw: pod(), reading: reading{err: missing}, code: 200, patched: true, warns: true, reads: 1},
		{name: "a Pod that asks for nothing", raw: pod(func(p *corev1.Pod) { p.Labels = nil }), code: 200},
		{
			name: "a Pod that has it", code: 200,
			raw: pod(func(p *corev1.Pod) { p.Spec.Containers[0].Name = v1alpha1.SidecarContainerName }),
		},
		{name: "a Pod that names no store", raw: pod(func(p *corev1.Pod) { p.Annotations = nil }), code: 403, says: "slipway: annotation"},
		{
			name: "a store that can't be read is not taken for none", raw: pod(), reading: reading{err: errors.New("secret address 10.0.0.1")},
			code: 500, says: "try again", reads: 1,
		},
		{name: "what is no Pod", raw: []string{"a"}, code: 400, says: "read the Pod"},
	} {
		t.Run(test.name, func(t *testing.T) {
			raw, err := json.Marshal(test.raw)
			if err != nil {
				t.Fatal(err)
			}
			scheme := runtime.NewScheme()
			if err := clientgoscheme.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			h := injection.Handler{Reader: &test.reading, Decoder: admission.NewDecoder(scheme), Options: options}
			got := h.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Namespace: namespace, Object: runtime.RawExtension{Raw: raw},
			}})
			if got.Result.Code != test.code || got.Allowed != (test.code == http.StatusOK) || !strings.Contains(got.Result.Message, test.says) {
				t.Errorf("replied %d %v %q, want %d with %q", got.Result.Code, got.Allowed, got.Result.Message, test.code, test.says)
			}
			if strings.Contains(got.Result.Message, "10.0.0.1") {
				t.Errorf("whoever makes Pods is told %q", got.Result.Message)
			}
			if (len(got.Patch) > 0) != test.patched || (len(got.Warnings) > 0) != test.warns || test.reading.reads != test.reads {
				t.Errorf("patch %s, warnings %q, %d reads", got.Patch, got.Warnings, test.reading.reads)
			}
		})
	}
}
