package delegated

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// cluster is a real API server with a ServiceAccount that has a Role.
type cluster struct {
	*testing.T
	admin  kubernetes.Interface
	config *rest.Config
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	plane, err := controlplane.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	delegate, err := plane.AddUser("delegate")
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{T: t, admin: kubernetes.NewForConfigOrDie(plane.Config), config: delegate}
	// What config/rbac gives a dataplane for this: one role in the cluster, and one in the namespace.
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "delegate"}}
	everywhere := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: c.role("token_reviewer_role.yaml")}
	here := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: c.role("dataplane_role.yaml")}
	_, err = c.admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "delegate"}, RoleRef: everywhere, Subjects: subjects,
	}, metav1.CreateOptions{})
	c.must(err)
	_, err = c.admin.RbacV1().RoleBindings("default").Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "delegate"}, RoleRef: here, Subjects: subjects,
	}, metav1.CreateOptions{})
	c.must(err)
	return c
}

// role makes a ClusterRole of config/rbac, and returns its name.
func (c cluster) role(file string) string {
	c.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "..", "config", "rbac", file))
	c.must(err)
	var role rbacv1.ClusterRole
	c.must(yaml.UnmarshalStrict(content, &role))
	_, err = c.admin.RbacV1().ClusterRoles().Create(c.Context(), &role, metav1.CreateOptions{})
	c.must(err)
	return role.Name
}

func (c cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// account makes a ServiceAccount that may do what the rules say in its namespace.
func (c cluster) account(name string, rules ...rbacv1.PolicyRule) {
	c.Helper()
	const namespace = "default"
	_, err := c.admin.CoreV1().ServiceAccounts(namespace).Create(c.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	c.must(err)
	_, err = c.admin.RbacV1().Roles(namespace).Create(c.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{})
	c.must(err)
	_, err = c.admin.RbacV1().RoleBindings(namespace).Create(c.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: namespace}},
	}, metav1.CreateOptions{})
	c.must(err)
}

func (c cluster) token(account string, audiences ...string) string {
	c.Helper()
	r, err := c.admin.CoreV1().ServiceAccounts("default").CreateToken(c.Context(), account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: audiences},
	}, metav1.CreateOptions{})
	c.must(err)
	return r.Status.Token
}

func (c cluster) gate(log *slog.Logger) *Gate {
	c.Helper()
	g, err := New(Config{API: c.config, Namespace: "default", Audience: audience, Group: "uploads.slipway.dev", Version: "v1alpha1", Resource: "uploadsessions", Stores: "uploadstores", Log: log})
	c.must(err)
	return g
}

func with(ctx context.Context, authorization ...string) *http.Request {
	return (&http.Request{Header: http.Header{"Authorization": authorization}}).WithContext(ctx)
}

// audience is that of the tests' gates.
const audience = "uploads.slipway.dev/ml/models"

func TestWithoutAnAudienceThereIsNoGate(t *testing.T) {
	if _, err := New(Config{API: &rest.Config{Host: "http://127.0.0.1:1"}, Namespace: "ml"}); err == nil {
		t.Error("a gate for every token of the cluster")
	}
}

func TestGate(t *testing.T) {
	c := newCluster(t)
	c.account("uploader", rbacv1.PolicyRule{
		APIGroups: []string{"uploads.slipway.dev"}, Resources: []string{"uploadsessions/content"}, Verbs: []string{"get", "update"}, ResourceNames: []string{"mine"},
	}, rbacv1.PolicyRule{
		APIGroups: []string{"uploads.slipway.dev"}, Resources: []string{"uploadstores/objects"}, Verbs: []string{"get", "list"}, ResourceNames: []string{"models"},
	})
	var log bytes.Buffer
	g := c.gate(slog.New(slog.NewTextHandler(&log, nil)))
	good := c.token("uploader", audience)

	t.Run("who gets in", func(t *testing.T) {
		for name, want := range map[string]struct {
			sent []string
			err  error
		}{
			"a token for the audience":          {[]string{"Bearer " + good}, nil},
			"the same, spelt otherwise":         {[]string{"bearer " + good}, nil},
			"for this and another":              {[]string{"Bearer " + c.token("uploader", "elsewhere", audience)}, nil},
			"no token":                          {nil, auth.ErrUnauthenticated},
			"a token of the API server":         {[]string{"Bearer " + c.token("uploader")}, auth.ErrUnauthenticated},
			"a token for another audience":      {[]string{"Bearer " + c.token("uploader", "elsewhere")}, auth.ErrUnauthenticated},
			"garbage":                           {[]string{"Bearer abc"}, auth.ErrUnauthenticated},
			"a signature that does not hold":    {[]string{"Bearer " + good[:len(good)-8] + "AAAAAAAA"}, auth.ErrUnauthenticated},
			"two at once":                       {[]string{"Bearer " + good, "Bearer " + good}, auth.ErrUnauthenticated},
			"as a password":                     {[]string{"Basic " + good}, auth.ErrUnauthenticated},
			"what can't be a token":             {[]string{"Bearer \x00" + good}, auth.ErrUnauthenticated},
			"what is too long":                  {[]string{"Bearer " + strings.Repeat("a", maxToken+1)}, auth.ErrUnauthenticated},
			"something after the token":         {[]string{"Bearer " + good + " x"}, auth.ErrUnauthenticated},
			"no scheme":                         {[]string{good}, auth.ErrUnauthenticated},
			"a token of nobody's, well-formed":  {[]string{"Bearer eyJhbGciOiJub25lIn0.e30."}, auth.ErrUnauthenticated},
			"no token, but the scheme and room": {[]string{"Bearer  "}, auth.ErrUnauthenticated},
		} {
			r := with(t.Context(), want.sent...)
			caller, err := g.Authenticate(r)
			if !errors.Is(err, want.err) {
				t.Errorf("%s: %v, want %v", name, err, want.err)
			}
			if err == nil && caller.User != "system:serviceaccount:default:uploader" {
				t.Errorf("%s: it is %+v", name, caller)
			}
			if r.Header.Get("Authorization") != "" {
				t.Errorf("%s: the token is left in the request", name)
			}
		}
		// Another way in that the API server has, for WebSockets.
		r := with(t.Context())
		r.Header.Set("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.x, y")
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		if _, err := g.Authenticate(r); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("a token in another header: %v", err)
		}
		if strings.Contains(log.String(), good[:20]) {
			t.Errorf("the log has a token:\n%s", &log)
		}
	})

	caller, err := g.Authenticate(with(t.Context(), "Bearer "+good))
	c.must(err)
	t.Run("who may do what elsewhere is not for the gate to know", func(t *testing.T) {
		reviews := kubernetes.NewForConfigOrDie(c.config).AuthorizationV1()
		spec := authorizationv1.SubjectAccessReviewSpec{User: "alice", ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: "kube-system", Verb: "get", Resource: "secrets",
		}}
		_, err := reviews.SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("it is told of kube-system: %v", err)
		}
		_, err = reviews.LocalSubjectAccessReviews("kube-system").Create(t.Context(), &authorizationv1.LocalSubjectAccessReview{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system"}, Spec: spec,
		}, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("it is told of kube-system there: %v", err)
		}
	})
	t.Run("who may do what", func(t *testing.T) {
		for a, want := range map[auth.Action]error{
			{Verb: auth.Update, Subresource: auth.Content, Namespace: "default", Name: "mine"}:      nil,
			{Verb: auth.Get, Subresource: auth.Content, Namespace: "default", Name: "mine"}:         nil,
			{Verb: auth.Delete, Subresource: auth.Content, Namespace: "default", Name: "mine"}:      auth.ErrForbidden,
			{Verb: auth.Get, Subresource: auth.Content, Namespace: "default", Name: "other"}:        auth.ErrForbidden,
			{Verb: auth.Get, Subresource: auth.Content, Namespace: "kube-system", Name: "mine"}:     auth.ErrForbidden,
			{Verb: auth.Get, Subresource: auth.Whole, Namespace: "default", Name: "mine"}:           auth.ErrForbidden,
			{Verb: auth.Create, Subresource: auth.Whole, Namespace: "default"}:                      auth.ErrForbidden,
			{Verb: auth.Create, Subresource: auth.Tickets, Namespace: "default", Name: "mine"}:      auth.ErrForbidden,
			{Verb: auth.Get, Subresource: auth.Content, Namespace: "default", Name: "mine-as-well"}: auth.ErrForbidden,
			{Verb: auth.Get, Subresource: auth.Objects, Namespace: "default", Name: "models"}:       nil,
			{Verb: auth.List, Subresource: auth.Objects, Namespace: "default", Name: "models"}:      nil,
			{Verb: auth.List, Subresource: auth.Objects, Namespace: "default", Name: "mine"}:        auth.ErrForbidden,
			{Verb: auth.Delete, Subresource: auth.Objects, Namespace: "default", Name: "models"}:    auth.ErrForbidden,
			{Verb: auth.Get, Subresource: auth.Objects, Namespace: "default", Name: "mine"}:         auth.ErrForbidden,
		} {
			if err := g.Authorize(t.Context(), caller, a); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", a, err, want)
			}
		}
	})

	// Whoever is removed is out: a gate that has not seen them never lets them in.
	t.Run("a deleted account", func(t *testing.T) {
		c.must(c.admin.CoreV1().ServiceAccounts("default").Delete(t.Context(), "uploader", metav1.DeleteOptions{}))
		deadline := time.Now().Add(2 * time.Minute) // for a slow machine; it is over after CacheTTL
		for {                                       // the API server's own cache is behind for a moment
			_, err := c.gate(nil).Authenticate(with(t.Context(), "Bearer "+good))
			if errors.Is(err, auth.ErrUnauthenticated) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("it still gets in: %v", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		for { // the one that has seen them forgets within CacheTTL
			_, err := g.Authenticate(with(t.Context(), "Bearer "+good))
			if errors.Is(err, auth.ErrUnauthenticated) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("it is still remembered: %v", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

// Where the API server can't be asked nobody is let in, and nobody is told
// that their credentials are bad.
func TestTheAPIServerIsAway(t *testing.T) {
	g, err := New(Config{API: &rest.Config{Host: "http://127.0.0.1:1"}, Namespace: "ml", Audience: audience, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Authenticate(with(t.Context(), "Bearer abc")); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("authenticate: %v", err)
	}
	if err := g.Authorize(t.Context(), auth.Caller{User: "alice"}, auth.Action{Verb: auth.Get, Namespace: "ml", Name: "a"}); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("authorize: %v", err)
	}
	if _, err := g.Authenticate(with(t.Context())); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("without a token there is nothing to ask: %v", err)
	}
}
