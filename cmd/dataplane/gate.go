package main

import (
	"fmt"
	"log/slog"

	"k8s.io/client-go/rest"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/auth/delegated"
)

// openGate returns who decides about callers that come without a ticket.
func openGate(o options, api *rest.Config, log *slog.Logger) (auth.Gate, error) {
	if o.insecureNoAuth {
		return auth.Open{}, nil
	}
	gate, err := delegated.New(delegated.Config{
		API: api, Namespace: o.namespace, Audience: o.audience, Log: log,
		Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "uploadsessions", Stores: "uploadstores",
	})
	if err != nil {
		return nil, fmt.Errorf("authenticate clients: %w", err)
	}
	return gate, nil
}
