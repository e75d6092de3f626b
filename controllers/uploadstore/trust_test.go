package uploadstore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
)

// certificate is one in PEM.
func certificate(t *testing.T) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// block is a certificate for whoever does not look into it.
func block(content byte, size int) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: bytes.Repeat([]byte{content}, size)})
}

func TestReplicasAreTrustedTogether(t *testing.T) {
	a, b, c, huge := block('a', 10), block('b', 10), block('c', 10), block('h', maxCABundle)
	for name, test := range map[string]struct{ bundle, more, want []byte }{
		"nothing":               {nil, nil, nil},
		"the first":             {nil, a, a},
		"the same again":        {bytes.Join([][]byte{a, b}, nil), bytes.Join([][]byte{b, a}, nil), bytes.Join([][]byte{a, b}, nil)},
		"one more":              {bytes.Join([][]byte{a, b}, nil), bytes.Join([][]byte{b, c}, nil), bytes.Join([][]byte{a, b, c}, nil)},
		"what has no room":      {a, bytes.Join([][]byte{huge, b}, nil), bytes.Join([][]byte{a, b}, nil)},
		"one that says nothing": {a, nil, a},
	} {
		if got := trust(test.bundle, test.more); !bytes.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
