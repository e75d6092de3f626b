package keyring

import (
	"crypto/rand"
	"crypto/x509"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// hook is the webhook's Secret and configuration, and a clock.
type hook struct {
	t       *testing.T
	now     time.Time
	o       webhookObservation
	version int
	changes []string
	// shown are the certificates that some replica may serve, trusted the bundles that the API
	// server may have, each since when.
	shown   []dated[*x509.Certificate]
	trusted []dated[[]byte]
}

type dated[T any] struct {
	since time.Time
	what  T
}

func newHook(t *testing.T) *hook {
	t.Helper()
	return &hook{t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 123456789, time.UTC), o: webhookObservation{
		namespace: "slipway-system",
		configuration: &admissionregistrationv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.InjectionConfigurationName, UID: "1"},
			Webhooks:   []admissionregistrationv1.MutatingWebhook{{Name: "inject.uploads.slipway.dev"}},
		},
	}}
}

func (h *hook) plan() webhookPlan {
	h.t.Helper()
	p, err := planWebhook(h.o, h.now, rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// step plans and writes, the configuration only if it can be; what is planned
// then is nothing.
func (h *hook) step(configurable bool) {
	h.t.Helper()
	p := h.plan()
	if p.obstacle != "" {
		h.t.Fatal(p.obstacle)
	}
	if p.secret != nil {
		h.version++
		h.o.secret = p.secret.DeepCopy()
		h.o.secret.ResourceVersion = strconv.Itoa(h.version)
	}
	h.changes = append(h.changes, p.changes...)
	h.shown = append(h.shown, dated[*x509.Certificate]{h.now, p.serve.Leaf})
	if !configurable {
		return
	}
	if p.configuration != nil {
		h.o.configuration = p.configuration.DeepCopy()
	}
	h.trusted = append(h.trusted, dated[[]byte]{h.now, h.o.configuration.Webhooks[0].ClientConfig.CABundle})
	if p.secret == nil && p.configuration == nil {
		return // as it would again
	}
	if again := h.plan(); again.secret != nil || again.configuration != nil || len(again.changes) > 0 {
		h.t.Fatalf("%v: done again, it does %v", h.now, again.changes)
	}
}

// recent are those that somebody may have who is behind by d.
func recent[T any](all []dated[T], now time.Time, d time.Duration) []dated[T] {
	first := 0
	for i, x := range all {
		if !x.since.After(now.Add(-d)) {
			first = i
		}
	}
	return all[first:]
}

// check lets every replica, up to 10 minutes behind, be called with what the API
// server trusts.
func (h *hook) check() {
	h.t.Helper()
	bundle := h.trusted[len(h.trusted)-1].what
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, leaf := range recent(h.shown, h.now, 10*time.Minute) {
		for _, name := range []string{"slipway-webhook.slipway-system.svc", "127.0.0.1"} {
			if _, err := leaf.what.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: h.now, DNSName: name}); err != nil {
				h.t.Fatalf("%v: the certificate of %v, for %s: %v", h.now, leaf.since, name, err)
			}
		}
	}
}

// TestYearsOfAWebhook: through every rotation there is no call that fails, also
// where the configuration can't be written for most of a day.
func TestYearsOfAWebhook(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	written := h.now
	for begin := h.now; h.now.Sub(begin) < 3*365*day; h.now = h.now.Add(time.Minute + time.Duration(r.Int64N(int64(10*time.Hour)))) {
		configurable := h.now.Sub(written) > 12*time.Hour || r.IntN(4) == 0 || len(h.trusted) == 0
		if configurable {
			written = h.now
		}
		h.step(configurable)
		h.check()
	}
	var authorities, leaves int
	for _, change := range h.changes {
		switch {
		case change == "the next CA signs":
			authorities++
		case strings.HasPrefix(change, "a renewed certificate"):
			leaves++
		}
	}
	if authorities != 2 || leaves < 15 || leaves > 18 {
		t.Errorf("%d CAs and %d certificates in three years", authorities, leaves)
	}
}

func TestTheSecretOfTheWebhook(t *testing.T) {
	h := newHook(t)
	h.step(true)
	s := h.o.secret
	if s.Name != "slipway-webhook" || s.Namespace != "slipway-system" || s.Type != corev1.SecretTypeOpaque || s.Labels[v1alpha1.ManagedByLabel] != "slipway" {
		t.Errorf("Secret %+v", s)
	}
	// So that it goes with the configuration.
	if len(s.OwnerReferences) != 1 || s.OwnerReferences[0].UID != "1" || s.OwnerReferences[0].Kind != "MutatingWebhookConfiguration" {
		t.Errorf("it belongs to %+v", s.OwnerReferences)
	}
	first := h.plan().serve.Leaf

	t.Run("another replica serves the same", func(t *testing.T) {
		if !h.plan().serve.Leaf.Equal(first) {
			t.Error("it serves another certificate")
		}
	})
	t.Run("one that is lost is made anew and trusted at once", func(t *testing.T) {
		h.o.secret = nil
		h.shown = nil
		h.step(true)
		h.check()
	})
	t.Run("what somebody wrote into the configuration is put right", func(t *testing.T) {
		h.o.configuration.Webhooks[0].ClientConfig.CABundle = []byte("mine")
		h.step(true)
		h.check()
	})
	t.Run("without a configuration it serves, and writes none", func(t *testing.T) {
		h.o.configuration = nil
		if p := h.plan(); p.configuration != nil || p.serve == nil || p.secret == nil || p.secret.OwnerReferences != nil {
			t.Errorf("plan %+v", p)
		}
	})
	t.Run("a Secret of somebody else's is left alone", func(t *testing.T) {
		for name, change := range map[string]func(*corev1.Secret){
			"no label":  func(s *corev1.Secret) { s.Labels = nil },
			"immutable": func(s *corev1.Secret) { s.Immutable = ptr.To(true) },
		} {
			h.o.secret = s.DeepCopy()
			change(h.o.secret)
			if p := h.plan(); p.secret != nil || p.configuration != nil || p.serve != nil || !strings.Contains(p.obstacle, "slipway-webhook") {
				t.Errorf("%s: plan %+v", name, p)
			}
		}
	})
}
