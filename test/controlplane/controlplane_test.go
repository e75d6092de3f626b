package controlplane_test

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/slipway-dev/slipway/test/controlplane"
)

func TestWritesAreCountedFromTheAuditLog(t *testing.T) {
	ctx := t.Context()
	plane, err := controlplane.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	other, err := plane.AddUser("other", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	admin := kubernetes.NewForConfigOrDie(plane.Config).CoreV1().ConfigMaps("default")
	guest := kubernetes.NewForConfigOrDie(other).CoreV1().ConfigMaps("default")

	object := func(name string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	patch := []byte(`{"data":{"key":"value"}}`)
	must(admin.Create(ctx, object("one"), metav1.CreateOptions{}))
	must(admin.Patch(ctx, "one", types.MergePatchType, patch, metav1.PatchOptions{}))
	must(guest.Patch(ctx, "one", types.MergePatchType, []byte(`{"data":null}`), metav1.PatchOptions{}))
	must(guest.Create(ctx, object("two"), metav1.CreateOptions{}))
	must(guest.Get(ctx, "two", metav1.GetOptions{}))
	must(nil, admin.Delete(ctx, "two", metav1.DeleteOptions{}))
	if _, err := guest.Create(ctx, object("one"), metav1.CreateOptions{}); err == nil {
		t.Fatal("creating what exists was not refused")
	}

	for _, test := range []struct {
		name   string
		filter controlplane.Filter
		want   map[controlplane.Writer]int
	}{
		{"one object", controlplane.Filter{Resource: "configmaps", Name: "one"}, map[controlplane.Writer]int{
			{User: "admin", Verb: "create"}: 1,
			{User: "admin", Verb: "patch"}:  1,
			{User: "other", Verb: "patch"}:  1,
		}},
		{"one user", controlplane.Filter{User: "other"}, map[controlplane.Writer]int{
			{User: "other", Verb: "create"}: 1,
			{User: "other", Verb: "patch"}:  1,
		}},
		{"one namespace", controlplane.Filter{Namespace: "default", Name: "two"}, map[controlplane.Writer]int{
			{User: "other", Verb: "create"}: 1,
			{User: "admin", Verb: "delete"}: 1,
		}},
		{"nothing", controlplane.Filter{Resource: "secrets", Namespace: "default"}, map[controlplane.Writer]int{}},
	} {
		t.Run(test.name, func(t *testing.T) { expect(ctx, t, plane, test.filter, test.want) })
	}
}

func expect(
	ctx context.Context, t *testing.T, plane *controlplane.ControlPlane,
	filter controlplane.Filter, want map[controlplane.Writer]int,
) {
	t.Helper()
	writes, err := plane.Writes(ctx, filter)
	if err != nil {
		t.Fatal(err)
	}
	got := controlplane.CountByWriter(writes)
	if len(got) != len(want) {
		t.Errorf("want %v, got %v", want, got)
	}
	for writer, count := range want {
		if got[writer] != count {
			t.Errorf("%s %s: want %d, got %d", writer.User, writer.Verb, count, got[writer])
		}
	}
}
