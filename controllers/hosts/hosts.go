package hosts

import (
	"crypto/x509"
	"net"
	"net/netip"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Of returns the names and addresses under which clients find the dataplane of a store, in no order: its Service, the
// Service's Pods, this machine, and what the store says.
func Of(store *v1alpha1.UploadStore) (dns, ips []string) {
	service := store.Name + "." + store.Namespace + ".svc"
	local := service + ".cluster.local"
	dns = []string{store.Name, store.Name + "." + store.Namespace, service, local, "*." + service, "*." + local, "localhost"}
	if store.Spec.Dataplane.Mode == v1alpha1.DataplaneModeManaged {
		// Each replica has a name of its own.
		replicas := "*." + v1alpha1.ReplicasServiceName(store.Name) + "." + store.Namespace + ".svc"
		dns = append(dns, replicas, replicas+".cluster.local")
	}
	ips = []string{"127.0.0.1", "::1"}
	dns = append(dns, store.Spec.Dataplane.Certificate.DNSNames...)
	for _, ip := range store.Spec.Dataplane.Certificate.IPAddresses {
		if parsed, err := netip.ParseAddr(ip); err == nil {
			ips = append(ips, parsed.Unmap().String())
		}
	}
	return dns, ips
}

// Has reports whether a host is one of the store's, as a client finds out by the store's certificate.
func Has(store *v1alpha1.UploadStore, host string) bool {
	dns, ips := Of(store)
	certificate := x509.Certificate{DNSNames: dns}
	for _, ip := range ips {
		certificate.IPAddresses = append(certificate.IPAddresses, net.ParseIP(ip))
	}
	return certificate.VerifyHostname(host) == nil
}
