package controllers_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers"
)

// TestTheCacheKeepsNoManagedFields, nor annotations of others: both are as large as their users make them.
func TestTheCacheKeepsNoManagedFields(t *testing.T) {
	options, err := controllers.ManagerOptions()
	if err != nil {
		t.Fatal(err)
	}
	if options.Cache.DefaultTransform == nil {
		t.Fatal("nothing is transformed")
	}
	kept, err := options.Cache.DefaultTransform(&v1alpha1.UploadStore{ObjectMeta: metav1.ObjectMeta{
		Name: "a", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}", v1alpha1.EndpointAnnotation: "e"},
	}})
	s, ok := kept.(*v1alpha1.UploadStore)
	if err != nil || !ok || s.Name != "a" || s.ManagedFields != nil || len(s.Annotations) != 1 {
		t.Errorf("kept %+v, %v", kept, err)
	}
	for object, by := range options.Cache.ByObject {
		if by.Transform == nil {
			continue // as all others
		}
		object.SetName("a")
		object.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
		object.SetAnnotations(map[string]string{"large": "x"})
		kept, err := by.Transform(object)
		if o, ok := kept.(client.Object); err != nil || !ok || o.GetName() != "a" || o.GetManagedFields() != nil || len(o.GetAnnotations()) != 0 {
			t.Errorf("of %T: kept %+v, %v", object, kept, err)
		}
	}
}
