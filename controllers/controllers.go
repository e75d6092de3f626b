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
	toolscache "k8s.io/client-go/tools/cache"
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
	"github.com/slipway-dev/slipway/liveness"
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
	replicas, err := observeReplicas(ctx, mgr, time)
	if err != nil {
		return err
	}
	stores := &uploadstore.Reconciler{
		Client:    mgr.GetClient(),
		Direct:    direct,
		Recorder:  mgr.GetEventRecorder(v1alpha1.OperatorFieldManager),
		Dataplane: dataplane,
		Liveness:  replicas,
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
	quotas := &uploadquota.Reconciler{Client: mgr.GetClient(), Clock: time}
	if err := quotas.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the reconciler of quotas: %w", err)
	}
	sessions := &uploadsession.Reconciler{
		Client:   mgr.GetClient(),
		Queue:    uploadsession.NewQueue(mgr.GetAPIReader(), namespace),
		Recorder: mgr.GetEventRecorder(v1alpha1.OperatorFieldManager),
		Clock:    time,
		Liveness: replicas,
		Metrics:  metrics.NewTransitions(registry),
	}
	if err := sessions.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the reconciler of sessions: %w", err)
	}
	return nil
}

// observeReplicas returns an Observer that is shown each Lease of a dataplane as it comes and goes, in a process that
// waits to lead too: when it does it knows which replicas are alive.
func observeReplicas(ctx context.Context, mgr ctrl.Manager, counts clock.PassiveClock) (*liveness.Observer, error) {
	replicas := liveness.NewObserver(counts)
	leases, err := mgr.GetCache().GetInformer(ctx, &coordinationv1.Lease{})
	if err != nil {
		return nil, fmt.Errorf("watch the Leases of the dataplanes: %w", err)
	}
	see := func(obj any) {
		if lease, ok := obj.(*coordinationv1.Lease); ok {
			replicas.Observe(lease)
		}
	}
	_, err = leases.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    see,
		UpdateFunc: func(_, now any) { see(now) },
		DeleteFunc: func(last any) {
			if key, err := toolscache.DeletionHandlingMetaNamespaceKeyFunc(last); err == nil {
				namespace, name, _ := toolscache.SplitMetaNamespaceKey(key)
				replicas.Forget(namespace, name)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch the Leases of the dataplanes: %w", err)
	}
	return replicas, nil
}
