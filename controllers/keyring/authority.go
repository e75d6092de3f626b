package keyring

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// caLife is how long a CA is valid.
	caLife = 2 * 365 * 24 * time.Hour
	// overlap is how long a CA is in the bundle before it signs what a client may meet that knows
	// an older bundle, and how long one stays after its last certificate was replaced. So a
	// client may use a bundle that is as old.
	overlap = 24 * time.Hour
)

// Entries of the Secret slipway-ca. The next CA waits there for its time.
const (
	entryNextCertificate = "next.crt"
	entryNextKey         = "next.key"
)

// authorities are the CAs of a namespace.
type authorities struct {
	// current signs. next is in the bundle and will sign, nil while none is needed.
	current, next *pair
	// known are the certificates that clients may have been told to trust, and still may be, with
	// current and next among them.
	known []*x509.Certificate
	// settled says that every client can know current.
	settled bool
}

// planAuthorities keeps, rotates or repairs the CAs.
func planAuthorities(o observation, now time.Time, random io.Reader) (authorities, []string, error) {
	var (
		listed  []*x509.Certificate
		changes []string
		err     error
	)
	if o.dataplane != nil {
		listed = slices.DeleteFunc(parseCertificates(o.dataplane.Data[entryBundle]), func(c *x509.Certificate) bool {
			return !isAuthority(c) || !validFor(c, now, 0)
		})
	}
	a := authorities{}
	if o.ca != nil {
		a.current = readAuthority(o.ca, corev1.TLSCertKey, corev1.TLSPrivateKeyKey, now)
		a.next = readAuthority(o.ca, entryNextCertificate, entryNextKey, now)
	}
	// The bundle is written before the key is kept, so one that is not listed was tampered with.
	if a.next != nil && !contains(listed, a.next.cert) {
		a.next = nil
	}
	if a.next != nil && (a.current == nil || age(a.next.cert, now) >= overlap) {
		a.current, a.next = a.next, nil
		changes = append(changes, "the next CA signs")
	}
	if a.current == nil {
		if a.current, err = newAuthority(o.namespace, now, random); err != nil {
			return authorities{}, nil, err
		}
		changes = append(changes, "a new CA")
	}
	if a.next == nil && due(a.current.cert, now) {
		if a.next, err = newAuthority(o.namespace, now, random); err != nil {
			return authorities{}, nil, err
		}
		changes = append(changes, "the next CA joins the bundle")
	}
	others := slices.ContainsFunc(listed, func(c *x509.Certificate) bool { return !c.Equal(a.current.cert) })
	a.settled = age(a.current.cert, now) >= overlap || !others
	a.known = listed
	for _, p := range []*pair{a.current, a.next} {
		if p != nil && !contains(a.known, p.cert) {
			a.known = append(a.known, p.cert)
		}
	}
	return a, changes, nil
}

// bundle is what clients are told to trust: the CAs that sign or will, those of
// the certificates in use, and for a while those that a replaced one may have had.
func (a authorities) bundle(leaves []*x509.Certificate, now time.Time) []byte {
	replaced := slices.ContainsFunc(leaves, func(leaf *x509.Certificate) bool { return age(leaf, now) < overlap })
	var kept []*x509.Certificate
	for _, c := range a.known {
		signs := c.Equal(a.current.cert) || a.next != nil && c.Equal(a.next.cert)
		signed := slices.ContainsFunc(leaves, func(leaf *x509.Certificate) bool { return leaf.CheckSignatureFrom(c) == nil })
		if (signs || signed || replaced) && !contains(kept, c) {
			kept = append(kept, c)
		}
	}
	slices.SortFunc(kept, func(x, y *x509.Certificate) int {
		if order := y.NotBefore.Compare(x.NotBefore); order != 0 {
			return order
		}
		return bytes.Compare(x.Raw, y.Raw)
	})
	var bundle []byte
	for _, c := range kept {
		bundle = append(bundle, encodeCertificate(c)...)
	}
	return bundle
}

// entries are the content of the Secret slipway-ca.
func (a authorities) entries() (map[string][]byte, error) {
	data := map[string][]byte{}
	for _, e := range []struct {
		pair      *pair
		cert, key string
	}{
		{a.current, corev1.TLSCertKey, corev1.TLSPrivateKeyKey},
		{a.next, entryNextCertificate, entryNextKey},
	} {
		if e.pair == nil {
			continue
		}
		var err error
		if data[e.cert], data[e.key], err = e.pair.encode(); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// readAuthority returns a CA that can sign, nil for anything else. One that is
// about to end is as good as gone: what it signs would end with it.
func readAuthority(secret *corev1.Secret, cert, key string, now time.Time) *pair {
	p := parsePair(secret.Data[cert], secret.Data[key])
	if p == nil || !isAuthority(p.cert) || !validFor(p.cert, now, overlap) {
		return nil
	}
	return p
}

func isAuthority(c *x509.Certificate) bool {
	return c.IsCA && c.BasicConstraintsValid && c.KeyUsage&x509.KeyUsageCertSign != 0 && bytes.Equal(c.RawSubject, c.RawIssuer)
}

func newAuthority(namespace string, now time.Time, random io.Reader) (*pair, error) {
	serial, err := newSerial(random)
	if err != nil {
		return nil, err
	}
	now = nextSecond(now)
	return newPair(&x509.Certificate{
		SerialNumber: serial,
		// No two have the same name, so that a client finds the right one by it.
		Subject: pkix.Name{
			Organization: []string{organization}, OrganizationalUnit: []string{namespace},
			CommonName: fmt.Sprintf("slipway-ca %032x", serial),
		},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil, random)
}

func contains(certs []*x509.Certificate, cert *x509.Certificate) bool {
	return slices.ContainsFunc(certs, cert.Equal)
}
