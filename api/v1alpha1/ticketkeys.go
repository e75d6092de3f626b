package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The Secrets that the operator keeps in each namespace with an UploadStore.
const (
	// CASecretName names the Secret with the certificate and key of the namespace's own CA, of
	// type kubernetes.io/tls. Nobody mounts it.
	CASecretName = "slipway-ca"
	// DataplaneSecretName names the Secret with what the dataplanes of the namespace mount:
	// CABundleEntry, and an entry with each of the suffixes for each store. No entry of a store
	// is for the dataplane of another one.
	DataplaneSecretName = "slipway-dataplane"
	// ManagedByLabel has the value ManagedByOperator on a Secret that the operator keeps. It
	// never writes to one without it.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	// ManagedByOperator is the value of ManagedByLabel.
	ManagedByOperator = "slipway"
)

// Entries of the Secret DataplaneSecretName. An UploadStore's name has no dot and is not "ca", so
// that no two entries have the same name.
const (
	// CABundleEntry has the certificates of every CA that a client must trust now, as PEM.
	CABundleEntry = "ca.crt"
	// CertificateSuffix comes after the store's name: its certificate, as PEM.
	CertificateSuffix = ".crt"
	// PrivateKeySuffix comes after the store's name: its certificate's key, as PEM (PKCS #8).
	PrivateKeySuffix = ".key"
	// TicketKeysSuffix comes after the store's name: its TicketKeys, as JSON.
	TicketKeysSuffix = ".tickets"
)

const (
	// MaxTicketLifetime is the longest that a ticket is good for.
	MaxTicketLifetime = 24 * time.Hour
	// TicketKeyLead is how long before its notBefore a key is listed, so that every replica has
	// it by then: no replica may read a file of keys that is older than this. A store's first key
	// has no replica to wait for.
	TicketKeyLead = time.Hour
	// TicketKeyInterval is the time between the notBefore of one key and the next.
	TicketKeyInterval = 7 * 24 * time.Hour
	// TicketKeyBytes is the length of a key in bytes.
	TicketKeyBytes = 32
)

// TicketKeys is the file with the keys that sign and verify the tickets of one
// store. The operator writes it and every replica of the store reads it. The
// newest key whose notBefore has passed signs; every key that is listed
// verifies. A key stays listed until no ticket that it signed can still be good:
// MaxTicketLifetime and TicketKeyLead after the notBefore of its successor.
//
// +kubebuilder:object:generate=false
type TicketKeys struct {
	// Keys are sorted by notBefore, the oldest first.
	Keys []TicketKey `json:"keys"`
}

// TicketKey is one key of HMAC with SHA-256.
//
// +kubebuilder:object:generate=false
type TicketKey struct {
	// ID is unique in the file and goes with each ticket that the key signs. It is no secret.
	ID string `json:"id"`
	// Key is TicketKeyBytes random bytes, base64 in JSON.
	Key []byte `json:"key"`
	// NotBefore is when the key begins to sign, to the second.
	NotBefore metav1.Time `json:"notBefore"`
}
