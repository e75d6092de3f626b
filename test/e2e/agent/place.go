package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/test/uploader"
)

// place is where a session's chunks go.
type place struct {
	url             string
	size, chunkSize int64
	client          *http.Client
}

// find waits until the session takes chunks and returns where: at the endpoint that it names, where none is given. It reads what any user
// reads: the session's endpoint, and from its store what to trust.
func find(ctx context.Context, namespace, name, endpoint string) (*place, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	session := &v1alpha1.UploadSession{}
	store := &v1alpha1.UploadStore{}
	if err := wait.PollUntilContextCancel(ctx, pause, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, session)
		if err != nil {
			slog.Info("the session can't be read yet", "error", err)
			return false, nil
		}
		if ended := meta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionSucceeded); ended != nil && ended.Status == "False" {
			return false, fmt.Errorf("the session has ended: %s: %s", ended.Reason, ended.Message)
		}
		return session.Status.Admission.Endpoint != "", nil
	}); err != nil {
		return nil, err
	}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: session.Spec.StoreRef.Name}, store); err != nil {
		return nil, err
	}
	trusting, err := trusting(store.Status.CABundle)
	if err != nil {
		return nil, err
	}
	return &place{
		url:       fmt.Sprintf("%s/v1/namespaces/%s/uploadsessions/%s", cmp.Or(endpoint, session.Status.Admission.Endpoint), namespace, name),
		size:      *session.Spec.SizeBytes,
		chunkSize: chunkSize(session),
		client:    withToken(trusting, TokenFile),
	}, nil
}

func chunkSize(session *v1alpha1.UploadSession) int64 {
	if session.Spec.ChunkSizeBytes > 0 {
		return session.Spec.ChunkSizeBytes
	}
	return session.Status.Admission.ChunkSizeBytes
}

// trusting is a client that trusts the bundle and nothing else.
func trusting(bundle []byte) (*http.Client, error) {
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the store tells of no certificate to trust")
	}
	return &http.Client{Transport: &http.Transport{
		// The address of a Pod that is gone answers nothing at all, not even no.
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost:   uploader.Parallel,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
	}}, nil
}

// withToken sends the token of a file with each request; the kubelet renews it.
func withToken(c *http.Client, file string) *http.Client {
	wrap := transport.TokenSourceWrapTransport(transport.NewCachedFileTokenSource(file))
	return &http.Client{Transport: wrap(c.Transport)}
}
