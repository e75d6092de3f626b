package keyring

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

const day = 24 * time.Hour

// world is a namespace, those who read its files, and a clock.
type world struct {
	t       *testing.T
	now     time.Time
	o       observation
	version int
	// published are the Secrets that dataplanes and clients have seen, the oldest first.
	published []published
	// since is when a store was made.
	since   map[string]time.Time
	tickets []ticket
	changes map[string]int
}

type published struct {
	at   time.Time
	data map[string][]byte
	// keys are the ticket keys of each store.
	keys map[string][]v1alpha1.TicketKey
}

// ticket is what a replica has signed.
type ticket struct {
	store, id, key string
	expires        time.Time
}

func newWorld(t *testing.T, stores ...string) *world {
	t.Helper()
	w := &world{
		t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 123456789, time.UTC),
		o: observation{namespace: "ml"}, since: map[string]time.Time{}, changes: map[string]int{},
	}
	for _, name := range stores {
		w.add(name)
	}
	return w
}

func (w *world) add(name string) {
	w.since[name] = w.now
	w.o.stores = append(w.o.stores, v1alpha1.UploadStore{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.o.namespace, Name: name, UID: types.UID(name + w.now.String()),
	}})
}

func (w *world) remove(name string) {
	delete(w.since, name)
	w.o.stores = slices.DeleteFunc(w.o.stores, func(s v1alpha1.UploadStore) bool { return s.Name == name })
	w.tickets = slices.DeleteFunc(w.tickets, func(t ticket) bool { return t.store == name })
}

func (w *world) plan() plan {
	w.t.Helper()
	p, err := planFor(w.o, w.now, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// write is what the API server does.
func (w *world) write(secret *corev1.Secret) {
	w.t.Helper()
	at := map[string]**corev1.Secret{v1alpha1.CASecretName: &w.o.ca, v1alpha1.DataplaneSecretName: &w.o.dataplane}[secret.Name]
	if (*at == nil) != (secret.ResourceVersion == "") || *at != nil && (*at).ResourceVersion != secret.ResourceVersion {
		w.t.Fatalf("%s is written over resource version %q", secret.Name, secret.ResourceVersion)
	}
	w.version++
	*at = secret.DeepCopy()
	(*at).ResourceVersion = strconv.Itoa(w.version)
	if *at == w.o.dataplane {
		keys := map[string][]v1alpha1.TicketKey{}
		for store := range w.since {
			var file v1alpha1.TicketKeys
			if err := json.Unmarshal(secret.Data[store+v1alpha1.TicketKeysSuffix], &file); err != nil {
				w.t.Fatal(err)
			}
			keys[store] = file.Keys
		}
		w.published = append(w.published, published{at: w.now, data: secret.DeepCopy().Data, keys: keys})
	}
}

// step plans and writes until nothing is left to do, which must be at once
// unless a write was to fail.
func (w *world) step(writes int) plan {
	w.t.Helper()
	p := w.plan()
	if p.obstacle != "" {
		w.t.Fatal(p.obstacle)
	}
	for i, secret := range p.writes {
		if i == writes {
			return p
		}
		w.write(secret)
	}
	for _, c := range p.changes {
		w.changes[c]++
	}
	if len(p.writes) == 0 {
		return p // as it would again
	}
	if again := w.plan(); len(again.writes) > 0 || len(again.changes) > 0 {
		w.t.Fatalf("%v: what was done again does %v, after %v", w.now, again.changes, p.changes)
	}
	return p
}

// seen are the Secrets that somebody may have who is behind by d.
func (w *world) seen(d time.Duration) []published {
	first := 0
	for i, p := range w.published {
		if !p.at.After(w.now.Add(-d)) {
			first = i
		}
	}
	return w.published[first:]
}

// check lets every replica, up to an hour behind, serve every client, up to a
// day behind, and every other replica's tickets.
func (w *world) check() {
	w.t.Helper()
	for name, since := range w.since {
		store := w.store(name)
		for _, replica := range w.seen(time.Hour) {
			if replica.at.Before(since) {
				continue
			}
			leaf := parsePair(replica.data[name+v1alpha1.CertificateSuffix], replica.data[name+v1alpha1.PrivateKeySuffix])
			if leaf == nil {
				w.t.Fatalf("%v: store %s has no certificate", w.now, name)
			}
			for _, client := range w.seen(overlap) {
				if client.at.Before(since) {
					continue
				}
				roots := x509.NewCertPool()
				roots.AppendCertsFromPEM(client.data[v1alpha1.CABundleEntry])
				options := x509.VerifyOptions{Roots: roots, CurrentTime: w.now, DNSName: name + "." + store.Namespace + ".svc"}
				if _, err := leaf.cert.Verify(options); err != nil {
					w.t.Fatalf("%v: store %s, as published at %v, for a client of %v: %v", w.now, name, replica.at, client.at, err)
				}
			}
			w.mint(name, replica)
		}
	}
	w.tickets = slices.DeleteFunc(w.tickets, func(t ticket) bool { return !w.now.Before(t.expires) })
	for _, t := range w.tickets {
		for _, replica := range w.seen(time.Hour) {
			if replica.at.Before(w.since[t.store]) {
				continue
			}
			if !slices.ContainsFunc(replica.keys[t.store], func(k v1alpha1.TicketKey) bool { return k.ID == t.id && string(k.Key) == t.key }) {
				w.t.Fatalf("%v: a ticket of store %s until %v is refused by a replica with the keys of %v", w.now, t.store, t.expires, replica.at)
			}
		}
	}
}

// mint signs a ticket, as a replica does that has read the file.
func (w *world) mint(store string, replica published) {
	w.t.Helper()
	var signer *v1alpha1.TicketKey
	for _, k := range replica.keys[store] {
		if !k.NotBefore.After(w.now) && (signer == nil || k.NotBefore.After(signer.NotBefore.Time)) {
			signer = &k
		}
	}
	if signer == nil {
		w.t.Fatalf("%v: store %s can sign no ticket with the keys of %v", w.now, store, replica.at)
	}
	w.tickets = append(w.tickets, ticket{store: store, id: signer.ID, key: string(signer.Key), expires: w.now.Add(v1alpha1.MaxTicketLifetime)})
}

// keys are the ticket keys that are listed now.
func (w *world) keys(store string) []v1alpha1.TicketKey {
	return w.published[len(w.published)-1].keys[store]
}

func (w *world) store(name string) *v1alpha1.UploadStore {
	w.t.Helper()
	for i := range w.o.stores {
		if w.o.stores[i].Name == name {
			return &w.o.stores[i]
		}
	}
	w.t.Fatalf("there is no store %s", name)
	return nil
}

func (w *world) leaf(store string) *x509.Certificate {
	w.t.Helper()
	return parsePair(w.o.dataplane.Data[store+v1alpha1.CertificateSuffix], w.o.dataplane.Data[store+v1alpha1.PrivateKeySuffix]).cert
}

func (w *world) bundle() []*x509.Certificate {
	return parseCertificates(w.o.dataplane.Data[v1alpha1.CABundleEntry])
}
