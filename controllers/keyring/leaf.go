package keyring

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/hosts"
)

const (
	// leafLife is how long the certificate of a store is valid, if its CA is.
	leafLife = 90 * 24 * time.Hour
	// leafMargin is how long before its end a certificate counts as gone.
	leafMargin = time.Hour
	// organization is the organization of every subject.
	organization = "Slipway"
)

// names are what a certificate is for, sorted and each one once.
type names struct {
	dns []string
	ips []string
}

func (n names) equal(other names) bool {
	return slices.Equal(n.dns, other.dns) && slices.Equal(n.ips, other.ips)
}

// namesOf are those of the store's hosts.
func namesOf(store *v1alpha1.UploadStore) names {
	return sorted(hosts.Of(store))
}

func namesIn(cert *x509.Certificate) names {
	var ips []string
	for _, ip := range cert.IPAddresses {
		if parsed, ok := netip.AddrFromSlice(ip); ok {
			ips = append(ips, parsed.Unmap().String())
		}
	}
	return sorted(slices.Clone(cert.DNSNames), ips)
}

func sorted(dns, ips []string) names {
	slices.Sort(dns)
	slices.Sort(ips)
	return names{dns: slices.Compact(dns), ips: slices.Compact(ips)}
}

// planLeaf returns the certificate and key of a server, kept under its name, as
// they should be, and why they are new, if they are.
func planLeaf(server string, wanted names, data map[string][]byte, a authorities, now time.Time, random io.Reader) (*pair, string, error) {
	have := parsePair(data[server+v1alpha1.CertificateSuffix], data[server+v1alpha1.PrivateKeySuffix])
	var why string
	switch {
	case have == nil || !serves(have.cert, a.known, now):
		why = "a new certificate"
	case !a.settled:
		// Clients that know the last bundle would not trust the new CA yet. What is there serves.
		return have, "", nil
	case !namesIn(have.cert).equal(wanted):
		why = "a certificate for other names"
	case due(have.cert, now):
		why = "a renewed certificate"
	default:
		return have, "", nil
	}
	made, err := newLeaf(server, wanted, a.current, now, random)
	if err != nil {
		return nil, "", err
	}
	return made, why, nil
}

// serves reports whether a client that trusts the CAs takes the certificate for a server's.
func serves(leaf *x509.Certificate, known []*x509.Certificate, now time.Time) bool {
	if !validFor(leaf, now, leafMargin) {
		return false
	}
	roots := x509.NewCertPool()
	for _, c := range known {
		roots.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err == nil && !leaf.IsCA
}

func newLeaf(server string, n names, issuer *pair, now time.Time, random io.Reader) (*pair, error) {
	serial, err := newSerial(random)
	if err != nil {
		return nil, err
	}
	var ips []net.IP
	for _, ip := range n.ips {
		ips = append(ips, net.ParseIP(ip))
	}
	now = nextSecond(now)
	end := now.Add(leafLife)
	if end.After(issuer.cert.NotAfter) {
		end = issuer.cert.NotAfter
	}
	return newPair(&x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{organization}, CommonName: server},
		DNSNames:              n.dns,
		IPAddresses:           ips,
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, issuer, random)
}
