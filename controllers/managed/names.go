package managed

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Options are what the operator is told of the dataplanes that it runs.
type Options struct {
	// Image is the image of a store that names none.
	Image string
	// Role names the ClusterRole with what a dataplane may do in its namespace.
	Role string
}

// DefaultRole is the ClusterRole of config/rbac/dataplane_role.yaml.
const DefaultRole = "slipway-dataplane-role"

// tokenReviewerRole is that of config/rbac/token_reviewer_role.yaml: to ask whose a token is, which is of no namespace.
const tokenReviewerRole = "slipway-token-reviewer"

const (
	nameLabel      = "app.kubernetes.io/name"
	componentLabel = "app.kubernetes.io/component"
)

// ServiceAccountName is the identity of the store's Pods, and the name of what binds a role to it.
func ServiceAccountName(store string) string { return "slipway-" + store }

// clusterBindingPrefix begins the names of the ClusterRoleBindings. No name of another kind has a colon.
const clusterBindingPrefix = "slipway:"

// ClusterRoleBindingName is unique in the cluster.
func ClusterRoleBindingName(store types.NamespacedName) string {
	return clusterBindingPrefix + store.Namespace + ":" + store.Name
}

// StoreOfClusterRoleBinding returns the store of a ClusterRoleBinding by its name.
func StoreOfClusterRoleBinding(name string) (store types.NamespacedName, ok bool) {
	rest, ok := strings.CutPrefix(name, clusterBindingPrefix)
	if !ok {
		return store, false
	}
	store.Namespace, store.Name, ok = strings.Cut(rest, ":")
	return store, ok
}

// Endpoint is the base URL under which clients in the cluster reach some replica.
func Endpoint(store *v1alpha1.UploadStore) string {
	return fmt.Sprintf("https://%s.%s.svc:%d", store.Name, store.Namespace, servicePort)
}

// ReplicaEndpoint is the base URL under which clients in the cluster reach one replica. It is empty where no Pod of the
// store can have that name.
func ReplicaEndpoint(store *v1alpha1.UploadStore, replica string) string {
	ordinal, ok := strings.CutPrefix(replica, store.Name+"-")
	if n, err := strconv.ParseUint(ordinal, 10, 31); !ok || err != nil || strconv.FormatUint(n, 10) != ordinal {
		return ""
	}
	return endpointOf(store, replica)
}

func endpointOf(store *v1alpha1.UploadStore, pod string) string {
	return fmt.Sprintf("https://%s.%s.%s.svc:%d", pod, v1alpha1.ReplicasServiceName(store.Name), store.Namespace, servicePort)
}

// identity is what the Pods of a store are selected by. It never changes.
func identity(store *v1alpha1.UploadStore) map[string]string {
	return map[string]string{v1alpha1.StoreLabel: store.Name, v1alpha1.ManagedByLabel: v1alpha1.ManagedByOperator}
}

// labels are those of every object of a store.
func labels(store *v1alpha1.UploadStore) map[string]string {
	l := identity(store)
	l[nameLabel], l[componentLabel] = "slipway", "dataplane"
	return l
}

// plain returns a map of the API with strings for values, nil for an empty one.
func plain[V ~string](m map[string]V) map[string]string {
	if len(m) == 0 {
		return nil
	}
	strs := make(map[string]string, len(m))
	for k, v := range m {
		strs[k] = string(v)
	}
	return strs
}
