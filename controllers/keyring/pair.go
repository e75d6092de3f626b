package keyring

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"time"
)

// backdate is how long before now a new certificate, or the first key of a
// store, is valid: the clocks of those who check it may be behind by as much.
const backdate = time.Hour

const (
	blockCertificate = "CERTIFICATE"
	blockPrivateKey  = "PRIVATE KEY"
)

// pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// parsePair reads a pair as encode writes it, and returns nil for anything else.
func parsePair(certPEM, keyPEM []byte) *pair {
	certs := parseCertificates(certPEM)
	block, rest := pem.Decode(keyPEM)
	if len(certs) != 1 || block == nil || block.Type != blockPrivateKey || len(bytes.TrimSpace(rest)) > 0 {
		return nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() || !key.PublicKey.Equal(certs[0].PublicKey) {
		return nil
	}
	return &pair{cert: certs[0], key: key}
}

// parseCertificates reads every certificate of a bundle that can be read.
func parseCertificates(bundle []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return certs
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == blockCertificate {
			certs = append(certs, cert)
		}
	}
}

// newPair makes a key and a certificate for it from the template. Without an
// issuer it signs itself.
func newPair(template *x509.Certificate, issuer *pair, random io.Reader) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if issuer == nil {
		issuer = &pair{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(random, template, issuer.cert, &key.PublicKey, issuer.key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the new certificate: %w", err)
	}
	return &pair{cert: cert, key: key}, nil
}

// encode returns the certificate and the key as PEM.
func (p *pair) encode() (certPEM, keyPEM []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return encodeCertificate(p.cert), pem.EncodeToMemory(&pem.Block{Type: blockPrivateKey, Bytes: der}), nil
}

func encodeCertificate(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: cert.Raw})
}

// newSerial returns a serial number of 127 bits, which is never negative.
func newSerial(random io.Reader) (*big.Int, error) {
	var serial [16]byte
	if _, err := io.ReadFull(random, serial[:]); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	serial[0] &= 0x7f
	return new(big.Int).SetBytes(serial[:]), nil
}

// issuedAt is when the certificate was made.
func issuedAt(cert *x509.Certificate) time.Time { return cert.NotBefore.Add(backdate) }

// age is how long ago the certificate was made, never more than it is.
func age(cert *x509.Certificate, now time.Time) time.Duration { return now.Sub(issuedAt(cert)) }

// validFor reports whether the certificate is valid now and still after d.
func validFor(cert *x509.Certificate, now time.Time, d time.Duration) bool {
	return !now.Before(cert.NotBefore) && now.Add(d).Before(cert.NotAfter)
}

// due reports whether two thirds of the certificate's life have passed.
func due(cert *x509.Certificate, now time.Time) bool {
	return age(cert, now) >= cert.NotAfter.Sub(issuedAt(cert))*2/3
}

// nextSecond rounds up, as a certificate's times have no fractions.
func nextSecond(t time.Time) time.Time {
	return t.Add(time.Second - 1).Truncate(time.Second).UTC()
}
