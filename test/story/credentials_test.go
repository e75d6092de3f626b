package story

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/uploader"
)

// stranger is another namespace than the store's.
const stranger = "stranger"

// access is a story in which somebody tries each call with each kind of credentials.
type access struct {
	*testing.T
	*teller
	admin kubernetes.Interface
}

func newAccess(t *testing.T) access {
	t.Helper()
	teller, _ := beginSmall(t, 8, 64<<10)
	a := access{T: t, teller: teller, admin: kubernetes.NewForConfigOrDie(teller.plane.Config)}
	_, err := a.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stranger}}, metav1.CreateOptions{})
	a.must(err)
	return a
}

func (a access) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

// until polls the API server, whose own caches are behind for a moment.
func (a access) until(what string, is func(context.Context) bool) {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), time.Minute)
	defer cancel()
	for !is(ctx) {
		select {
		case <-ctx.Done():
			a.Fatalf("it never comes to that: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// account makes a ServiceAccount, and binds it in the store's namespace to a
// ClusterRole, if one is named.
func (a access) account(in, name, role string) types.NamespacedName {
	a.Helper()
	_, err := a.admin.CoreV1().ServiceAccounts(in).Create(a.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	a.must(err)
	account := types.NamespacedName{Namespace: in, Name: name}
	if role != "" {
		a.bind(namespace, account, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role})
	}
	return account
}

// bind grants a role in a namespace, and waits until it counts there: the
// dataplane remembers an answer that comes too early.
func (a access) bind(in string, account types.NamespacedName, role rbacv1.RoleRef) {
	a.Helper()
	_, err := a.admin.RbacV1().RoleBindings(in).Create(a.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: account.Namespace + "-" + account.Name}, RoleRef: role,
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}, metav1.CreateOptions{})
	a.must(err)
	a.until("a binding counts", func(ctx context.Context) bool {
		rules, err := a.admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + account.Namespace + ":" + account.Name,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: in, Verb: "get", Group: v1alpha1.GroupVersion.Group, Resource: "uploadsessions", Name: "other", Subresource: subresourceOf(role)},
		}}, metav1.CreateOptions{})
		return err == nil && rules.Status.Allowed
	})
}

// subresourceOf is what of the session "other" whoever has the role may get.
func subresourceOf(role rbacv1.RoleRef) string {
	if role.Name == "slipway-viewer" {
		return ""
	}
	return "content"
}

// readerOfAnother makes a ServiceAccount that may read the content of one session, which is another one.
func (a access) readerOfAnother() types.NamespacedName {
	a.Helper()
	account := a.account(namespace, "reader", "")
	_, err := a.admin.RbacV1().Roles(namespace).Create(a.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"uploadsessions/content"}, Verbs: []string{"get", "update"}, ResourceNames: []string{"other"},
		}},
	}, metav1.CreateOptions{})
	a.must(err)
	a.bind(namespace, account, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"})
	return account
}

// token is a real one, for the audiences; without any it is for the API server.
func (a access) token(account types.NamespacedName, audiences ...string) string {
	a.Helper()
	r, err := a.admin.CoreV1().ServiceAccounts(account.Namespace).CreateToken(a.Context(), account.Name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: audiences},
	}, metav1.CreateOptions{})
	a.must(err)
	return r.Status.Token
}

// remade is a token that the API server has issued, signed anew by its own key
// to end at another time.
func (a access) remade(token string, expires time.Time) string {
	a.Helper()
	file, err := a.plane.TokenKey()
	a.must(err)
	block, _ := pem.Decode(file)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	a.must(err)
	parts := strings.Split(token, ".")
	var header struct {
		KeyID     string                  `json:"kid"`
		Algorithm jose.SignatureAlgorithm `json:"alg"`
	}
	claims := map[string]any{}
	for part, into := range map[string]any{parts[0]: &header, parts[1]: &claims} {
		decoded, err := base64.RawURLEncoding.DecodeString(part)
		a.must(err)
		a.must(json.Unmarshal(decoded, into))
	}
	for claim, at := range map[string]time.Time{"iat": expires.Add(-time.Hour), "nbf": expires.Add(-time.Hour), "exp": expires} {
		claims[claim] = at.Unix()
	}
	payload, err := json.Marshal(claims)
	a.must(err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: header.Algorithm, Key: jose.JSONWebKey{Key: key, KeyID: header.KeyID}}, nil)
	a.must(err)
	signed, err := signer.Sign(payload)
	a.must(err)
	made, err := signed.CompactSerialize()
	a.must(err)
	return made
}

// removed deletes a ServiceAccount and waits until the API server knows its token no more.
func (a access) removed(account types.NamespacedName, token string) {
	a.Helper()
	a.must(a.admin.CoreV1().ServiceAccounts(account.Namespace).Delete(a.Context(), account.Name, metav1.DeleteOptions{}))
	a.until("a token of a ServiceAccount that is gone is not good", func(ctx context.Context) bool {
		r, err := a.admin.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
		}, metav1.CreateOptions{})
		return err == nil && !r.Status.Authenticated
	})
}

// session makes one, as the uploader of the story, that is admitted. With the same key it
// is the same one.
func (a access) session(key string) *created {
	a.Helper()
	spec := fmt.Sprintf(`{"key": "access/%s", "sizeBytes": 1, "completion": "Explicit", "conflictPolicy": "Replace"}`, key)
	made, err := a.create(a.Context(), key, spec)
	a.must(err)
	if made.State != chunkapi.StateActive {
		a.Fatalf("the session is %+v", made)
	}
	return made
}

// ticket is one of a session.
func (a access) ticket(session, verbs string) string {
	a.Helper()
	r, err := http.NewRequestWithContext(a.Context(), http.MethodPost, a.uploader(session, nil).Base+"/tickets", strings.NewReader(`{"verbs": [`+verbs+`]}`))
	a.must(err)
	r.Header.Set("Content-Type", "application/json")
	var made struct {
		Ticket string `json:"ticket"`
	}
	_, err = a.caller.Call(r, &made, http.StatusCreated)
	a.must(err)
	return made.Ticket
}

// reply is the status of what a request gets; a refusal's problem has the code that belongs to it.
func (a access) reply(token, method, url, body string) string {
	a.Helper()
	r, err := http.NewRequestWithContext(a.Context(), method, url, strings.NewReader(body))
	a.must(err)
	if body != "" && method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	status, err := uploader.Caller{HTTP: a.caller.HTTP, Token: token}.Call(r, nil, http.StatusOK, http.StatusCreated, http.StatusNoContent)
	var no *uploader.Refusal
	switch {
	case err == nil:
		return fmt.Sprint(status)
	case !errors.As(err, &no):
		a.Fatal(err)
	}
	if want := map[int]chunkapi.Code{401: "unauthenticated", 403: "forbidden", 404: "not-published", 410: "ticket-ended"}[no.Status]; no.Code != want {
		a.Errorf("%s %s is refused as %v, not as %q", method, url, no, want)
	}
	return fmt.Sprint(no.Status)
}
