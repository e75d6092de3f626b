package controllers

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/slipway-dev/slipway/controllers/injection"
	"github.com/slipway-dev/slipway/controllers/keyring"
)

// WebhookOptions are how the webhook that injects sidecars is served.
type WebhookOptions struct {
	// Host is the address where it listens, every one when empty.
	Host string
	// Port is the TCP port where it listens.
	Port int
	// Namespace is where its Service and its Secret are: the operator's own.
	Namespace string
	// DataplaneImage is the image of the sidecars.
	DataplaneImage string
}

// SetupWebhook lets the manager serve the webhook that injects sidecars, in
// every replica, and keep its certificate. The manager is ready once it can be called.
func SetupWebhook(mgr ctrl.Manager, time clock.Clock, o WebhookOptions) error {
	// Neither Secrets nor webhooks are watched, and a store may be younger than what a cache knows.
	direct, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("build a client without a cache: %w", err)
	}
	keeper := &keyring.WebhookKeeper{Client: direct, Clock: time, Random: rand.Reader, Namespace: o.Namespace}
	server := webhook.NewServer(webhook.Options{
		Host: o.Host, Port: o.Port,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.GetCertificate = keeper.GetCertificate }},
	})
	server.Register(injection.Path, &admission.Webhook{Handler: &injection.Handler{
		Reader: direct, Decoder: admission.NewDecoder(mgr.GetScheme()), Options: injection.Options{Image: o.DataplaneImage},
	}})
	if err := mgr.Add(keeper); err != nil {
		return fmt.Errorf("keep the webhook's certificate: %w", err)
	}
	if err := mgr.Add(server); err != nil {
		return fmt.Errorf("serve the webhook: %w", err)
	}
	if err := mgr.AddReadyzCheck("webhook", server.StartedChecker()); err != nil {
		return fmt.Errorf("add the readiness check of the webhook: %w", err)
	}
	return nil
}
