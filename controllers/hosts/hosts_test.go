package hosts

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func TestHas(t *testing.T) {
	store := &v1alpha1.UploadStore{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: "models"}}
	store.Spec.Dataplane.Certificate.DNSNames = []string{"*.example.com"}
	store.Spec.Dataplane.Certificate.IPAddresses = []string{"10.0.0.7"}
	for host, want := range map[string]bool{
		"models": true, "models.ml.svc": true, "models-0.models.ml.svc.cluster.local": true, "127.0.0.1": true, "::1": true,
		"a.example.com": true, "10.0.0.7": true,
		"": false, "other": false, "models.other.svc": false, "a.b.example.com": false, "10.0.0.8": false,
		"models.ml.svc.evil.example": false, "models-0.models-replicas.ml.svc": false,
	} {
		if got := Has(store, host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
	store.Spec.Dataplane.Mode = v1alpha1.DataplaneModeManaged
	if !Has(store, "models-0.models-replicas.ml.svc") {
		t.Error("a replica of a Managed store is under no name of it")
	}
}
