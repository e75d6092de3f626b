package story

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// The user who uploads.
const (
	uploaderName = "uploader"
	audience     = "uploads.slipway.dev"
)

// caller sends requests as somebody.
type caller struct {
	client *http.Client
	token  string // of a ServiceAccount, for the dataplane alone
}

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
	token, err := s.kubectl(ctx, "create", "token", uploaderName, "--audience="+audience)
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
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: parallel}
	s.caller = caller{client: &http.Client{Transport: transport}, token: strings.TrimSpace(token)}
	return nil
}

// caFile is what a client on the command line trusts.
func (s *stack) caFile() string { return filepath.Join(s.dir, "ca.crt") }

// call makes the request and reads a reply with one of the wanted codes into
// into; any other comes back as a *problem.
func (c caller) call(request *http.Request, into any, want ...int) (int, error) {
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, err
	}
	for _, code := range want {
		if response.StatusCode == code {
			if into == nil {
				return code, nil
			}
			return code, json.Unmarshal(body, into)
		}
	}
	p := &problem{Status: response.StatusCode}
	if err := json.Unmarshal(body, p); err != nil {
		return 0, fmt.Errorf("%s with a body that is no problem: %q", response.Status, body)
	}
	return 0, p
}
