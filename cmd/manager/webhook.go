package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/slipway-dev/slipway/controllers"
)

// ownNamespaceFile is where every Pod finds the namespace that it is in.
const ownNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// webhookOptions are the flags of the webhook that injects sidecars.
type webhookOptions struct {
	port      int
	namespace string
}

func (o *webhookOptions) register(flags *flag.FlagSet) {
	flags.IntVar(&o.port, "webhook-port", 0, "where the webhook that adds the dataplane to labeled Pods is served; 0 for nowhere")
	flags.StringVar(&o.namespace, "webhook-namespace", "",
		"where the Service and the Secret of the webhook are; the manager's own namespace when empty, which only a Pod has")
}

// setup serves the webhook, if it is asked for, to inject the image.
func (o *webhookOptions) setup(mgr ctrl.Manager, image string) error {
	if o.port == 0 {
		return nil
	}
	if image == "" {
		return fmt.Errorf("--dataplane-image is empty: --webhook-port is %d, and the webhook needs an image to inject", o.port)
	}
	if o.namespace == "" {
		own, err := os.ReadFile(ownNamespaceFile)
		if err != nil {
			return fmt.Errorf("--webhook-namespace is missing, and this is not a Pod: %w", err)
		}
		o.namespace = strings.TrimSpace(string(own))
	}
	return controllers.SetupWebhook(mgr, clock.RealClock{}, controllers.WebhookOptions{
		Port: o.port, Namespace: o.namespace, DataplaneImage: image,
	})
}
