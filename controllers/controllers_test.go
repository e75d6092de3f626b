package controllers_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers"
)

// TestTheCacheKeepsNoManagedFields: they would double what ten thousand sessions take.
func TestTheCacheKeepsNoManagedFields(t *testing.T) {
	options, err := controllers.ManagerOptions()
	if err != nil {
		t.Fatal(err)
	}
	if options.Cache.DefaultTransform == nil {
		t.Fatal("nothing is transformed")
	}
	kept, err := options.Cache.DefaultTransform(&v1alpha1.UploadSession{ObjectMeta: metav1.ObjectMeta{
		Name: "a", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}})
	s, ok := kept.(*v1alpha1.UploadSession)
	if err != nil || !ok || s.Name != "a" || s.ManagedFields != nil {
		t.Errorf("kept %+v, %v", kept, err)
	}
	for object, by := range options.Cache.ByObject {
		if by.Transform == nil {
			continue // as all others
		}
		object.SetName("a")
		object.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
		kept, err := by.Transform(object)
		if o, ok := kept.(client.Object); err != nil || !ok || o.GetName() != "a" || o.GetManagedFields() != nil {
			t.Errorf("of %T: kept %+v, %v", object, kept, err)
		}
	}
}
