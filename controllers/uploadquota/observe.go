package uploadquota

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// observation is all that is known of a quota at one time.
type observation struct {
	quota *v1alpha1.UploadQuota
	// sessions are those of the namespace. They belong to the cache.
	sessions []v1alpha1.UploadSession
	// storeFound tells that the store exists that the quota names, or that it names none.
	storeFound bool
}

// observe does all the reads of a reconcile.
func observe(ctx context.Context, reader client.Reader, key types.NamespacedName) (observation, error) {
	var quota v1alpha1.UploadQuota
	if err := reader.Get(ctx, key, &quota); err != nil {
		return observation{}, err
	}
	var sessions v1alpha1.UploadSessionList
	if err := reader.List(ctx, &sessions, client.InNamespace(key.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return observation{}, fmt.Errorf("list the sessions of the namespace: %w", err)
	}
	o := observation{quota: &quota, sessions: sessions.Items, storeFound: true}
	if name := quota.Spec.StoreRef.Name; name != "" {
		var store v1alpha1.UploadStore
		err := reader.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: name}, &store)
		if client.IgnoreNotFound(err) != nil {
			return observation{}, fmt.Errorf("get the quota's store: %w", err)
		}
		o.storeFound = err == nil
	}
	return o, nil
}
