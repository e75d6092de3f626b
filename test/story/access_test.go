package story

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// calls are those of the protocol, in the order in which each caller tries them. The last one is
// about another session of the same kind, since what is published can't be aborted.
var accessCalls = []struct {
	name, method, path, body string
}{
	{"create", http.MethodPost, "", `{"key": "access/new", "sizeBytes": 1}`},
	{"status", http.MethodGet, "/%s", ""},
	{"ticket", http.MethodPost, "/%s/tickets", `{"verbs": ["get"]}`},
	{"chunk", http.MethodPut, "/%s/chunks/0", "x"},
	{"complete", http.MethodPost, "/%s/complete", ""},
	{"content", http.MethodGet, "/%s/content", ""},
	{"abort", http.MethodDelete, "/%s", ""},
}

// accessCallers are who tries, with what in the request: "" is nothing.
var accessCallers = []struct {
	who   string
	token func(a access, session, doomed string) string
}{
	{"nobody: no token", func(access, string, string) string { return "" }},
	{"nobody: a token that nobody issued", func(access, string, string) string { return "eyJhbGciOiJub25lIn0.e30." }},
	{"ServiceAccount with `slipway-uploader`", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "sends", uploaderRole), audience)
	}},
	{"ServiceAccount with `slipway-admin`", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "rules", "slipway-admin"), audience)
	}},
	{"ServiceAccount with `slipway-viewer`", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "looks", "slipway-viewer"), audience)
	}},
	{"ServiceAccount without a role", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "none", ""), audience)
	}},
	{"ServiceAccount that may read and send another session", func(a access, _, _ string) string {
		return a.token(a.readerOfAnother(), audience)
	}},
	{"ServiceAccount of another namespace, with `slipway-uploader` there", func(a access, _, _ string) string {
		account := a.account(stranger, "sends", "")
		a.bind(stranger, account, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: uploaderRole})
		return a.token(account, audience)
	}},
	{"ServiceAccount of another namespace, with `slipway-uploader` here", func(a access, _, _ string) string {
		return a.token(a.account(stranger, "guest", uploaderRole), audience)
	}},
	{"an uploader's token for another store of the namespace", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "another-store", uploaderRole), v1alpha1.TokenAudience(namespace, "datasets"))
	}},
	{"an uploader's token for the store of this name in another namespace", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "another-namespace", uploaderRole), v1alpha1.TokenAudience(stranger, storeName))
	}},
	{"an uploader's token for `uploads.slipway.dev`, the audience of earlier versions", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "any-store", uploaderRole), v1alpha1.GroupVersion.Group)
	}},
	{"an uploader's token for another audience", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "elsewhere", uploaderRole), "elsewhere.example.com")
	}},
	{"an uploader's token for the API server", func(a access, _, _ string) string {
		return a.token(a.account(namespace, "apiserver", uploaderRole))
	}},
	{"an uploader's token that has half an hour left", func(a access, _, _ string) string {
		return a.remade(a.token(a.account(namespace, "fresh", uploaderRole), audience), time.Now().Add(time.Hour/2))
	}},
	{"the same, a minute after it has expired", func(a access, _, _ string) string {
		return a.remade(a.token(a.account(namespace, "late", uploaderRole), audience), time.Now().Add(-time.Minute))
	}},
	{"an uploader's token whose ServiceAccount was deleted", func(a access, _, _ string) string {
		account := a.account(namespace, "deleted", uploaderRole)
		token := a.token(account, audience)
		a.removed(account, token)
		return token
	}},
	{"the same, and there is another one of that name", func(a access, _, _ string) string {
		account := a.account(namespace, "again", uploaderRole)
		token := a.token(account, audience)
		a.removed(account, token)
		a.account(namespace, "again", "")
		return token
	}},
	{"ticket of the session for `update` and `get`", func(a access, session, _ string) string { return a.ticket(session, `"update", "get"`) }},
	{"ticket of the session for `get`", func(a access, session, _ string) string { return a.ticket(session, `"get"`) }},
	{"ticket for `delete` of the session that is aborted", func(a access, _, doomed string) string { return a.ticket(doomed, `"delete"`) }},
	{"ticket of another session", func(a access, _, _ string) string {
		return a.ticket(a.session("other").Name, `"update", "get", "delete"`)
	}},
	{"ticket of a session that was deleted and created again under its name", nil}, // see recreated
}

// TestAccess tries every call with every kind of credentials, real ones from a real API server
// that has the roles of config/rbac, at the dataplane as it ships; and holds docs/security.md to
// what comes of it.
func TestAccess(t *testing.T) {
	a := newAccess(t)
	table := accessTable{}
	for _, c := range accessCalls {
		table.columns = append(table.columns, c.name)
	}
	for i, who := range accessCallers {
		session, doomed := a.session(fmt.Sprint("session-", i)), a.session(fmt.Sprint("doomed-", i))
		var token string
		if who.token != nil {
			token = who.token(a, session.Name, doomed.Name)
		} else {
			session, token = a.recreated(fmt.Sprint("session-", i), session)
		}
		row := accessRow{who: who.who}
		for _, c := range accessCalls {
			name := session.Name
			if c.name == "abort" {
				name = doomed.Name
			}
			url := a.endpoint + "/v1/namespaces/" + namespace + "/uploadsessions"
			if c.path != "" {
				url += fmt.Sprintf(c.path, name)
			}
			row.cells = append(row.cells, a.reply(token, c.method, url, c.body))
		}
		table.rows = append(table.rows, row)
	}
	table.compare(t)
}

// recreated makes a ticket of a session, and has the session deleted and created again under its name.
func (a access) recreated(key string, session *created) (again *created, ticket string) {
	a.Helper()
	ticket = a.ticket(session.Name, `"update", "get", "delete"`)
	if out, err := a.kubectl(a.Context(), "delete", "upl", session.Name); err != nil {
		a.Fatalf("%v\n%s", err, out)
	}
	again = a.session(key)
	if again.Name != session.Name || again.UID == session.UID {
		a.Fatalf("%+v is not a namesake of %+v", again, session)
	}
	return again, ticket
}
