package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// attempt is one thing that somebody might do, as "verb resource.group/subresource name" in
// a namespace.
type attempt struct {
	verb, group, resource, subresource, name string
	elsewhere                                bool // than in the namespace where the role is bound
}

func (a attempt) String() string {
	where := "here"
	if a.elsewhere {
		where = "elsewhere"
	}
	return fmt.Sprintf("%s %s.%s/%s %q %s", a.verb, a.resource, a.group, a.subresource, a.name, where)
}

const slipwayGroup = "uploads.slipway.dev"

// harmful is what no role of ours lets anybody do.
func harmful() []attempt {
	return []attempt{
		{verb: "*", group: "*", resource: "*"},
		{verb: "list", resource: "secrets"},
		{verb: "watch", resource: "secrets"},
		{verb: "get", resource: "secrets", name: "somebodys"},
		{verb: "delete", resource: "secrets", name: "somebodys"},
		{verb: "create", resource: "pods"},
		{verb: "create", resource: "pods", subresource: "exec"},
		{verb: "get", resource: "nodes"},
		{verb: "create", resource: "serviceaccounts", subresource: "token"},
		{verb: "impersonate", resource: "users"},
		{verb: "escalate", group: "rbac.authorization.k8s.io", resource: "clusterroles"},
		{verb: "bind", group: "rbac.authorization.k8s.io", resource: "clusterroles"},
		{verb: "bind", group: "rbac.authorization.k8s.io", resource: "clusterroles", name: "cluster-admin"},
		{verb: "update", group: "apiextensions.k8s.io", resource: "customresourcedefinitions"},
		{verb: "update", group: slipwayGroup, resource: "uploadquotas"},
		{verb: "create", group: slipwayGroup, resource: "uploadquotas"},
	}
}

// TestRolesLackWhatTheyShould asks the API server, with the roles of config/rbac as they are
// applied, what somebody who has just one of them may do.
func TestRolesLackWhatTheyShould(t *testing.T) {
	w := newWorld(t)
	content := func(verb string) attempt {
		return attempt{verb: verb, group: slipwayGroup, resource: "uploadsessions", subresource: "content"}
	}
	// The manager makes these for its dataplanes, of the two roles that it may bind.
	grant := attempt{verb: "create", group: "rbac.authorization.k8s.io", resource: "rolebindings"}
	grantEverywhere := attempt{verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterrolebindings"}
	review := func(group, resource string) attempt { return attempt{verb: "create", group: group, resource: resource} }
	const authorization, authentication = "authorization.k8s.io", "authentication.k8s.io"
	ours := func(verb, resource, subresource string) attempt {
		return attempt{verb: verb, group: slipwayGroup, resource: resource, subresource: subresource}
	}
	for _, c := range []struct {
		file, role  string
		everywhere  bool // bound in all namespaces, as config/ binds it
		may, mayNot []attempt
	}{
		{
			file: "role.yaml", role: "manager-role", everywhere: true,
			may: []attempt{
				ours("patch", "uploadsessions", "status"), ours("delete", "uploadsessions", ""), ours("access-others", "uploadsessions", ""),
				{verb: "get", resource: "secrets", name: "slipway-ca"},
				{verb: "update", resource: "secrets", name: "slipway-dataplane"},
				{verb: "get", resource: "secrets", name: "slipway-ca", elsewhere: true},
			},
			mayNot: []attempt{
				content("get"), content("update"), content("delete"), ours("create", "uploadsessions", "tickets"), ours("create", "uploadsessions", ""),
				ours("impersonate-owner", "uploadsessions", ""), ours("create", "uploadstores", ""), ours("delete", "uploadstores", ""),
			},
		},
		{
			file: "dataplane_role.yaml", role: "dataplane-role",
			may: []attempt{
				ours("watch", "uploadsessions", ""), ours("patch", "uploadsessions", "status"), ours("create", "uploadsessions", ""),
				{verb: "update", group: "coordination.k8s.io", resource: "leases"},
				review(authorization, "localsubjectaccessreviews"),
			},
			mayNot: []attempt{
				grant, grantEverywhere, review(authorization, "subjectaccessreviews"), review(authentication, "tokenreviews"),
				{verb: "create", group: authorization, resource: "localsubjectaccessreviews", elsewhere: true},
				{verb: "get", resource: "secrets", name: "slipway-ca"},
				{verb: "get", resource: "secrets", name: "slipway-dataplane"},
				ours("update", "uploadsessions", ""), ours("patch", "uploadsessions", ""), ours("delete", "uploadsessions", ""),
				content("get"), ours("create", "uploadsessions", "tickets"), ours("patch", "uploadstores", "status"), ours("update", "uploadstores", ""),
				{verb: "create", group: slipwayGroup, resource: "uploadsessions", elsewhere: true},
				{verb: "watch", group: slipwayGroup, resource: "uploadsessions", elsewhere: true},
			},
		},
		{
			file: "token_reviewer_role.yaml", role: "token-reviewer", everywhere: true,
			may: []attempt{review(authentication, "tokenreviews")},
			mayNot: []attempt{
				grant, grantEverywhere, review(authorization, "subjectaccessreviews"), review(authorization, "localsubjectaccessreviews"),
				ours("watch", "uploadsessions", ""), ours("create", "uploadsessions", ""),
			},
		},
		{
			file: "user_roles.yaml", role: "viewer",
			may: []attempt{ours("get", "uploadsessions", ""), ours("list", "uploadstores", ""), ours("watch", "uploadquotas", "")},
			mayNot: []attempt{
				grant, grantEverywhere, content("get"), content("update"), content("delete"), ours("create", "uploadsessions", "tickets"), ours("create", "uploadsessions", ""),
				ours("update", "uploadsessions", ""), ours("delete", "uploadsessions", ""), ours("create", "uploadstores", ""),
				{verb: "get", group: slipwayGroup, resource: "uploadsessions", elsewhere: true},
			},
		},
		{
			file: "user_roles.yaml", role: "uploader",
			may: []attempt{content("get"), content("update"), content("delete"), ours("create", "uploadsessions", ""), ours("create", "uploadsessions", "tickets")},
			mayNot: []attempt{
				grant, grantEverywhere, ours("create", "uploadstores", ""), ours("update", "uploadstores", ""), ours("delete", "uploadstores", ""),
				ours("patch", "uploadsessions", "status"), ours("impersonate-owner", "uploadsessions", ""), ours("access-others", "uploadsessions", ""),
				{verb: "update", group: slipwayGroup, resource: "uploadsessions", subresource: "content", elsewhere: true},
			},
		},
		{
			file: "user_roles.yaml", role: "admin",
			may: []attempt{content("get"), content("update"), content("delete"), ours("create", "uploadstores", ""), ours("delete", "uploadstores", "")},
			mayNot: []attempt{
				grant, grantEverywhere, ours("patch", "uploadsessions", "status"), ours("patch", "uploadstores", "status"), ours("impersonate-owner", "uploadsessions", ""),
				{verb: "delete", group: slipwayGroup, resource: "uploadstores", elsewhere: true},
			},
		},
	} {
		t.Run(c.role, func(t *testing.T) {
			user := w.holder(t, c.file, c.role, c.everywhere)
			for _, a := range c.may {
				if !w.allowed(t, user, a) {
					t.Errorf("may not %s", a)
				}
			}
			for _, a := range slices.Concat(harmful(), c.mayNot) {
				if w.allowed(t, user, a) {
					t.Errorf("may %s", a)
				}
			}
		})
	}
}

// holder makes a user who has one role of config/rbac and nothing else, and waits until it counts.
func (w world) holder(t *testing.T, file, role string, everywhere bool) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "rbac", file))
	if err != nil {
		t.Fatal(err)
	}
	var made rbacv1.ClusterRole
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var one rbacv1.ClusterRole
		if err := yaml.UnmarshalStrict([]byte(document), &one); err != nil {
			t.Fatal(err)
		}
		if one.Name == role {
			made = one
		}
	}
	if made.Name == "" {
		t.Fatalf("%s has no ClusterRole %s", file, role)
	}
	made.Name = w.namespace + "-" + role
	subject := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: made.Name}
	reference := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: made.Name}
	objects := []client.Object{&made}
	if everywhere {
		objects = append(objects, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: made.Name}, RoleRef: reference, Subjects: []rbacv1.Subject{subject}})
	} else {
		objects = append(objects, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: made.Name, Namespace: w.namespace}, RoleRef: reference, Subjects: []rbacv1.Subject{subject}})
	}
	for _, o := range objects {
		if err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	first := made.Rules[0]
	known := attempt{verb: first.Verbs[0], group: first.APIGroups[0], resource: first.Resources[0]}
	for !w.allowed(t, subject.Name, known) { // until the API server's cache has it, or the test's time is up
		if t.Context().Err() != nil {
			t.Fatal("the role never counts")
		}
	}
	return subject.Name
}

func (w world) allowed(t *testing.T, user string, a attempt) bool {
	t.Helper()
	namespace := w.namespace
	if a.elsewhere {
		namespace = "default"
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: []string{"system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: a.verb, Group: a.group, Resource: a.resource, Subresource: a.subresource, Name: a.name,
		},
	}}
	if err := w.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}
