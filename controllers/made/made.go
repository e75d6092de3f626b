package made

import (
	"bytes"
	"encoding/pem"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// For reports whether an object can have been made for one of the stores. What is older than all of them can't: who
// made it could not know that they would come. Times of objects are the API server's, in whole seconds.
func For(object metav1.Object, stores ...v1alpha1.UploadStore) bool {
	at := object.GetCreationTimestamp()
	return slices.ContainsFunc(stores, func(s v1alpha1.UploadStore) bool { return !at.Before(&s.CreationTimestamp) })
}

// Keys reports whether a Secret with Slipway's label can be one that the operator keeps for the stores of its
// namespace. One that was made for stores that have gone since is known by those that came after them: it is theirs, or
// holds a certificate that their status, which the operator alone writes, tells clients to trust.
func Keys(secret *corev1.Secret, stores []v1alpha1.UploadStore) bool {
	if For(secret, stores...) {
		return true
	}
	certificates := slices.Concat(blocks(secret.Data[corev1.TLSCertKey]), blocks(secret.Data[v1alpha1.CABundleEntry]))
	return slices.ContainsFunc(stores, func(s v1alpha1.UploadStore) bool {
		owns := func(o metav1.OwnerReference) bool { return o.UID == s.UID }
		if slices.ContainsFunc(secret.OwnerReferences, owns) {
			return true
		}
		return slices.ContainsFunc(blocks(s.Status.CABundle), func(trusted []byte) bool {
			return slices.ContainsFunc(certificates, func(c []byte) bool { return bytes.Equal(c, trusted) })
		})
	})
}

// blocks are the contents of a file in PEM.
func blocks(file []byte) [][]byte {
	var list [][]byte
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		list = append(list, block.Bytes)
	}
	return list
}
