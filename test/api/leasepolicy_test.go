package api_test

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// Whoever may write Leases, as everybody with Kubernetes' role edit and each app that elects a
// leader, says nothing in the name of a store's replica.
func TestReplicaLeasesAreTheDataplanes(t *testing.T) {
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
	leases := rbacv1.PolicyRule{
		APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create", "get", "update", "patch"},
	}
	sessions := rbacv1.PolicyRule{APIGroups: []string{"uploads.slipway.dev"}, Resources: []string{"uploadsessions"}, Verbs: []string{"create"}}
	stores := rbacv1.PolicyRule{APIGroups: []string{"uploads.slipway.dev"}, Resources: []string{"uploadstores"}, Verbs: []string{"delete"}}
	editor := userOf(admin, own, "editor", sessions, leases)
	keeper := userOf(admin, own, "keeper", sessions, leases, stores)
	dataplane := userOf(admin, own, "system:serviceaccount:"+admin.namespace+":slipway-dataplane", dataplaneRules(t)...)

	lease := func(name string, labels map[string]string) *coordinationv1.Lease {
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: admin.namespace, Name: name, Labels: labels,
				Annotations: map[string]string{v1alpha1.EndpointAnnotation: "https://evil.example:443"},
			},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a"), RenewTime: ptr.To(metav1.NewMicroTime(time.Now()))},
		}
	}
	ofStore := map[string]string{v1alpha1.StoreLabel: "models"}
	create := func(c client.Client, l *coordinationv1.Lease) error {
		return c.Create(t.Context(), l, client.DryRunAll)
	}
	if err := create(editor, lease("slipway-models-0", ofStore)); err != nil {
		t.Fatalf("without the policy: %v", err)
	}
	applyPolicy(admin, "leases.yaml")
	holds(t, func() bool { return create(editor, lease("slipway-models-0", ofStore)) != nil })

	const words = "may not report for UploadStore 'models'"
	genuine := lease("slipway-models-0", ofStore)
	if err := dataplane.Create(t.Context(), genuine); err != nil {
		t.Fatal(err)
	}
	unlabelled := lease("slipway-models-1", nil)
	if err := editor.Create(t.Context(), unlabelled); err != nil {
		t.Fatalf("a Lease of an app's own: %v", err)
	}
	changed := func(l *coordinationv1.Lease, change func(*coordinationv1.Lease)) *coordinationv1.Lease {
		l = l.DeepCopy()
		change(l)
		return l
	}
	renew := func(l *coordinationv1.Lease) {
		l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Now().AddDate(10, 0, 0)))
	}
	annotate := func(name, value string) func(*coordinationv1.Lease) {
		return func(l *coordinationv1.Lease) { l.Annotations[name] = value }
	}
	gone := annotate(v1alpha1.GoneForGoodAnnotation, "a")
	for name, test := range map[string]struct {
		from   *coordinationv1.Lease
		change func(*coordinationv1.Lease)
		keeper bool // whether who may delete the store may
	}{
		"renew it":              {genuine, renew, false},
		"name another endpoint": {genuine, annotate(v1alpha1.EndpointAnnotation, "https://worse.example"), false},
		"name another bundle":   {genuine, annotate(v1alpha1.CABundleAnnotation, "mine"), false},
		"leave the endpoint out": {genuine, func(l *coordinationv1.Lease) {
			delete(l.Annotations, v1alpha1.EndpointAnnotation)
		}, false},
		"make it another room":     {genuine, annotate(v1alpha1.AvailableBytesAnnotation, "1"), false},
		"take it from the store":   {genuine, func(l *coordinationv1.Lease) { l.Labels = nil }, false},
		"make one the store's":     {unlabelled, func(l *coordinationv1.Lease) { l.Labels = ofStore }, false},
		"say that it is gone":      {genuine, gone, true},
		"say so, and renew it too": {genuine, func(l *coordinationv1.Lease) { gone(l); renew(l) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			mustRefuse(t, editor.Update(t.Context(), changed(test.from, test.change), client.DryRunAll), words)
			err := keeper.Update(t.Context(), changed(test.from, test.change), client.DryRunAll)
			if !test.keeper {
				mustRefuse(t, err, words)
			} else if err != nil {
				t.Errorf("who may delete the store: %v", err)
			}
			if err := dataplane.Update(t.Context(), changed(test.from, test.change), client.DryRunAll); err != nil {
				t.Errorf("the dataplane: %v", err)
			}
		})
	}
	mustRefuse(t, create(keeper, lease("slipway-models-2", ofStore)), words)
	mustRefuse(t, create(editor, lease("slipway-other-0", map[string]string{v1alpha1.StoreLabel: "not-made-yet"})),
		"may not report for UploadStore 'not-made-yet'")
}
