package api_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
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

	ownerless := admin.make("UploadSession", session)
	if err := admin.Create(t.Context(), ownerless); err != nil {
		t.Fatal(err)
	}

	try := func(c client.Client, spec object) error {
		return c.Create(t.Context(), admin.make("UploadSession", spec), client.DryRunAll)
	}

	applyPolicy(admin, "validating.yaml")
	holds(t, func() bool { return try(alice, session.set("owner", "bob")) != nil })
	t.Run("the validating policy alone asks the user to name themselves", func(t *testing.T) {
		mustRefuse(t, try(alice, session.set("owner", "bob")), "spec.owner must be 'alice', who creates the session, not 'bob'")
		mustRefuse(t, try(alice, session), "spec.owner must be 'alice'")
		if err := try(alice, session.set("owner", "alice")); err != nil {
			t.Error(err)
		}
	})

	applyPolicy(admin, "mutating.yaml")
	holds(t, func() bool { return try(alice, session) == nil })
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
	t.Run("what was stamped stays when the user replaces the session with their own file", func(t *testing.T) {
		const fingerprint = "uploads.slipway.dev/request-fingerprint"
		file := filepath.Join(t.TempDir(), "session.yaml")
		replace := func(s *unstructured.Unstructured) {
			t.Helper()
			content, err := yaml.Marshal(s.Object)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			admin.kubectlAt(own, "replace", "--filename", file)
		}
		created := admin.make("UploadSession", session)
		created.SetGenerateName("")
		created.SetName("replaced")
		mine := created.DeepCopy()
		created.SetAnnotations(map[string]string{fingerprint: "sha256:a", "mine": "gone"})
		if err := alice.Create(t.Context(), created); err != nil {
			t.Fatal(err)
		}
		wants := func(state string, annotations map[string]string) {
			t.Helper()
			got := admin.make("UploadSession", session)
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(mine), got); err != nil {
				t.Fatal(err)
			}
			is, _, _ := unstructured.NestedString(got.Object, "spec", "desiredState")
			if owner(got) != "alice" || is != state || !maps.Equal(got.GetAnnotations(), annotations) {
				t.Errorf("owner %q, state %q, annotations %v; want alice, %q, %v", owner(got), is, got.GetAnnotations(), state, annotations)
			}
		}
		// The file says nothing of an owner, and the API server's delay is over once it holds.
		holds(t, func() bool {
			probe := mine.DeepCopy()
			probe.SetResourceVersion(created.GetResourceVersion())
			return alice.Update(t.Context(), probe, client.DryRunAll) == nil
		})
		replace(mine)
		wants("Active", map[string]string{fingerprint: "sha256:a"})
		mine.Object = object(mine.Object).set("spec.desiredState", "Suspended")
		mine.SetAnnotations(map[string]string{"mine": "b"})
		replace(mine)
		wants("Suspended", map[string]string{fingerprint: "sha256:a", "mine": "b"})
	})
	t.Run("a session without an owner gets none by an update", func(t *testing.T) {
		s := admin.make("UploadSession", session)
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(ownerless), s); err != nil {
			t.Fatal(err)
		}
		s.Object = object(s.Object).set("spec.desiredState", "Suspended")
		if err := alice.Update(t.Context(), s); err != nil || owner(s) != "" {
			t.Errorf("owner %q, error %v", owner(s), err)
		}
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
		holds(t, func() bool { // the API server follows roles with a delay too
			err = dataplane.Create(t.Context(), elsewhere.make("UploadSession", session.set("owner", "bob")))
			return err == nil || !strings.Contains(err.Error(), "cannot create resource")
		})
		mustRefuse(t, err, "spec.owner must be")
	})
}

// applyPolicy applies a file of config/policy.
func applyPolicy(w world, file string) {
	w.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "policy", file))
	if err != nil {
		w.Fatal(err)
	}
	for _, document := range strings.Split(string(content), "\n---\n") {
		var object unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			w.Fatal(err)
		}
		if err := w.Create(w.Context(), &object); err != nil {
			w.Fatalf("%s: %v", file, err)
		}
	}
}

// holds waits for what the API server does with a delay: it follows its policies and its roles so.
func holds(t *testing.T, what func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return what(), nil
	})
	if err != nil {
		t.Fatalf("it does not hold: %v", err)
	}
}

// In a store of owners a session is changed and deleted by its owner, its uploaders and who may access those of others.
func TestAccessPolicy(t *testing.T) {
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
	for name, access := range map[string]string{"owners": "Owner", "shared": "Namespace"} {
		s := admin.make("UploadStore", store.set("access", access))
		s.SetName(name)
		if err := admin.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	uploader := rbacv1.PolicyRule{
		APIGroups: []string{slipwayGroup}, Resources: []string{"uploadsessions"},
		Verbs: []string{"create", "get", "update", "patch", "delete", "deletecollection"},
	}
	others := rbacv1.PolicyRule{APIGroups: []string{slipwayGroup}, Resources: []string{"uploadsessions"}, Verbs: []string{"access-others"}}
	account := func(name string) string { return "system:serviceaccount:" + admin.namespace + ":" + name }
	users := map[string]client.Client{}
	for _, name := range []string{"alice", "bob", account("sender"), "system:serviceaccount:elsewhere:sender", "system:serviceaccount:kube-system:namespace-controller"} {
		users[name] = userOf(admin, own, name, uploader)
	}
	users["chief"] = userOf(admin, own, "chief", uploader, others)
	create := func(store string) *unstructured.Unstructured {
		t.Helper()
		s := admin.make("UploadSession", session.set("storeRef.name", store).set("owner", "alice").set("uploaders", []any{"sender"}))
		if err := users["alice"].Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	label := func(user string, s *unstructured.Unstructured) error {
		return users[user].Patch(t.Context(), s.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`)))
	}
	applyPolicy(admin, "access.yaml")
	guarded := create("owners")
	holds(t, func() bool { return label("bob", guarded) != nil })

	const words = "are for their owners and uploaders (spec.access)"
	for _, test := range []struct {
		user string
		may  bool
	}{
		{"alice", true},
		{account("sender"), true},
		{"chief", true},
		{"system:serviceaccount:kube-system:namespace-controller", true},
		{"bob", false},
		{"system:serviceaccount:elsewhere:sender", false},
	} {
		for what, try := range map[string]func(*unstructured.Unstructured) error{
			"change": func(s *unstructured.Unstructured) error { return label(test.user, s) },
			"cancel": func(s *unstructured.Unstructured) error {
				patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"desiredState":"Cancelled"}}`))
				return users[test.user].Patch(t.Context(), s.DeepCopy(), patch)
			},
			"delete": func(s *unstructured.Unstructured) error { return users[test.user].Delete(t.Context(), s) },
		} {
			err := try(create("owners"))
			if test.may && err != nil {
				t.Errorf("%s may not %s: %v", test.user, what, err)
			}
			if !test.may {
				mustRefuse(t, err, words)
			}
			if err := try(create("shared")); err != nil {
				t.Errorf("in a store of the namespace %s may not %s: %v", test.user, what, err)
			}
		}
	}
	all := &unstructured.Unstructured{}
	all.SetAPIVersion("uploads.slipway.dev/v1alpha1")
	all.SetKind("UploadSession")
	mustRefuse(t, users["bob"].DeleteAllOf(t.Context(), all, client.InNamespace(admin.namespace)), words)
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
