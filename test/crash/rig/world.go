package rig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/controlplane"
)

const (
	store   = "models"
	replica = "models-0"
	staging = ".slipway/" + replica + ".replica" // where the replica stages
	// admittedEndpoint only has to be a URL: where the dataplane listens changes with each start.
	admittedEndpoint = "http://127.0.0.1:1"
)

// World is a namespace of its own on the process's control plane, with an
// administrator who plays the user and the operator.
type World struct {
	Plane     *controlplane.ControlPlane
	Namespace string
	// User is the dataplane's, as the audit log names it. It has the rights that config/ gives it.
	User string
	// API is the dataplane's way to the API server. A program that stands between the two
	// changes its Host before Dataplane is called.
	API *rest.Config

	t     testing.TB
	admin client.Client
}

// NewWorld makes a world; the control plane is started by the first.
func NewWorld(t testing.TB) *World {
	t.Helper()
	w := &World{t: t}
	if err := w.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *World) make(ctx context.Context) (err error) {
	if w.Plane, err = process.controlPlane(); err != nil {
		return err
	}
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(known); err != nil {
			return err
		}
	}
	api := rest.CopyConfig(w.Plane.Config)
	api.QPS = -1 // the world waits for nobody
	if w.admin, err = client.New(api, client.Options{Scheme: known}); err != nil {
		return err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "crash-"}}
	if err := w.admin.Create(ctx, ns); err != nil {
		return err
	}
	w.Namespace, w.User = ns.Name, "dataplane-of-"+ns.Name
	if err := w.grantRole(ctx); err != nil {
		return err
	}
	w.API, err = w.Plane.AddUser(w.User)
	return err
}

// grantRole lets the dataplane do what config/rbac lets it do, and no more.
func (w *World) grantRole(ctx context.Context) error {
	root, err := Repository()
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(root, "config", "rbac", "dataplane_role.yaml"))
	if err != nil {
		return err
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.Unmarshal(raw, role); err != nil {
		return err
	}
	role.Name = w.User
	if err := w.admin.Create(ctx, role); err != nil {
		return err
	}
	return w.admin.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.User, Namespace: w.Namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: w.User}},
	})
}

// kubeconfig writes the dataplane's.
func (w *World) kubeconfig(file string) error {
	const name = "crash"
	made := *clientcmdapi.NewConfig()
	made.Clusters[name] = &clientcmdapi.Cluster{Server: w.API.Host, CertificateAuthorityData: w.API.CAData}
	made.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: w.API.CertData, ClientKeyData: w.API.KeyData}
	made.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	made.CurrentContext = name
	return clientcmd.WriteToFile(made, file)
}

// Create creates the UploadSession of a session, as its user does, and tells
// the session its UID.
func (w *World) Create(ctx context.Context, s *Session) error {
	u := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: s.Name},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: store}, Key: s.Key, Digest: s.Digest,
			SizeBytes: ptr.To(s.Size), ChunkSizeBytes: s.ChunkSize,
			ConflictPolicy: v1alpha1.ConflictPolicyFail, Completion: v1alpha1.CompletionModeAutomatic,
		},
	}
	if s.Replace {
		u.Spec.ConflictPolicy = v1alpha1.ConflictPolicyReplace
	}
	if s.Reclaim {
		u.Spec.ReclaimPolicy = v1alpha1.ReclaimPolicyDelete
	}
	if s.Explicit {
		u.Spec.Completion = v1alpha1.CompletionModeExplicit
	}
	if err := w.admin.Create(ctx, u); err != nil {
		return fmt.Errorf("create session %s: %w", s.Name, err)
	}
	s.UID = string(u.UID)
	return nil
}

// Admit writes what the operator writes when it admits a session.
func (w *World) Admit(ctx context.Context, s *Session) error {
	admission := applyv1alpha1.UploadSessionAdmission().
		WithReplica(replica).WithEndpoint(admittedEndpoint).WithChunkSizeBytes(s.ChunkSize).
		WithIdleTimeoutSeconds(3600).WithReservedBytes(s.Size).WithAdmittedTime(metav1.Now().Rfc3339Copy())
	err := w.admin.Status().Apply(ctx,
		applyv1alpha1.UploadSession(s.Name, w.Namespace).WithUID(types.UID(s.UID)).
			WithStatus(applyv1alpha1.UploadSessionStatus().WithAdmission(admission)),
		client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("admit session %s: %w", s.Name, err)
	}
	return nil
}

// Delete deletes the UploadSession of a session.
func (w *World) Delete(ctx context.Context, s *Session) error {
	u := &v1alpha1.UploadSession{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: s.Name}}
	return client.IgnoreNotFound(w.admin.Delete(ctx, u))
}

// Statuses are the statuses of all UploadSessions, by name.
func (w *World) Statuses(ctx context.Context) (map[string]v1alpha1.UploadSessionStatus, error) {
	var list v1alpha1.UploadSessionList
	if err := w.admin.List(ctx, &list, client.InNamespace(w.Namespace)); err != nil {
		return nil, err
	}
	statuses := make(map[string]v1alpha1.UploadSessionStatus, len(list.Items))
	for i := range list.Items {
		statuses[list.Items[i].Name] = list.Items[i].Status
	}
	return statuses, nil
}

// StatusWrites is how often the dataplane has written the status of each
// session, by name, from the API server's own audit log.
func (w *World) StatusWrites(ctx context.Context) (map[string]int, error) {
	writes, err := w.Plane.Writes(ctx, controlplane.Filter{User: w.User, Resource: "uploadsessions", Namespace: w.Namespace})
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, write := range writes {
		counts[write.Name]++
	}
	return counts, nil
}
