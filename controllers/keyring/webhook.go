package keyring

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// webhookEntry comes before CertificateSuffix and PrivateKeySuffix in the
// entries of the webhook's own certificate and key. Its CA has those that it has
// in the Secret slipway-ca, and the bundle is in CABundleEntry.
const webhookEntry = "webhook"

// webhookObservation is all that is known of the webhook at one time.
type webhookObservation struct {
	namespace string
	// configuration tells the API server what to trust, nil where there is none.
	configuration *admissionregistrationv1.MutatingWebhookConfiguration
	// secret is nil where there is none.
	secret *corev1.Secret
}

// webhookPlan is what a step writes, and what is served afterwards.
type webhookPlan struct {
	// secret is the Secret as it should be, nil when it is so. Certificate, CA and bundle are
	// written in one, so that they always fit together.
	secret *corev1.Secret
	// configuration is the configuration as it should be, nil when it is so or there is none.
	configuration *admissionregistrationv1.MutatingWebhookConfiguration
	serve         *tls.Certificate
	// changes tell a person what is new.
	changes []string
	// obstacle says which Secret is in the way, and what to do. Nothing is written then.
	obstacle string
}

// planWebhook decides what becomes of the webhook's certificate. It fails only
// with its source of randomness.
//
// The API server is a client as any other: the next CA is in what it trusts for a
// day before it signs. So a replica of the operator may serve what it read a while
// ago, and the configuration may be written late.
func planWebhook(o webhookObservation, now time.Time, random io.Reader) (webhookPlan, error) {
	if why := obstacle(o.secret); why != "" {
		return webhookPlan{obstacle: why}, nil
	}
	a, changes, err := planAuthorities(observation{namespace: o.namespace, ca: o.secret, dataplane: o.secret}, now, random)
	if err != nil {
		return webhookPlan{}, err
	}
	var had map[string][]byte
	if o.secret != nil {
		had = o.secret.Data
	}
	service := v1alpha1.WebhookName + "." + o.namespace + ".svc"
	wanted := sorted([]string{service, service + ".cluster.local", "localhost"}, []string{"127.0.0.1", "::1"})
	leaf, why, err := planLeaf(webhookEntry, wanted, had, a, now, random)
	if err != nil {
		return webhookPlan{}, fmt.Errorf("certificate of the webhook: %w", err)
	}
	if why != "" {
		changes = append(changes, why+" of the webhook")
	}
	data, err := a.entries()
	if err != nil {
		return webhookPlan{}, err
	}
	if data[webhookEntry+v1alpha1.CertificateSuffix], data[webhookEntry+v1alpha1.PrivateKeySuffix], err = leaf.encode(); err != nil {
		return webhookPlan{}, err
	}
	bundle := a.bundle([]*x509.Certificate{leaf.cert}, now)
	data[entryBundle] = bundle
	return webhookPlan{
		secret:        changed(o.namespace, v1alpha1.WebhookName, corev1.SecretTypeOpaque, o.secret, data, ownersOfWebhook(o.configuration)),
		configuration: trusting(o.configuration, bundle),
		serve:         &tls.Certificate{Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: leaf.key, Leaf: leaf.cert},
		changes:       changes,
	}, nil
}

// ownersOfWebhook lets Kubernetes remove the Secret with the configuration,
// without which nobody needs it.
func ownersOfWebhook(c *admissionregistrationv1.MutatingWebhookConfiguration) []metav1.OwnerReference {
	if c == nil {
		return nil
	}
	return []metav1.OwnerReference{{
		APIVersion: admissionregistrationv1.SchemeGroupVersion.String(), Kind: "MutatingWebhookConfiguration", Name: c.Name, UID: c.UID,
	}}
}

// trusting returns the configuration with the bundle, nil when it has it already.
func trusting(c *admissionregistrationv1.MutatingWebhookConfiguration, bundle []byte) *admissionregistrationv1.MutatingWebhookConfiguration {
	if c == nil {
		return nil
	}
	desired, differs := c.DeepCopy(), false
	for i := range desired.Webhooks {
		config := &desired.Webhooks[i].ClientConfig
		differs = differs || !bytes.Equal(config.CABundle, bundle)
		config.CABundle = bundle
	}
	if !differs {
		return nil
	}
	return desired
}
