package api_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/slipway-dev/slipway/test/controlplane"
)

// Policies hold for the whole cluster, so that these tests have one of their own.
func TestOwnerPolicies(t *testing.T) {
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
	alice := userOf(admin, own, "alice", rbacv1.PolicyRule{
		APIGroups: []string{"uploads.slipway.dev"}, Resources: []string{"uploadsessions"}, Verbs: []string{"create", "get", "update", "patch"},
	})
	dataplane := userOf(admin, own, "system:serviceaccount:"+admin.namespace+":slipway-dataplane", dataplaneRules(t)...)

	owner := func(s *unstructured.Unstructured) string {
		o, _, _ := unstructured.NestedString(s.Object, "spec", "owner")
		return o
	}
	t.Run("without the policies an owner is what the user says", func(t *testing.T) {
		s := admin.make("UploadSession", session.set("owner", "bob"))
		if err := alice.Create(t.Context(), s); err != nil || owner(s) != "bob" {
			t.Errorf("owner %q, error %v", owner(s), err)
		}
	})

	apply := func(file string) {
		t.Helper()
		content, err := os.ReadFile(filepath.Join("..", "..", "config", "policy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(content), "\n---\n") {
			var object unstructured.Unstructured
			if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
				t.Fatal(err)
			}
			if err := admin.Create(t.Context(), &object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	// The API server follows its policies with a delay.
	holds := func(what func() bool) {
		t.Helper()
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
			return what(), nil
		})
		if err != nil {
			t.Fatalf("the policy does not hold: %v", err)
		}
	}
	try := func(c client.Client, spec object) error {
		return c.Create(t.Context(), admin.make("UploadSession", spec), client.DryRunAll)
	}

	apply("validating.yaml")
	holds(func() bool { return try(alice, session.set("owner", "bob")) != nil })
	t.Run("the validating policy alone asks the user to name themselves", func(t *testing.T) {
		mustRefuse(t, try(alice, session.set("owner", "bob")), "spec.owner must be 'alice', who creates the session, not 'bob'")
		mustRefuse(t, try(alice, session), "spec.owner must be 'alice'")
		if err := try(alice, session.set("owner", "alice")); err != nil {
			t.Error(err)
		}
	})

	apply("mutating.yaml")
	holds(func() bool { return try(alice, session) == nil })
	t.Run("the owner is stamped", func(t *testing.T) {
		s := admin.make("UploadSession", session)
		if err := alice.Create(t.Context(), s); err != nil || owner(s) != "alice" {
			t.Errorf("owner %q, error %v", owner(s), err)
		}
		s = admin.make("UploadSession", session)
		if err := admin.Create(t.Context(), s); err != nil || owner(s) != "admin" {
			t.Errorf("an administrator's: owner %q, error %v", owner(s), err)
		}
	})
	t.Run("nobody creates in another's name", func(t *testing.T) {
		mustRefuse(t, try(alice, session.set("owner", "bob")), "spec.owner must be 'alice'")
	})
	t.Run("nobody changes an owner", func(t *testing.T) {
		s := admin.make("UploadSession", session)
		if err := alice.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		s.Object = object(s.Object).set("spec.owner", "bob")
		mustRefuse(t, alice.Update(t.Context(), s), "owner is immutable")
	})
	t.Run("a user with the dataplane's right names another", func(t *testing.T) {
		s := admin.make("UploadSession", session.set("owner", "bob"))
		if err := dataplane.Create(t.Context(), s); err != nil || owner(s) != "bob" {
			t.Errorf("owner %q, error %v", owner(s), err)
		}
	})
	t.Run("but only where it has that right", func(t *testing.T) {
		elsewhere := newWorldOf(t, own.Config)
		grant(elsewhere, "system:serviceaccount:"+admin.namespace+":slipway-dataplane", rbacv1.PolicyRule{
			APIGroups: []string{"uploads.slipway.dev"}, Resources: []string{"uploadsessions"}, Verbs: []string{"create"},
		})
		var err error
		holds(func() bool { // the API server follows roles with a delay too
			err = dataplane.Create(t.Context(), elsewhere.make("UploadSession", session.set("owner", "bob")))
			return err == nil || !strings.Contains(err.Error(), "cannot create resource")
		})
		mustRefuse(t, err, "spec.owner must be")
	})
}

// dataplaneRules are those that config/ gives to a dataplane.
func dataplaneRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	content, err := os.ReadFile("../../config/rbac/dataplane_role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(content, &role); err != nil {
		t.Fatal(err)
	}
	return role.Rules
}

func grant(w world, user string, rules ...rbacv1.PolicyRule) {
	w.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{GenerateName: "r-", Namespace: w.namespace}, Rules: rules}
	if err := w.Create(w.Context(), role); err != nil {
		w.Fatal(err)
	}
	if err := w.Create(w.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "r-", Namespace: w.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}); err != nil {
		w.Fatal(err)
	}
}

// userOf is a client of a user with these rules in the namespace, who may create by now.
func userOf(w world, plane *controlplane.ControlPlane, user string, rules ...rbacv1.PolicyRule) client.Client {
	w.Helper()
	grant(w, user, rules...)
	config, err := plane.AddUser(user)
	if err != nil {
		w.Fatal(err)
	}
	c := clientOf(w.T, config)
	err = wait.PollUntilContextTimeout(w.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		return c.Create(ctx, w.make("UploadSession", session), client.DryRunAll) == nil, nil
	})
	if err != nil {
		w.Fatalf("%s may not create sessions: %v", user, err)
	}
	return c
}
