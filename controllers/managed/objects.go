package managed

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Objects returns what a store consists of when so many replicas run, in the
// order in which it is to be made: a Pod finds its rights and its Service there.
func Objects(store *v1alpha1.UploadStore, replicas int32, options Options) []client.Object {
	objects := []client.Object{
		serviceAccount(store),
		roleBinding(store, options),
		ClusterRoleBinding(store),
		replicasService(store),
		service(store),
		networkPolicy(store),
		disruptionBudget(store),
		statefulSet(store, replicas, options),
	}
	for _, o := range objects {
		stamp(o)
	}
	return objects
}

// StatefulSet is that of Objects.
func StatefulSet(store *v1alpha1.UploadStore, replicas int32, options Options) *appsv1.StatefulSet {
	s := statefulSet(store, replicas, options)
	stamp(s)
	return s
}

// metaOf is the metadata of an object of the store's. It has no owner: a store that is deleted in the foreground would
// lose its dataplane to the garbage collector while sessions are still active. Its labels say whose it is, and the
// operator deletes it when it lets the store go.
func metaOf(store *v1alpha1.UploadStore, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: store.Namespace, Name: name, Labels: labels(store)}
}

func typeOf(group, version, kind string) metav1.TypeMeta {
	if group != "" {
		version = group + "/" + version
	}
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}

func serviceAccount(store *v1alpha1.UploadStore) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:   typeOf(corev1.GroupName, "v1", "ServiceAccount"),
		ObjectMeta: metaOf(store, ServiceAccountName(store.Name)),
	}
}

func subjects(store *v1alpha1.UploadStore) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: store.Namespace, Name: ServiceAccountName(store.Name)}}
}

func roleBinding(store *v1alpha1.UploadStore, options Options) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta:   typeOf(rbacv1.GroupName, "v1", "RoleBinding"),
		ObjectMeta: metaOf(store, ServiceAccountName(store.Name)),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: options.Role},
		Subjects:   subjects(store),
	}
}

// ClusterRoleBinding lets the store's dataplane ask who calls it. Nothing in a
// namespace can own it: the store's finalizer sees to its end.
func ClusterRoleBinding(store *v1alpha1.UploadStore) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		TypeMeta: typeOf(rbacv1.GroupName, "v1", "ClusterRoleBinding"),
		ObjectMeta: metav1.ObjectMeta{
			Name: ClusterRoleBindingName(types.NamespacedName{Namespace: store.Namespace, Name: store.Name}), Labels: labels(store),
		},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: tokenReviewerRole},
		Subjects: subjects(store),
	}
}

// replicasService gives each replica a name of its own, also before it is
// ready: others forward to a replica that is still taking up its sessions.
func replicasService(store *v1alpha1.UploadStore) *corev1.Service {
	s := service(store)
	s.Name = v1alpha1.ReplicasServiceName(store.Name)
	s.Spec.ClusterIP = corev1.ClusterIPNone
	s.Spec.PublishNotReadyAddresses = true
	return s
}

func service(store *v1alpha1.UploadStore) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   typeOf(corev1.GroupName, "v1", "Service"),
		ObjectMeta: metaOf(store, store.Name),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: identity(store),
			Ports: []corev1.ServicePort{{
				Name: httpsName, Port: servicePort, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString(httpsName),
			}},
		},
	}
}

// networkPolicy is config/network-policy/dataplane.yaml for one store.
func networkPolicy(store *v1alpha1.UploadStore) *networkingv1.NetworkPolicy {
	port := func(number int32) []networkingv1.NetworkPolicyPort {
		return []networkingv1.NetworkPolicyPort{{Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(intstr.FromInt32(number))}}
	}
	monitoring := &metav1.LabelSelector{MatchLabels: map[string]string{"metrics": "enabled"}}
	return &networkingv1.NetworkPolicy{
		TypeMeta:   typeOf(networkingv1.GroupName, "v1", "NetworkPolicy"),
		ObjectMeta: metaOf(store, store.Name),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: identity(store)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				{Ports: port(servicePort)},
				{Ports: port(healthPort), From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: monitoring}}},
			},
		},
	}
}

// disruptionBudget lets a node be drained, of one replica at a time.
func disruptionBudget(store *v1alpha1.UploadStore) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   typeOf(policyv1.GroupName, "v1", "PodDisruptionBudget"),
		ObjectMeta: metaOf(store, store.Name),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: ptr.To(intstr.FromInt32(1)),
			Selector:       &metav1.LabelSelector{MatchLabels: identity(store)},
			// One that can't start is no reason to keep a node.
			UnhealthyPodEvictionPolicy: ptr.To(policyv1.AlwaysAllow),
		},
	}
}

// statefulSet runs the replicas. Each ordinal is at most one Pod, which is the
// fence between two that would hold the same sessions. They need not wait for
// each other to start; a change goes through them one by one.
func statefulSet(store *v1alpha1.UploadStore, replicas int32, options Options) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		TypeMeta:   typeOf(appsv1.GroupName, "v1", "StatefulSet"),
		ObjectMeta: metaOf(store, store.Name),
		Spec: appsv1.StatefulSetSpec{
			Replicas:            &replicas,
			ServiceName:         v1alpha1.ReplicasServiceName(store.Name),
			PodManagementPolicy: appsv1.ParallelPodManagement,
			UpdateStrategy:      appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType},
			Selector:            &metav1.LabelSelector{MatchLabels: identity(store)},
			Template:            podTemplate(store, options),
		},
	}
}
