package story

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-dev/slipway/test/uploader"
)

// The user who uploads.
const (
	uploaderName = "uploader"
	audience     = "uploads.slipway.dev/" + namespace + "/" + storeName
)

// addUploader makes a ServiceAccount with the role of an uploader, and has it
// call the dataplane as any client would: with a token for the dataplane's
// audience, trusting what the store says to trust.
func (s *stack) addUploader(ctx context.Context) error {
	for _, args := range [][]string{
		{"create", "serviceaccount", uploaderName},
		{"create", "rolebinding", uploaderName, "--clusterrole=" + uploaderRole, "--serviceaccount=" + namespace + ":" + uploaderName},
		{"wait", "--for=condition=Ready", "upst/" + storeName, "--timeout=30s"},
	} {
		if out, err := s.kubectl(ctx, args...); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
	token, err := s.kubectl(ctx, "create", "token", uploaderName, "--audience="+s.audience)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, token)
	}
	bundle, err := s.kubectl(ctx, "get", "upst", storeName, "--output=jsonpath={.status.caBundle}")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, bundle)
	}
	pem, err := base64.StdEncoding.DecodeString(bundle)
	trusted := x509.NewCertPool()
	if err != nil || !trusted.AppendCertsFromPEM(pem) {
		return fmt.Errorf("the store tells of no certificate to trust: %q", bundle)
	}
	if err := os.WriteFile(s.caFile(), pem, 0o600); err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: uploader.Parallel}
	s.caller = uploader.Caller{HTTP: &http.Client{Transport: transport}, Token: strings.TrimSpace(token)}
	return nil
}

// caFile is what a client on the command line trusts.
func (s *stack) caFile() string { return filepath.Join(s.dir, "ca.crt") }
