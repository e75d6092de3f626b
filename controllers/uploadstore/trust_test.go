package uploadstore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/api/v1alpha1"
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

// What a Lease says is not what clients of a Managed store trust.
func TestAManagedStoreTrustsTheOperator(t *testing.T) {
	for _, own := range [][]byte{nil, block('o', 10)} {
		p := planFor(running(1, func(o *observation) {
			o.run.bundle = own
			l := lease("models-0", 0)
			l.Annotations[v1alpha1.CABundleAnnotation] = string(block('e', 10))
			o.replicas = seen(0, l)
		}), noon)
		if got := p.status.CABundle; !bytes.Equal(got, own) {
			t.Errorf("clients are told to trust %q, and the operator keeps %q", got, own)
		}
	}
}

func TestABundleIsBelievedForAWhile(t *testing.T) {
	var b bundles
	if _, ok := b.look("ml", noon); ok {
		t.Error("a bundle that nobody read")
	}
	b.keep("ml", []byte("a"), noon)
	for after, want := range map[time.Duration]bool{0: true, bundleLasts - 1: true, bundleLasts: false, -1: false} {
		b.keep("ml", []byte("a"), noon)
		if got, ok := b.look("ml", noon.Add(after)); ok != want || ok && string(got) != "a" {
			t.Errorf("after %v it is %q, %v", after, got, ok)
		}
	}
	if _, ok := b.look("other", noon); ok {
		t.Error("a bundle of another namespace")
	}
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
