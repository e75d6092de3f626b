package keyring

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// observation is all that is known of a namespace at one time.
type observation struct {
	namespace string
	// ca and dataplane are nil where there is no such Secret.
	ca, dataplane *corev1.Secret
	stores        []v1alpha1.UploadStore
}

// observe does all the reads of a reconcile. The stores come last: a store that
// has entries in a Secret and is not in the list is gone, and not new.
func observe(ctx context.Context, reader client.Reader, namespace string) (observation, error) {
	o := observation{namespace: namespace}
	for name, secret := range map[string]**corev1.Secret{v1alpha1.CASecretName: &o.ca, v1alpha1.DataplaneSecretName: &o.dataplane} {
		var found corev1.Secret
		err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &found)
		if client.IgnoreNotFound(err) != nil {
			return observation{}, fmt.Errorf("read Secret %s: %w", name, err)
		}
		if err == nil {
			*secret = &found
		}
	}
	var stores v1alpha1.UploadStoreList
	if err := reader.List(ctx, &stores, client.InNamespace(namespace)); err != nil {
		return observation{}, fmt.Errorf("list the stores of the namespace: %w", err)
	}
	o.stores = stores.Items
	return o, nil
}
