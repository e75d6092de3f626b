package api_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// The lines around the table of docs/security.md.
const (
	identitiesBegin = "<!-- Each cell is what TestWhoIsADataplane gets. -->\n"
	identitiesEnd   = "<!-- The end of what TestWhoIsADataplane gets. -->\n"
)

// identity is somebody who tries to be the dataplane of the Managed store "models".
type identity struct {
	who string
	as  client.Client
	// known is what they may do for certain, by which their rights are known to count; nil for nothing.
	known func(client.Client) error
}

// deed is something that the dataplane of "models" does, or by which somebody becomes it.
type deed struct {
	what string
	try  func(client.Client) error
}

// TestWhoIsADataplane tries what a dataplane does as everybody who might, with real tokens at a real API server that
// has the roles and policies of config/, and holds docs/security.md to what comes of it.
func TestWhoIsADataplane(t *testing.T) {
	i := newIdentities(t)
	deeds := i.deeds()
	byName := map[string]func(client.Client) error{}
	for _, d := range deeds {
		byName[d.what] = d.try
	}
	who := i.identities(byName)
	for _, file := range []string{"dataplanes.yaml", "leases.yaml", "tokens.yaml", "validating.yaml"} {
		applyPolicy(i.world, file)
	}
	for _, w := range who {
		if w.known != nil {
			holds(t, func() bool { return w.known(w.as) == nil })
		}
	}
	editor, unbound := who[len(who)-1].as, who[1].as
	holds(t, func() bool {
		return byName["Lease of its replica"](editor) != nil && byName["a token of it"](editor) != nil &&
			byName["session in another's name"](editor) != nil && byName["session in another's name"](unbound) != nil
	})

	var table strings.Builder
	table.WriteString("| who |")
	for _, d := range deeds {
		table.WriteString(" " + d.what + " |")
	}
	table.WriteString("\n|" + strings.Repeat(" --- |", len(deeds)+1) + "\n")
	for _, w := range who {
		table.WriteString("| " + w.who + " |")
		for _, d := range deeds {
			cell := " yes |"
			if err := d.try(w.as); err != nil {
				cell = " no |"
			}
			table.WriteString(cell)
		}
		table.WriteString("\n")
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	i.must(err)
	_, after, begins := strings.Cut(string(page), identitiesBegin)
	promised, _, ends := strings.Cut(after, identitiesEnd)
	if !begins || !ends || promised != table.String() {
		t.Errorf("docs/security.md says otherwise than what is\n%s", &table)
	}
}

// deeds are tried for replica models-0, and change nothing.
func (i identities) deeds() []deed {
	i.Helper()
	mine := i.pinned("models", "models-0")
	i.must(i.Create(i.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: v1alpha1.DataplaneSecretName},
	}))
	report := []byte(`{"status":{"progress":{"receivedBytes":1,"receivedChunks":1,"totalChunks":2,"percent":1}}}`)
	lease := func(name string, labels map[string]string) func(client.Client) error {
		return func(c client.Client) error {
			return c.Create(i.Context(), &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name, Labels: labels},
				Spec:       coordinationv1.LeaseSpec{RenewTime: ptr.To(metav1.NewMicroTime(time.Now()))},
			}, client.DryRunAll)
		}
	}
	return []deed{
		{"session in another's name", func(c client.Client) error {
			s := i.make("UploadSession", session.set("storeRef.name", "models").set("owner", "alice"))
			return c.Create(i.Context(), s, client.DryRunAll)
		}},
		{"report on its session", func(c client.Client) error {
			dry := client.PatchOptions{DryRun: []string{metav1.DryRunAll}}
			return c.Status().Patch(i.Context(), mine.DeepCopy(), client.RawPatch(types.MergePatchType, report),
				&client.SubResourcePatchOptions{PatchOptions: dry})
		}},
		{"Lease of its replica", lease("slipway-models-0", map[string]string{v1alpha1.StoreLabel: "models"})},
		{"Lease of an application", lease("leader", nil)},
		{"a token of it", func(c client.Client) error {
			account := metav1.ObjectMeta{Namespace: i.namespace, Name: "slipway-models"}
			return c.SubResource("token").Create(i.Context(), &corev1.ServiceAccount{ObjectMeta: account},
				&authenticationv1.TokenRequest{})
		}},
		{"its keys", func(c client.Client) error {
			key := client.ObjectKey{Namespace: i.namespace, Name: v1alpha1.DataplaneSecretName}
			return c.Get(i.Context(), key, &corev1.Secret{})
		}},
		{"a Pod under its ServiceAccount", func(c client.Client) error {
			return c.Create(i.Context(), i.podOf("models-9", "slipway-models"), client.DryRunAll)
		}},
	}
}

// identities are those who try; the last one has Kubernetes' role edit.
func (i identities) identities(deeds map[string]func(client.Client) error) []identity {
	i.Helper()
	elsewhere := identities{newWorldOf(i.T, i.plane.Config), i.plane, i.clients}
	elsewhere.account("slipway-models", dataplaneRules(i.T)...)
	s := elsewhere.make("UploadStore", store.set("dataplane.mode", "Managed"))
	s.SetName("models")
	i.must(elsewhere.Create(i.Context(), s))
	atHome := func(c client.Client) error {
		return c.List(i.Context(), &v1alpha1.UploadSessionList{}, client.InNamespace(elsewhere.namespace))
	}
	here := func(c client.Client) error {
		return c.List(i.Context(), &v1alpha1.UploadSessionList{}, client.InNamespace(i.namespace))
	}
	appLease := deeds["Lease of an application"]

	grant(i.world, "leader", rbacv1.PolicyRule{
		APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"},
		Verbs: []string{"create", "get", "update", "patch"},
	})
	leader, err := i.plane.AddUser("leader")
	i.must(err)
	editor := i.editor("editor")
	grant(i.world, "editor", uploaderRules(i.T)...)
	impersonating := func(account string) client.Client {
		config := rest.CopyConfig(editor)
		config.Impersonate = rest.ImpersonationConfig{UserName: i.user(account)}
		return clientOf(i.T, config)
	}
	return []identity{
		{"Pod `S-0` of the store, whoever has made it", i.bearer("slipway-models", i.pod("models-0", "slipway-models")), here},
		{"a token of `slipway-S` that is of no Pod", i.bearer("slipway-models", nil), here},
		{"a Pod of another name under `slipway-S`", i.bearer("slipway-models", i.pod("evil", "slipway-models")), here},
		{"the dataplane of another `Managed` store", i.bearer("slipway-other", i.pod("other-0", "slipway-other")), here},
		{
			"the dataplane of S in another namespace",
			elsewhere.bearer("slipway-models", elsewhere.pod("models-0", "slipway-models")), atHome,
		},
		{"a sidecar of the namespace", i.bearer("slipway-carried", i.pod("web-0", "slipway-carried")), here},
		{"`edit`, impersonating `slipway-S`", impersonating("slipway-models"), here},
		{"`edit`, impersonating a sidecar's ServiceAccount", impersonating("slipway-carried"), here},
		{"who may write Leases", clientOf(i.T, leader), appLease},
		{"`edit`, and `slipway-uploader` with it", clientOf(i.T, editor), func(c client.Client) error {
			return errors.Join(appLease(c), here(c))
		}},
	}
}

// uploaderRules are those that config/ adds to Kubernetes' role edit.
func uploaderRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "rbac", "user_roles.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.UnmarshalStrict([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		if role.Labels["rbac.authorization.k8s.io/aggregate-to-edit"] == "true" {
			return role.Rules
		}
	}
	t.Fatal("no role adds to edit")
	return nil
}
