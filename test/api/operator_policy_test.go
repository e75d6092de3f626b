package api_test

import (
	"errors"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/managed"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// The operator, even with all rights that there are, writes only what is its own and a store's.
func TestOperatorPolicy(t *testing.T) {
	own, err := controlplane.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
	})
	admin := newWorldOf(t, own.Config)
	const manager = "system:serviceaccount:slipway-system:slipway-manager"
	if err := admin.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "manager"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: manager}},
	}); err != nil {
		t.Fatal(err)
	}
	operator := userOf(admin, own, manager)

	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: admin.namespace, Name: "theirs"}}
	if err := admin.Create(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	applyPolicy(admin, "operator.yaml")
	holds(t, func() bool { return operator.Update(t.Context(), theirs.DeepCopy(), client.DryRunAll) != nil })

	made := admin.make("UploadStore", store)
	if err := admin.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	var st v1alpha1.UploadStore
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, &st); err != nil {
		t.Fatal(err)
	}
	secret := func(name string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: admin.namespace, Name: name, Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByOperator},
		}}
	}
	t.Run("what is its own it writes and deletes", func(t *testing.T) {
		ca := secret(v1alpha1.CASecretName)
		ca.Type, ca.Data = corev1.SecretTypeTLS, map[string][]byte{corev1.TLSCertKey: nil, corev1.TLSPrivateKeyKey: nil}
		objects := append(managed.Objects(&st, 1, managed.Options{Image: "dataplane", Role: managed.DefaultRole}),
			ca, secret(v1alpha1.DataplaneSecretName))
		for _, o := range objects {
			o, ok := o.DeepCopyObject().(client.Object)
			if !ok {
				t.Fatalf("%T is no object", o)
			}
			for _, step := range []struct {
				what string
				do   func() error
			}{
				{"create", func() error { return operator.Create(t.Context(), o) }},
				{"update", func() error { return operator.Update(t.Context(), o) }},
				{"delete", func() error { return operator.Delete(t.Context(), o) }},
			} {
				if err := step.do(); err != nil {
					t.Errorf("%s %T %s: %v", step.what, o, o.GetName(), err)
				}
			}
		}
		lease := newLease(admin.namespace, v1alpha1.LeaseNamePrefix+st.Name+"-0", st.Name)
		if err := errors.Join(admin.Create(t.Context(), lease), operator.Delete(t.Context(), lease)); err != nil {
			t.Error(err)
		}
	})

	for _, lease := range []*coordinationv1.Lease{
		newLease(admin.namespace, "leader", ""), newLease(admin.namespace, "leader", st.Name), newLease(admin.namespace, v1alpha1.LeaseNamePrefix+"leader", ""),
	} {
		if err := admin.Create(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, operator.Delete(t.Context(), lease), "only the Leases of a store's replicas")
		if err := admin.Delete(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
	}

	mustRefuse(t, operator.Delete(t.Context(), theirs), "managed-by: slipway")
	mustRefuse(t, operator.Create(t.Context(), secret("other")), "only the Secrets slipway-ca")
	token := secret(v1alpha1.CASecretName)
	token.Type = corev1.SecretTypeServiceAccountToken
	token.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
	mustRefuse(t, operator.Create(t.Context(), token), "of type Opaque")

	binding := managed.ClusterRoleBinding(&st)
	binding.Name = "mine"
	mustRefuse(t, operator.Create(t.Context(), binding), "slipway:NAMESPACE:STORE")
	binding = managed.ClusterRoleBinding(&st)
	binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "kube-system", Name: "default"})
	mustRefuse(t, operator.Create(t.Context(), binding), "slipway:NAMESPACE:STORE")

	set := managed.StatefulSet(&st, 1, managed.Options{Image: "dataplane"})
	set.Spec.Template.Spec.ServiceAccountName = "default"
	mustRefuse(t, operator.Create(t.Context(), set), "only under the ServiceAccount of their store")
	set = managed.StatefulSet(&st, 1, managed.Options{Image: "dataplane"})
	set.Labels[v1alpha1.StoreLabel] = "another"
	mustRefuse(t, operator.Create(t.Context(), set), "the name for that store")
	set = managed.StatefulSet(&st, 1, managed.Options{Image: "dataplane"})
	set.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "a", UID: "b", Controller: ptr.To(true)}}
	mustRefuse(t, operator.Create(t.Context(), set), "another object controls")
	for _, o := range managed.Objects(&st, 1, managed.Options{Role: managed.DefaultRole}) {
		if bound, ok := o.(*rbacv1.RoleBinding); ok {
			bound.Subjects[0].Name = "default"
			mustRefuse(t, operator.Create(t.Context(), bound), "of the binding's name and namespace")
		}
	}
	if err := admin.Delete(t.Context(), theirs); err != nil {
		t.Errorf("others are bound by it: %v", err)
	}
}

// newLease is one with the label of a store, if one is named.
func newLease(namespace, name, store string) *coordinationv1.Lease {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if store != "" {
		lease.Labels = map[string]string{v1alpha1.StoreLabel: store}
	}
	return lease
}
