package uploadstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/made"
)

// bundleLasts is for how long a bundle is believed once it was read, as nobody watches Secrets. A CA is in it a day
// before it signs.
const bundleLasts = time.Minute

// bundles are what clients of the Managed stores of each namespace trust, as the operator itself keeps it. They are safe
// for concurrent use.
type bundles struct {
	mu sync.Mutex
	of map[string]bundle // by namespace
}

type bundle struct {
	certificates []byte // in PEM
	read         time.Time
}

// look returns the bundle of a namespace that was read lately, if there is one.
func (b *bundles) look(namespace string, now time.Time) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.of[namespace]
	if age := now.Sub(known.read); !ok || age < 0 || age >= bundleLasts {
		delete(b.of, namespace)
		return nil, false
	}
	return known.certificates, true
}

func (b *bundles) keep(namespace string, certificates []byte, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil {
		b.of = map[string]bundle{}
	}
	b.of[namespace] = bundle{certificates, now}
}

// observeBundle returns what clients of the Managed stores of a namespace trust: nothing before the operator has made
// keys there. What somebody made beforehand is none of that.
func (r *Reconciler) observeBundle(ctx context.Context, namespace string, stores []v1alpha1.UploadStore) ([]byte, error) {
	now := r.Clock.Now()
	if known, ok := r.bundles.look(namespace, now); ok {
		return known, nil
	}
	var secret corev1.Secret
	switch err := r.Direct.Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1alpha1.DataplaneSecretName}, &secret); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get the Secret with the namespace's bundle: %w", err)
	case secret.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByOperator || !made.Keys(&secret, stores):
		return nil, nil
	}
	certificates := trust(nil, secret.Data[v1alpha1.CABundleEntry])
	if len(certificates) > 0 {
		r.bundles.keep(namespace, certificates, now)
	}
	return certificates, nil
}
