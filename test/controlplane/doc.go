// Package controlplane gives a test a real API server and etcd with Slipway's
// CRDs, and counts from the API server's own audit log what was written.
//
// The binaries are those of KUBEBUILDER_ASSETS; where that is not set,
// hack/controlplane.sh finds or compiles them, so that go test alone works.
//
// Nothing of Slipway but its CRDs enters this room: it knows neither the
// operator nor the dataplane, so that both can be tested with it.
package controlplane
