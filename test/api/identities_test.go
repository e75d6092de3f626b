package api_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/managed"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// identities is a namespace with two Managed stores, "models" and "other", and one with a sidecar, "carried", and users
// with Kubernetes' own role edit and tokens of ServiceAccounts, all real.
type identities struct {
	world
	plane   *controlplane.ControlPlane
	clients kubernetes.Interface
}

func newIdentities(t *testing.T) identities {
	t.Helper()
	own, err := controlplane.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Stop(); err != nil {
			t.Error(err)
		}
	})
	i := identities{newWorldOf(t, own.Config), own, kubernetes.NewForConfigOrDie(own.Config)}
	for name, mode := range map[string]string{"models": "Managed", "other": "Managed", "carried": "Sidecar"} {
		s := i.make("UploadStore", store.set("dataplane.mode", mode).set("volume.claimName", name))
		s.SetName(name)
		i.must(i.Create(t.Context(), s))
		i.account(managed.ServiceAccountName(name), dataplaneRules(t)...)
	}
	return i
}

func (i identities) must(err error) {
	i.Helper()
	if err != nil {
		i.Fatal(err)
	}
}

// account makes a ServiceAccount with these rules in the namespace.
func (i identities) account(name string, rules ...rbacv1.PolicyRule) {
	i.Helper()
	i.must(i.Create(i.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name},
	}))
	grant(i.world, i.user(name), rules...)
}

func (i identities) user(account string) string {
	return "system:serviceaccount:" + i.namespace + ":" + account
}

// pod makes a Pod under a ServiceAccount, as a controller would.
func (i identities) pod(name, account string) *corev1.Pod {
	i.Helper()
	pod := i.podOf(name, account)
	i.must(i.Create(i.Context(), pod))
	return pod
}

func (i identities) podOf(name, account string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name},
		Spec: corev1.PodSpec{
			ServiceAccountName: account, Containers: []corev1.Container{{Name: "dataplane", Image: "dataplane"}},
		},
	}
}

// ask is a request for a token of a ServiceAccount, bound to a Pod if there is one.
func (i identities) ask(as kubernetes.Interface, account string, pod *corev1.Pod) (string, error) {
	request := &authenticationv1.TokenRequest{}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID,
		}
	}
	accounts := as.CoreV1().ServiceAccounts(i.namespace)
	made, err := accounts.CreateToken(i.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	return made.Status.Token, nil
}

// bearer is a client with a token of a ServiceAccount, which an administrator asks for.
func (i identities) bearer(account string, pod *corev1.Pod) client.Client {
	i.Helper()
	token, err := i.ask(i.clients, account, pod)
	i.must(err)
	config := rest.AnonymousClientConfig(i.plane.Config)
	config.BearerToken = token
	return clientOf(i.T, config)
}

// editor is a user with the rules of Kubernetes' own role edit in the namespace. What adds to that role is added by a
// controller, which a control plane of tests has not.
func (i identities) editor(user string, groups ...string) *rest.Config {
	i.Helper()
	i.must(i.Create(i.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, GenerateName: "edit-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:aggregate-to-edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}))
	config, err := i.plane.AddUser(user, groups...)
	i.must(err)
	return config
}

// admissionTo is one to a replica.
const admissionTo = `{"replica":"%s","endpoint":"https://replica","admittedTime":"2026-11-28T12:00:00Z",
	"chunkSizeBytes":1048576,"idleTimeoutSeconds":60,"reservedBytes":1048576}`

// pinned makes a session of a store that was admitted to a replica.
func (i identities) pinned(store, replica string) *unstructured.Unstructured {
	i.Helper()
	s := i.make("UploadSession", session.set("storeRef.name", store).set("owner", "alice"))
	i.must(i.Create(i.Context(), s))
	if replica == "" {
		return s
	}
	admitted := fmt.Appendf(nil, `{"status":{"admission":`+admissionTo+`}}`, replica)
	i.must(i.Status().Patch(i.Context(), s, client.RawPatch(types.MergePatchType, admitted)))
	return s
}

// attempts are what a dataplane may do for replica models-0, and what it must not.
func (i identities) attempts() (may, mayNot map[string]func(client.Client) error) {
	i.Helper()
	mine, others, waiting := i.pinned("models", "models-0"), i.pinned("models", "models-1"), i.pinned("models", "")
	elsewhere := i.pinned("other", "models-0")
	create := func(store string) func(client.Client) error {
		return func(c client.Client) error {
			s := i.make("UploadSession", session.set("storeRef.name", store).set("owner", "alice"))
			return c.Create(i.Context(), s, client.DryRunAll)
		}
	}
	status := func(s *unstructured.Unstructured, patch string) func(client.Client) error {
		return func(c client.Client) error {
			raw := client.RawPatch(types.MergePatchType, []byte(`{"status":`+patch+`}`))
			dry := client.PatchOptions{DryRun: []string{metav1.DryRunAll}}
			return c.Status().Patch(i.Context(), s.DeepCopy(), raw, &client.SubResourcePatchOptions{PatchOptions: dry})
		}
	}
	lease := func(name string, labels map[string]string) func(client.Client) error {
		return func(c client.Client) error {
			return c.Create(i.Context(), &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: i.namespace, Name: name, Labels: labels},
				Spec: coordinationv1.LeaseSpec{
					HolderIdentity: ptr.To("a"), RenewTime: ptr.To(metav1.NewMicroTime(time.Now())),
				},
			}, client.DryRunAll)
		}
	}
	admitted := fmt.Sprintf(`{"admission":`+admissionTo+`}`, "models-0")
	const progress = `{"progress":{"receivedBytes":1,"receivedChunks":1,"totalChunks":2,"percent":1}}`
	models := map[string]string{v1alpha1.StoreLabel: "models"}
	may = map[string]func(client.Client) error{
		"create a session in somebody's name": create("models"),
		"report on its session":               status(mine, progress),
		"renew its Lease":                     lease("slipway-models-0", models),
	}
	mayNot = map[string]func(client.Client) error{
		"end a session":                            status(mine, `{"completionTime":"2026-11-28T12:00:00Z"}`),
		"create a session of another store":        create("other"),
		"report on another replica's session":      status(others, progress),
		"report on a session that is not admitted": status(waiting, progress),
		"report on a session of another store":     status(elsewhere, progress),
		"pin a session to itself":                  status(waiting, admitted),
		"renew the Lease of another replica":       lease("slipway-models-1", models),
		"write a Lease of an app":                  lease("leader", nil),
	}
	return may, mayNot
}

// A dataplane of a Managed store writes what is its replica's, with the token of its Pod; and no other token, nor who
// impersonates its ServiceAccount, writes anything.
func TestManagedDataplanesWriteWhatIsTheirs(t *testing.T) {
	i := newIdentities(t)
	editor := i.editor("editor")
	impersonating := rest.CopyConfig(editor)
	impersonating.Impersonate = rest.ImpersonationConfig{UserName: i.user("slipway-models")}
	may, mayNot := i.attempts()
	dataplane := i.bearer("slipway-models", i.pod("models-0", "slipway-models"))
	strangers := map[string]client.Client{
		"a token of no Pod":                         i.bearer("slipway-models", nil),
		"a token of a Pod that is not the store's":  i.bearer("slipway-models", i.pod("evil", "slipway-models")),
		"a token of a Pod whose name goes on":       i.bearer("slipway-models", i.pod("models-0-evil", "slipway-models")),
		"who has edit and impersonates the account": clientOf(t, impersonating),
		"the dataplane of another store":            i.bearer("slipway-other", i.pod("other-0", "slipway-other")),
	}
	carried := i.bearer("slipway-carried", i.pod("web-7d4b9", "slipway-carried"))

	all := maps.Clone(may)
	maps.Copy(all, mayNot)
	holds(t, func() bool { return may["create a session in somebody's name"](dataplane) == nil })
	for what, try := range mayNot {
		if err := try(dataplane); err != nil {
			t.Errorf("without the policy it may not %s: %v", what, err)
		}
	}
	applyPolicy(i.world, "dataplanes.yaml")
	holds(t, func() bool { return mayNot["write a Lease of an app"](dataplane) != nil })

	for what, try := range may {
		if err := try(dataplane); err != nil {
			t.Errorf("it may not %s: %v", what, err)
		}
	}
	for what, try := range mayNot {
		if err := try(dataplane); err == nil || !strings.Contains(err.Error(), "slipway-managed-dataplanes") {
			t.Errorf("it may %s: %v", what, err)
		}
	}
	for who, c := range strangers {
		for what, try := range all {
			if who == "the dataplane of another store" && what == "create a session of another store" {
				continue // which is its own
			}
			if err := try(c); err == nil || !strings.Contains(err.Error(), "slipway-managed-dataplanes") {
				t.Errorf("%s may %s: %v", who, what, err)
			}
		}
	}
	mustRefuse(t, may["report on its session"](strangers["a token of no Pod"]),
		"writes only with the token of a Pod of the store, and this one is of no Pod")
	mustRefuse(t, mayNot["report on another replica's session"](dataplane), "is pinned to 'models-1'")
	// A sidecar's Pod has a name of its own.
	for what, try := range all {
		if err := try(carried); err != nil {
			t.Errorf("a sidecar may not %s: %v", what, err)
		}
	}
}

// Who has Kubernetes' role edit asks for tokens of the ServiceAccounts of the namespace, but not of a Managed store's.
func TestTokensOfADataplaneAreItsPods(t *testing.T) {
	i := newIdentities(t)
	editor := kubernetes.NewForConfigOrDie(i.editor("editor"))
	pod := i.pod("models-0", "slipway-models")
	// A cluster's node authorizer lets a kubelet ask for those of its Pods.
	kubelet := kubernetes.NewForConfigOrDie(i.editor("system:node:a", "system:nodes"))
	secret := func(name, account string) error {
		_, err := editor.CoreV1().Secrets(i.namespace).Create(context.Background(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}},
			Type:       corev1.SecretTypeServiceAccountToken,
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err //nolint:wrapcheck // looked at as it is
	}
	holds(t, func() bool { _, err := i.ask(editor, "slipway-models", nil); return err == nil })
	if err := secret("token", "slipway-models"); err != nil {
		t.Fatalf("without the policy: %v", err)
	}
	applyPolicy(i.world, "tokens.yaml")
	holds(t, func() bool { _, err := i.ask(editor, "slipway-models", nil); return err != nil })

	const words = "is the dataplane of UploadStore 'models', of which only its Pods have tokens"
	_, err := i.ask(editor, "slipway-models", nil)
	mustRefuse(t, err, words)
	_, err = i.ask(editor, "slipway-models", pod)
	mustRefuse(t, err, words)
	mustRefuse(t, secret("token", "slipway-models"), words)
	for _, account := range []string{"default", "slipway-carried"} {
		if account == "default" {
			i.account(account)
		}
		if _, err := i.ask(editor, account, nil); err != nil {
			t.Errorf("a token of %s: %v", account, err)
		}
		if err := secret("of-"+account, account); err != nil {
			t.Errorf("a Secret for a token of %s: %v", account, err)
		}
	}
	if _, err := i.ask(kubelet, "slipway-models", pod); err != nil {
		t.Errorf("the kubelet: %v", err)
	}
	if _, err := i.ask(i.clients, "slipway-models", pod); err != nil {
		t.Errorf("who may impersonate everybody: %v", err)
	}
}
