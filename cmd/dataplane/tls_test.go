package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/door"
)

// writePair writes a certificate of its own for 127.0.0.1, and returns it.
func writePair(t *testing.T, dir string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		keyFile: {Type: "PRIVATE KEY", Bytes: private}, certificateFile: {Type: "CERTIFICATE", Bytes: der}, bundleFile: {Type: "CERTIFICATE", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// mount makes dir look as kubelet mounts a Secret: the files are links through
// a link that is swapped at once.
func mount(t *testing.T, dir, version string, serial int64) *x509.Certificate {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	certificate := writePair(t, filepath.Join(dir, version), serial)
	for _, err := range []error{
		os.Symlink(version, filepath.Join(dir, "next")), os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "..data")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return certificate
}

// A new certificate is for new connections; requests on the old ones go on.
func TestCertificatesAreReloaded(t *testing.T) {
	dir := t.TempDir()
	first := mount(t, dir, "1", 1)
	for _, name := range []string{certificateFile, keyFile, bundleFile} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	i, err := openIdentity(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go i.run(ctx)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began, goOn := make(chan struct{}), make(chan struct{})
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-goOn
		}
		_, _ = w.Write([]byte("done"))
	})}
	served := make(chan error, 1)
	go func() { served <- i.serve(server, door.New(listener, door.Bounds{Connections: 100, HTTP2: 1})) }()

	trusted := x509.NewCertPool()
	trusted.AddCert(first)
	slow := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}}
	ended := make(chan error, 1)
	url := "https://" + listener.Addr().String()
	go func() {
		response, err := slow.Get(url + "/slow")
		if err == nil {
			err = response.Body.Close()
		}
		ended <- err
	}()
	<-began

	second := mount(t, dir, "2", 2)
	serial := func() int64 {
		c, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // which certificate it is, is the question
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	for deadline := time.Now().Add(time.Minute); serial() != second.SerialNumber.Int64(); {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not served")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if block, _ := pem.Decode(i.bundle()); block == nil || !bytes.Equal(block.Bytes, second.Raw) {
		t.Error("clients are told to trust the old certificate")
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}

	// A broken one changes nothing.
	if err := os.WriteFile(filepath.Join(dir, "2", certificateFile), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.watcher.ReadCertificate(); err == nil {
		t.Error("a broken certificate is read")
	}
	if got := serial(); got != 2 {
		t.Errorf("certificate %d is served", got)
	}
	if old, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil { //nolint:gosec // it must not be served
		_ = old.Close()
		t.Error("TLS 1.1 is spoken")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("served: %v", err)
	}
}

func TestAnIdentityThatIsNone(t *testing.T) {
	if _, err := openIdentity(t.TempDir(), slog.Default()); err == nil || !strings.Contains(err.Error(), "--tls-dir") {
		t.Errorf("an empty folder: %v", err)
	}
	dir, other := t.TempDir(), t.TempDir()
	writePair(t, dir, 1)
	writePair(t, other, 2)
	if err := os.Rename(filepath.Join(other, keyFile), filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := openIdentity(dir, slog.Default()); err == nil {
		t.Error("another certificate's key is taken")
	}
	plain, err := openIdentity("", slog.Default())
	if err != nil || plain.scheme() != "http" || plain.bundle() != nil {
		t.Errorf("without a folder: %+v, %v", plain, err)
	}
}
