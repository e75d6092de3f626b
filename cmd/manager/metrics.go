package main

import (
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// metrics says where and to whom metrics are served. Where that is over TLS, the
// certificate is one that the process makes for itself, and the API server is asked
// about each token and what its user may do.
func (o options) metrics() server.Options {
	served := server.Options{BindAddress: o.metricsAddress}
	if o.metricsSecure {
		served.SecureServing = true
		served.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return served
}
