package heartbeat

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestWhatClientsTrust(t *testing.T) {
	a, b := certificate(t), certificate(t)
	for name, c := range map[string]struct {
		says, want string
		broken     bool
	}{
		"nothing":                   {"", "", false},
		"one":                       {a, a, false},
		"several":                   {a + b, a + b, false},
		"with room between":         {"\n" + a + "\n\n" + b + "\n", a + b, false},
		"no PEM":                    {"trust me", "", true},
		"a key":                     {strings.ReplaceAll(a, "CERTIFICATE", "PRIVATE KEY"), "", true},
		"something after it":        {a + "and more", "", true},
		"a block that is none":      {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "", true},
		"more than a Lease can say": {strings.Repeat(a, v1alpha1.MaxCABundleBytes/len(a)+1), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := Read(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "slipway-models-0", Annotations: map[string]string{
				v1alpha1.EndpointAnnotation: "https://models:8443", v1alpha1.CapacityBytesAnnotation: "1", v1alpha1.AvailableBytesAnnotation: "1",
				v1alpha1.CABundleAnnotation: c.says,
			}}})
			if (err != nil) != c.broken || !bytes.Equal(report.CABundle, []byte(c.want)) {
				t.Errorf("got %q, %v", report.CABundle, err)
			}
		})
	}
}
