package keyring

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/made"
)

const entryBundle = v1alpha1.CABundleEntry

// plan is what a reconcile writes.
type plan struct {
	// writes are the Secrets that are not as they should be, in the order in which they are
	// written. One without a resource version is created.
	//
	// The bundle comes before the keys of its CAs: a CA whose key is kept has been in the bundle
	// for as long. If the second write fails, the bundle has a CA too many, which can't sign any
	// more and leaves the bundle after the last certificate that it has signed.
	writes []*corev1.Secret
	// deletes are the Secrets that nobody needs any more, and that Kubernetes does not remove, or those that were made
	// beforehand.
	deletes []*corev1.Secret
	// warning tells the stores of Secrets that were made beforehand, and are made anew; empty without any.
	warning string
	// changes tell a person what is new.
	changes []string
	// obstacle says which Secret is in the way, and what to do. Nothing is written then.
	obstacle string
}

// planFor decides what becomes of the keys and certificates of a namespace. It
// fails only with its source of randomness.
//
// A namespace without a store needs nothing: the Secrets go with the last one.
func planFor(o observation, now time.Time, random io.Reader) (plan, error) {
	if len(o.stores) == 0 {
		return plan{deletes: leftBehind(o)}, nil
	}
	for _, secret := range []*corev1.Secret{o.ca, o.dataplane} {
		if why := obstacle(secret); why != "" {
			return plan{obstacle: why}, nil
		}
	}
	if strange := madeBeforehand(o); len(strange) > 0 {
		return plan{deletes: strange, warning: "Secret " + strange[0].Name + " has Slipway's label and was there before the " +
			"stores of the namespace: who made it may know the keys in it. It is deleted, and made anew with keys of its own."}, nil
	}
	stores := slices.SortedFunc(slices.Values(o.stores), func(a, b v1alpha1.UploadStore) int { return cmp.Compare(a.Name, b.Name) })
	a, changes, err := planAuthorities(o, now, random)
	if err != nil {
		return plan{}, err
	}
	var had map[string][]byte
	if o.dataplane != nil {
		had = o.dataplane.Data
	}
	data := map[string][]byte{}
	var leaves []*x509.Certificate
	for i := range stores {
		s := &stores[i]
		leaf, why, err := planLeaf(s.Name, namesOf(s), had, a, now, random)
		if err != nil {
			return plan{}, fmt.Errorf("certificate of store %s: %w", s.Name, err)
		}
		if data[s.Name+v1alpha1.CertificateSuffix], data[s.Name+v1alpha1.PrivateKeySuffix], err = leaf.encode(); err != nil {
			return plan{}, err
		}
		leaves = append(leaves, leaf.cert)
		if why != "" {
			changes = append(changes, why+" of store "+s.Name)
		}
		if data[s.Name+v1alpha1.TicketKeysSuffix], why, err = planTickets(had[s.Name+v1alpha1.TicketKeysSuffix], now, random); err != nil {
			return plan{}, err
		}
		if why != "" {
			changes = append(changes, why+" of store "+s.Name)
		}
	}
	data[entryBundle] = a.bundle(leaves, now)
	authority, err := a.entries()
	if err != nil {
		return plan{}, err
	}
	owners := ownersOf(stores)
	p := plan{changes: changes}
	for _, secret := range []*corev1.Secret{
		changed(o.namespace, v1alpha1.DataplaneSecretName, corev1.SecretTypeOpaque, o.dataplane, data, owners),
		changed(o.namespace, v1alpha1.CASecretName, corev1.SecretTypeTLS, o.ca, authority, owners),
	} {
		if secret != nil {
			p.writes = append(p.writes, secret)
		}
	}
	return p, nil
}

// obstacle says what is wrong with a Secret that can't be ours.
func obstacle(secret *corev1.Secret) string {
	switch {
	case secret == nil:
		return ""
	case secret.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByOperator:
		return fmt.Sprintf("Secret %s is not Slipway's: it has no label %s=%s. Slipway leaves it alone and keeps no keys and certificates "+
			"in this namespace until somebody renames or deletes it.",
			secret.Name, v1alpha1.ManagedByLabel, v1alpha1.ManagedByOperator)
	case secret.Immutable != nil && *secret.Immutable:
		return fmt.Sprintf("Secret %s is immutable, so its keys and certificates can't be renewed. Delete it, and it is made anew.", secret.Name)
	}
	return ""
}

// madeBeforehand are the Secrets with our label that somebody made before there was a store, with keys of their own.
func madeBeforehand(o observation) []*corev1.Secret {
	var list []*corev1.Secret
	for _, secret := range []*corev1.Secret{o.dataplane, o.ca} {
		if secret != nil && secret.DeletionTimestamp.IsZero() && !made.Keys(secret, o.stores) {
			list = append(list, secret)
		}
	}
	return list
}

// changed returns the Secret as it should be, nil when it is so already.
func changed(namespace, name string, kind corev1.SecretType, observed *corev1.Secret, data map[string][]byte, owners []metav1.OwnerReference) *corev1.Secret {
	if observed == nil {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: name, OwnerReferences: owners,
				Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByOperator},
			},
			Type: kind,
			Data: data,
		}
	}
	if maps.EqualFunc(observed.Data, data, bytes.Equal) && equality.Semantic.DeepEqual(observed.OwnerReferences, owners) {
		return nil
	}
	desired := observed.DeepCopy()
	desired.Data, desired.OwnerReferences = data, owners
	return desired
}

// leftBehind are the Secrets without a store that Kubernetes does not remove, as nothing owns them.
func leftBehind(o observation) []*corev1.Secret {
	var list []*corev1.Secret
	for _, secret := range []*corev1.Secret{o.dataplane, o.ca} {
		if secret != nil && obstacle(secret) == "" && len(secret.OwnerReferences) == 0 && secret.DeletionTimestamp.IsZero() {
			list = append(list, secret)
		}
	}
	return list
}

// ownersOf are the stores, with the last of which Kubernetes removes a Secret. There are none where a store is Managed:
// when that is deleted in the foreground, its active sessions would lose their certificates and keys before they end.
// Its finalizer holds it until the operator is there to see it go.
func ownersOf(stores []v1alpha1.UploadStore) []metav1.OwnerReference {
	var owners []metav1.OwnerReference
	for i := range stores {
		if stores[i].Spec.Dataplane.Mode == v1alpha1.DataplaneModeManaged {
			return nil
		}
		owners = append(owners, metav1.OwnerReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "UploadStore", Name: stores[i].Name, UID: stores[i].UID,
		})
	}
	return owners
}
