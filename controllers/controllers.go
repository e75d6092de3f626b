package controllers

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/cached"
	"github.com/slipway-dev/slipway/controllers/keyring"
	"github.com/slipway-dev/slipway/controllers/managed"
	"github.com/slipway-dev/slipway/controllers/metrics"
	"github.com/slipway-dev/slipway/controllers/uploadquota"
	"github.com/slipway-dev/slipway/controllers/uploadsession"
	"github.com/slipway-dev/slipway/controllers/uploadstore"
)

// ManagerOptions returns what the reconcilers need of their manager.
func ManagerOptions() (ctrl.Options, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return ctrl.Options{}, fmt.Errorf("build the scheme: %w", err)
		}
	}
	ofAnyStore, err := labels.NewRequirement(v1alpha1.StoreLabel, selection.Exists, nil)
	if err != nil {
		return ctrl.Options{}, fmt.Errorf("select the Leases of the dataplane: %w", err)
	}
	byOperator, err := labels.NewRequirement(v1alpha1.ManagedByLabel, selection.Equals, []string{v1alpha1.ManagedByOperator})
	if err != nil {
		return ctrl.Options{}, fmt.Errorf("select the objects of Managed stores: %w", err)
	}
	ours := cache.ByObject{Label: labels.NewSelector().Add(*ofAnyStore, *byOperator)}
	return ctrl.Options{
		Scheme: scheme,
		Cache: cache.Options{
			// What nobody here reads is most of an object, and as large as its user makes it.
			DefaultTransform: cached.Object,
			ByObject: map[client.Object]cache.ByObject{
				// The Leases of nodes and leaders, which are most of all, are none of ours.
				&coordinationv1.Lease{}: {Label: labels.NewSelector().Add(*ofAnyStore)},
				// Claims are the users' own, and no label tells which are stores'.
				&corev1.PersistentVolumeClaim{}: {Transform: cached.Claim},
				&v1alpha1.UploadSession{}:       {Transform: cached.Session},

				&appsv1.StatefulSet{}:           ours,
				&corev1.Pod{}:                   {Label: ours.Label, Transform: cached.Pod},
				&corev1.Service{}:               ours,
				&corev1.ServiceAccount{}:        ours,
				&networkingv1.NetworkPolicy{}:   ours,
				&policyv1.PodDisruptionBudget{}: ours,
				&rbacv1.RoleBinding{}:           ours,
				&rbacv1.ClusterRoleBinding{}:    ours,
			},
		},
		// A plan for what the reconciler itself has changed would meet a conflict.
		Client: client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
	}, nil
}

// SetupWithManager lets the manager run every reconciler, for one namespace or
// with an empty one for all, as the manager's cache does. The dataplanes of
// Managed stores run as the options say. The registry gets the operator's metrics.
func SetupWithManager(
	ctx context.Context, mgr ctrl.Manager, time clock.PassiveClock, namespace string, dataplane managed.Options, registry prometheus.Registerer,
) error {
	if err := registry.Register(&metrics.Standing{Reader: mgr.GetClient(), Clock: time, Elected: mgr.Elected()}); err != nil {
		return fmt.Errorf("register the metrics: %w", err)
	}
	storeOf := func(obj client.Object) []string {
		session, ok := obj.(*v1alpha1.UploadSession)
		if !ok {
			return nil
		}
		return []string{session.Spec.StoreRef.Name}
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.UploadSession{}, v1alpha1.SelectStore, storeOf); err != nil {
		return fmt.Errorf("index the sessions by store: %w", err)
	}
	// A cache, even one that only follows what was written, lists Secrets, which the operator may not. Nor
	// has one what is somebody else's.
	direct, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("build a client without a cache: %w", err)
	}
	stores := &uploadstore.Reconciler{
		Client:    mgr.GetClient(),
		Direct:    direct,
		Recorder:  mgr.GetEventRecorder(v1alpha1.OperatorFieldManager),
		Dataplane: dataplane,
		Clock:     time,
	}
	if err := stores.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the reconciler of stores: %w", err)
	}
	keys := &keyring.Reconciler{
		Client:   direct,
		Recorder: mgr.GetEventRecorder(v1alpha1.OperatorFieldManager),
		Clock:    time,
		Random:   rand.Reader,
		Metrics:  metrics.NewSecrets(registry),
	}
	if err := keys.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the reconciler of keys and certificates: %w", err)
	}
	quotas := &uploadquota.Reconciler{Client: mgr.GetClient()}
	if err := quotas.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the reconciler of quotas: %w", err)
	}
	sessions := &uploadsession.Reconciler{
		Client:   mgr.GetClient(),
		Queue:    uploadsession.NewQueue(mgr.GetAPIReader(), namespace),
		Recorder: mgr.GetEventRecorder(v1alpha1.OperatorFieldManager),
		Clock:    time,
		Metrics:  metrics.NewTransitions(registry),
	}
	if err := sessions.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the reconciler of sessions: %w", err)
	}
	return nil
}
