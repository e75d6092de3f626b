package main

import "github.com/slipway-dev/slipway/dataplane/forward"

// openForwarder returns what sends requests on to the other replicas of the
// store. They show certificates of the same bundle as this one.
func (d *dataplane) openForwarder() *forward.Forwarder {
	return forward.New(forward.Config{
		Replicas: d.cluster.Replicas(), Trust: d.identity.bundle, Plain: d.options.insecureNoAuth, Log: d.log,
	})
}
