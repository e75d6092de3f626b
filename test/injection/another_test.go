package injection_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// another is somebody else's webhook, which puts a container of its own before
// all others once ours has had its turn, so that ours is shown the Pod again.
type another struct {
	configuration *admissionregistrationv1.MutatingWebhookConfiguration
	called        atomic.Int64
}

func (a *another) calls() int64 { return a.called.Load() }

// Handle inserts the container.
func (a *another) Handle(context.Context, admission.Request) admission.Response {
	a.called.Add(1)
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{
		Allowed: true, PatchType: ptr.To(admissionv1.PatchTypeJSONPatch),
		Patch: []byte(`[{"op": "add", "path": "/spec/initContainers/0", "value": {"name": "another", "image": "another", "securityContext": {
			"runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}}}]`),
	}}
}

func startAnother(w *world) *another {
	w.t.Helper()
	a := &another{}
	handler, err := admission.StandaloneWebhook(&admission.Webhook{Handler: a}, admission.StandaloneOptions{})
	w.Expect(err).NotTo(HaveOccurred())
	server := httptest.NewTLSServer(http.HandlerFunc(handler.ServeHTTP))
	w.t.Cleanup(server.Close)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	a.configuration = &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "zz-another"}, // they are called in the order of their names
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:                    "another.example.com",
			ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: ptr.To(server.URL), CABundle: bundle},
			AdmissionReviewVersions: []string{"v1"},
			SideEffects:             ptr.To(admissionregistrationv1.SideEffectClassNone),
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	w.Expect(w.Create(w.t.Context(), a.configuration)).To(Succeed())
	// The API server follows its configuration with a delay.
	namespace := w.namespace()
	w.Eventually(func() int64 {
		w.Expect(w.Create(w.t.Context(), namespace.pod(func(p *corev1.Pod) {
			p.Labels = nil
			p.Spec.InitContainers = []corev1.Container{*p.Spec.Containers[0].DeepCopy()}
			p.Spec.InitContainers[0].Name = "first"
		}), client.DryRunAll)).To(Succeed())
		return a.calls()
	}).ShouldNot(BeZero())
	return a
}
