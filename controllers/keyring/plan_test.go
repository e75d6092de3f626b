package keyring

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func TestANewNamespace(t *testing.T) {
	w := newWorld(t, "models", "data")
	p := w.step(2)
	if want := []string{
		"a new CA",
		"a new certificate of store data", "a first ticket key of store data",
		"a new certificate of store models", "a first ticket key of store models",
	}; !slices.Equal(p.changes, want) {
		t.Errorf("changes are %q, want %q", p.changes, want)
	}
	if len(p.writes) != 2 || p.writes[0].Name != "slipway-dataplane" || p.writes[1].Name != "slipway-ca" {
		t.Fatalf("writes are %v", p.writes)
	}
	for _, secret := range p.writes {
		if secret.Namespace != "ml" || secret.Labels["app.kubernetes.io/managed-by"] != "slipway" {
			t.Errorf("the metadata is %+v", secret.ObjectMeta)
		}
		var owners []string
		for _, owner := range secret.OwnerReferences {
			owners = append(owners, owner.APIVersion+" "+owner.Kind+" "+owner.Name+" "+string(owner.UID))
		}
		if want := []string{
			"uploads.slipway.dev/v1alpha1 UploadStore data " + string(w.store("data").UID),
			"uploads.slipway.dev/v1alpha1 UploadStore models " + string(w.store("models").UID),
		}; !slices.Equal(owners, want) {
			t.Errorf("%s belongs to %q, want %q", secret.Name, owners, want)
		}
	}
	if got, want := slices.Sorted(maps.Keys(w.o.dataplane.Data)), []string{
		"ca.crt", "data.crt", "data.key", "data.tickets", "models.crt", "models.key", "models.tickets",
	}; !slices.Equal(got, want) || w.o.dataplane.Type != corev1.SecretTypeOpaque {
		t.Errorf("a Secret of type %s with %q, want %q", w.o.dataplane.Type, got, want)
	}
	if got, want := slices.Sorted(maps.Keys(w.o.ca.Data)), []string{"tls.crt", "tls.key"}; !slices.Equal(got, want) || w.o.ca.Type != corev1.SecretTypeTLS {
		t.Errorf("a Secret of type %s with %q, want %q", w.o.ca.Type, got, want)
	}
	if bytes.Contains(w.o.dataplane.Data["ca.crt"], []byte("PRIVATE")) || bytes.Contains(w.o.dataplane.Data["models.crt"], []byte("PRIVATE")) {
		t.Error("a private key is among the certificates")
	}

	ca, leaf := w.bundle()[0], w.leaf("models")
	if life := ca.NotAfter.Sub(w.now); !ca.IsCA || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign || life.Round(time.Minute) != 2*365*day {
		t.Errorf("the CA is %+v, for %v", ca, life)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature ||
		!slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || leaf.NotAfter.Sub(w.now).Round(time.Minute) != 90*day {
		t.Errorf("the certificate is %+v", leaf)
	}
	for _, cert := range []*x509.Certificate{ca, leaf} {
		if cert.NotBefore.After(w.now.Add(-59 * time.Minute)) {
			t.Errorf("%s is refused by a clock that is behind", cert.Subject)
		}
	}
	keys := w.keys("models")
	if len(keys) != 1 || len(keys[0].Key) != 32 || keys[0].ID == "" || keys[0].NotBefore.After(w.now) || bytes.Equal(keys[0].Key, w.keys("data")[0].Key) {
		t.Errorf("the ticket keys are %v", keys)
	}
}

func TestTheNamesOfAManagedStore(t *testing.T) {
	w := newWorld(t, "models")
	w.step(2)
	if w.leaf("models").VerifyHostname("models-0.models-replicas.ml.svc") == nil {
		t.Error("the certificate of a sidecar is for Pods that it does not have")
	}
	w.store("models").Spec.Dataplane.Mode = v1alpha1.DataplaneModeManaged
	w.step(1)
	for _, name := range []string{"models.ml.svc", "models-0.models-replicas.ml.svc", "models-12.models-replicas.ml.svc.cluster.local"} {
		if err := w.leaf("models").VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
}

func TestTheNamesOfACertificate(t *testing.T) {
	w := newWorld(t, "models")
	own := []string{
		"models", "models.ml", "models.ml.svc", "models.ml.svc.cluster.local", "models-0.models.ml.svc",
		"models-0.models.ml.svc.cluster.local", "localhost", "127.0.0.1", "::1",
	}
	for _, test := range []struct {
		name    string
		spec    v1alpha1.CertificateSpec
		more    []string
		renewed bool
	}{
		{name: "by default"},
		{
			name: "with others", renewed: true, more: []string{"uploads.example.com", "a.pods.example.com", "10.0.0.1", "2001:db8::1"},
			spec: v1alpha1.CertificateSpec{DNSNames: []string{"uploads.example.com", "*.pods.example.com", "localhost"}, IPAddresses: []string{"10.0.0.1", "2001:db8::1"}},
		},
		{
			name: "in another order and spelling", more: []string{"uploads.example.com"},
			spec: v1alpha1.CertificateSpec{DNSNames: []string{"*.pods.example.com", "uploads.example.com"}, IPAddresses: []string{"2001:0db8:0::1", "10.0.0.1", "::1"}},
		},
		{name: "without one of them", renewed: true, spec: v1alpha1.CertificateSpec{DNSNames: []string{"uploads.example.com"}}, more: []string{"uploads.example.com"}},
		{name: "by default again", renewed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			w.store("models").Spec.Dataplane.Certificate = test.spec
			before := w.o.dataplane
			p := w.step(2)
			if before != nil && slices.Contains(p.changes, "a certificate for other names of store models") != test.renewed {
				t.Errorf("changes are %q", p.changes)
			}
			for _, name := range slices.Concat(own, test.more) {
				if err := w.leaf("models").VerifyHostname(name); err != nil {
					t.Error(err)
				}
			}
			for _, name := range []string{"data.ml.svc", "models.other.svc", "10.0.0.2", "kubernetes.default.svc"} {
				if w.leaf("models").VerifyHostname(name) == nil {
					t.Errorf("the certificate is for %s too", name)
				}
			}
		})
	}
}

func TestRepairs(t *testing.T) {
	other := newWorld(t, "models")
	other.o.namespace = "other"
	other.step(2)
	swap := func(w *world, key string) { w.o.dataplane.Data[key] = other.o.dataplane.Data[key] }
	tickets := func(w *world, edit func([]v1alpha1.TicketKey) []v1alpha1.TicketKey) {
		file, err := json.Marshal(v1alpha1.TicketKeys{Keys: edit(w.keys("models"))})
		if err != nil {
			t.Fatal(err)
		}
		w.o.dataplane.Data["models.tickets"] = file
	}
	const leaf, key = "a new certificate of store models", "a first ticket key of store models"
	for _, test := range []struct {
		name    string
		damage  func(w *world)
		changes []string
		// silent repairs make nothing new.
		silent bool
	}{
		{name: "nothing", damage: func(*world) {}},
		{name: "no certificate", damage: func(w *world) { delete(w.o.dataplane.Data, "models.crt") }, changes: []string{leaf}},
		{name: "no key", damage: func(w *world) { delete(w.o.dataplane.Data, "models.key") }, changes: []string{leaf}},
		{name: "another's key", damage: func(w *world) { swap(w, "models.key") }, changes: []string{leaf}},
		{name: "another's certificate and key", damage: func(w *world) { swap(w, "models.crt"); swap(w, "models.key") }, changes: []string{leaf}},
		{name: "rubbish for a certificate", damage: func(w *world) { w.o.dataplane.Data["models.crt"] = []byte("x") }, changes: []string{leaf}},
		{name: "the CA as a certificate", damage: func(w *world) {
			w.o.dataplane.Data["models.crt"], w.o.dataplane.Data["models.key"] = w.o.ca.Data["tls.crt"], w.o.ca.Data["tls.key"]
		}, changes: []string{leaf}},
		{name: "a certificate behind a certificate", damage: func(w *world) {
			w.o.dataplane.Data["models.crt"] = append(w.o.dataplane.Data["models.crt"], other.o.dataplane.Data["models.crt"]...)
		}, changes: []string{leaf}},
		{name: "a key in another coat", damage: func(w *world) {
			block, _ := pem.Decode(w.o.dataplane.Data["models.key"])
			block.Type = "EC PRIVATE KEY"
			w.o.dataplane.Data["models.key"] = pem.EncodeToMemory(block)
		}, changes: []string{leaf}},
		{name: "no bundle", damage: func(w *world) { delete(w.o.dataplane.Data, "ca.crt") }, silent: true},
		{name: "a bundle with the wrong CA too", damage: func(w *world) {
			w.o.dataplane.Data["ca.crt"] = append(w.o.dataplane.Data["ca.crt"], other.o.dataplane.Data["ca.crt"]...)
		}, silent: true},
		{name: "an entry that nobody knows", damage: func(w *world) { w.o.dataplane.Data["note"] = []byte("x") }, silent: true},
		{name: "no owners", damage: func(w *world) { w.o.dataplane.OwnerReferences, w.o.ca.OwnerReferences = nil, nil }, silent: true},
		{name: "no ticket keys", damage: func(w *world) { delete(w.o.dataplane.Data, "models.tickets") }, changes: []string{key}},
		{name: "rubbish for ticket keys", damage: func(w *world) { w.o.dataplane.Data["models.tickets"] = []byte("{") }, changes: []string{key}},
		{name: "a short ticket key", damage: func(w *world) {
			tickets(w, func(k []v1alpha1.TicketKey) []v1alpha1.TicketKey { k[0].Key = k[0].Key[1:]; return k })
		}, changes: []string{key}},
		{name: "a ticket key from the far future", damage: func(w *world) {
			tickets(w, func(k []v1alpha1.TicketKey) []v1alpha1.TicketKey {
				return append(k, v1alpha1.TicketKey{ID: "x", Key: k[0].Key, NotBefore: metav1.NewTime(w.now.Add(365 * day))})
			})
		}, silent: true},
		{name: "two ticket keys of one ID", damage: func(w *world) {
			tickets(w, func(k []v1alpha1.TicketKey) []v1alpha1.TicketKey {
				return append(k, v1alpha1.TicketKey{ID: k[0].ID, Key: make([]byte, 32), NotBefore: k[0].NotBefore})
			})
		}, silent: true},
		{name: "a ticket key without an ID", damage: func(w *world) {
			tickets(w, func(k []v1alpha1.TicketKey) []v1alpha1.TicketKey { k[0].ID = ""; return k })
		}, changes: []string{key}},
		{name: "a ticket key without a time", damage: func(w *world) {
			tickets(w, func(k []v1alpha1.TicketKey) []v1alpha1.TicketKey { k[0].NotBefore = metav1.Time{}; return k })
		}, changes: []string{key}},
		// What is served stays, until a client can know the new CA.
		{name: "no CA", damage: func(w *world) { w.o.ca = nil }, changes: []string{"a new CA"}},
		{name: "no key of the CA", damage: func(w *world) { w.o.ca.Data["tls.key"] = nil }, changes: []string{"a new CA"}},
		{name: "a CA that is none", damage: func(w *world) {
			w.o.ca.Data["tls.crt"], w.o.ca.Data["tls.key"] = w.o.dataplane.Data["models.crt"], w.o.dataplane.Data["models.key"]
		}, changes: []string{"a new CA"}},
		{name: "a next CA that was never listed", damage: func(w *world) {
			w.o.ca.Data["next.crt"], w.o.ca.Data["next.key"] = other.o.ca.Data["tls.crt"], other.o.ca.Data["tls.key"]
		}, silent: true},
		{name: "nothing at all", damage: func(w *world) { w.o.ca, w.o.dataplane = nil, nil }, changes: []string{"a new CA", leaf, key}},
		{name: "a clock that was a year ahead", damage: func(w *world) { w.now = w.now.Add(-365 * day); w.since["models"] = w.now }, changes: []string{"a new CA", leaf, key}},
		{name: "an operator that was away for years", damage: func(w *world) { w.now = w.now.Add(1000 * day) }, changes: []string{
			"a new CA", leaf, "a next ticket key of store models",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "models")
			w.step(2)
			w.now = w.now.Add(2 * day) // so that the CA is known
			before := w.o.dataplane.DeepCopy()
			test.damage(w)
			p := w.step(2)
			if !slices.Equal(p.changes, test.changes) {
				t.Errorf("changes are %q, want %q", p.changes, test.changes)
			}
			if wrote := len(p.writes) > 0; wrote != (test.silent || test.changes != nil) {
				t.Errorf("writes are %v", p.writes)
			}
			if test.silent && !maps.EqualFunc(w.o.dataplane.Data, before.Data, bytes.Equal) {
				t.Error("it is not as it was")
			}
			w.published = w.published[len(w.published)-1:]
			w.tickets = nil
			w.check()
		})
	}
}

func TestForeignSecretsAreLeftAlone(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(w *world) *corev1.Secret
		words  string
	}{
		{"no label", func(w *world) *corev1.Secret { w.o.ca.Labels = nil; return w.o.ca }, "Secret slipway-ca is not Slipway's"},
		{"another's label", func(w *world) *corev1.Secret {
			w.o.dataplane.Labels = map[string]string{v1alpha1.ManagedByLabel: "Helm"}
			return w.o.dataplane
		}, "Secret slipway-dataplane is not Slipway's"},
		{"immutable", func(w *world) *corev1.Secret { w.o.dataplane.Immutable = ptr.To(true); return w.o.dataplane }, "Delete it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "models")
			w.step(2)
			test.change(w).Data = nil
			if p := w.plan(); len(p.writes) > 0 || len(p.changes) > 0 || !strings.Contains(p.obstacle, test.words) {
				t.Errorf("the plan is %+v", p)
			}
			if len(w.plan().obstacle) > 1024 {
				t.Error("the note is longer than the API server takes")
			}
		})
	}
}

func TestStoresComeAndGo(t *testing.T) {
	w := newWorld(t, "models", "data")
	w.step(2)
	kept := w.o.dataplane.DeepCopy().Data
	w.remove("data")
	w.step(2)
	for _, gone := range []string{"data.crt", "data.key", "data.tickets"} {
		if _, ok := w.o.dataplane.Data[gone]; ok {
			t.Errorf("%s is still there", gone)
		}
		delete(kept, gone)
	}
	if !maps.EqualFunc(w.o.dataplane.Data, kept, bytes.Equal) || len(w.o.ca.OwnerReferences) != 1 {
		t.Error("what the other store has is not as it was")
	}
	w.remove("models")
	if p := w.plan(); len(p.writes) > 0 {
		t.Errorf("a namespace without stores gets %v", p.writes)
	}
}

// What a Managed store needs to serve its last sessions has no owner that the garbage collector could act on, and
// goes with the last store all the same.
func TestSecretsOfManagedStores(t *testing.T) {
	w := newWorld(t, "models", "data")
	w.step(2)
	w.store("models").Spec.Dataplane.Mode = v1alpha1.DataplaneModeManaged
	w.step(2)
	for _, secret := range []*corev1.Secret{w.o.dataplane, w.o.ca} {
		if len(secret.OwnerReferences) != 0 {
			t.Errorf("%s belongs to %v", secret.Name, secret.OwnerReferences)
		}
	}
	w.remove("data")
	w.step(2)
	if p := w.plan(); len(p.deletes) != 0 {
		t.Errorf("with a store left, %v are deleted", p.deletes)
	}
	w.remove("models")
	if p := w.plan(); len(p.writes) != 0 || len(p.deletes) != 2 {
		t.Errorf("without stores %d Secrets are written and %d deleted, want 0 and 2", len(p.writes), len(p.deletes))
	}
	w.o.ca.Labels = nil
	w.o.dataplane.DeletionTimestamp = &metav1.Time{Time: w.now}
	if p := w.plan(); len(p.deletes) != 0 {
		t.Errorf("what is not Slipway's, or goes already, is deleted: %v", p.deletes)
	}
}

// TestARotation follows one CA from its last days to the end of its last certificate.
func TestARotation(t *testing.T) {
	w := newWorld(t, "models")
	w.step(2)
	old := w.bundle()[0]
	signedBy := func(c *x509.Certificate) bool { return w.leaf("models").CheckSignatureFrom(c) == nil }
	w.now = issuedAt(old).Add(484 * day) // hour by hour takes long
	w.step(2)
	if len(w.bundle()) > 1 {
		t.Fatal("the next CA joins early")
	}
	for ; len(w.bundle()) == 1; w.now = w.now.Add(time.Hour) {
		w.step(2)
	}
	joined := w.now.Add(-time.Hour)
	if age := joined.Sub(issuedAt(old)); age < 486*day || age > 487*day {
		t.Errorf("the next CA joins after %v", age)
	}
	next := w.bundle()[0]
	if next.Equal(old) || w.o.ca.Data["next.key"] == nil || w.o.ca.Data["next.crt"] == nil {
		t.Fatal("the next CA is not there")
	}
	w.now = joined.Add(overlap - time.Second)
	w.step(2)
	if readAuthority(w.o.ca, "tls.crt", "tls.key", w.now).cert.Equal(next) {
		t.Error("the next CA signs before its day has passed")
	}
	w.now = joined.Add(overlap + time.Second)
	w.step(2)
	if !readAuthority(w.o.ca, "tls.crt", "tls.key", w.now).cert.Equal(next) || w.o.ca.Data["next.key"] != nil {
		t.Error("the next CA does not sign")
	}
	if !signedBy(old) {
		t.Error("the certificate is renewed with the CA")
	}
	w.now = issuedAt(w.leaf("models")).Add(58 * day)
	for ; !signedBy(next); w.now = w.now.Add(time.Hour) {
		w.step(2)
		if !slices.ContainsFunc(w.bundle(), old.Equal) {
			t.Fatal("the old CA is gone before its certificate")
		}
	}
	renewed := w.now.Add(-time.Hour)
	w.now = renewed.Add(overlap - time.Second)
	w.step(2)
	if len(w.bundle()) != 2 {
		t.Error("the old CA goes with its certificate, which a replica may still show")
	}
	w.now = renewed.Add(overlap + time.Second)
	w.step(2)
	if len(w.bundle()) != 1 || !w.bundle()[0].Equal(next) {
		t.Error("the old CA stays")
	}
}

// TestACertificateEndsWithItsCA: no chain is longer than its shortest link.
func TestACertificateEndsWithItsCA(t *testing.T) {
	w := newWorld(t, "models")
	w.step(2)
	w.now = issuedAt(w.bundle()[0]).Add(caLife - 10*day) // an operator that was away
	w.step(2)
	if leaf, ca := w.leaf("models"), w.bundle()[1]; leaf.CheckSignatureFrom(ca) != nil || !leaf.NotAfter.Equal(ca.NotAfter) {
		t.Errorf("the certificate ends on %v, its CA on %v", leaf.NotAfter, ca.NotAfter)
	}
}

type broken struct{}

var errBroken = errors.New("no randomness")

func (broken) Read([]byte) (int, error) { return 0, errBroken }

func TestNoKeyWithoutRandomness(t *testing.T) {
	w := newWorld(t, "models")
	if p, err := planFor(w.o, w.now, broken{}); !errors.Is(err, errBroken) || len(p.writes) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := planFor(w.o, w.now, rand.Reader); err != nil || len(p.writes) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}
