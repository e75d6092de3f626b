package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/door"
)

// The files of --tls-dir, named as in a Secret of type kubernetes.io/tls.
const (
	certificateFile = "tls.crt"
	keyFile         = "tls.key"
	bundleFile      = "ca.crt"
)

// identity is by what clients know the dataplane; its zero value is for plain HTTP.
type identity struct {
	dir     string
	watcher *certwatcher.CertWatcher
	log     *slog.Logger
}

// openIdentity reads the certificate of a folder, which run reads again when it
// changes.
func openIdentity(dir string, log *slog.Logger) (identity, error) {
	if dir == "" {
		return identity{}, nil
	}
	watcher, err := certwatcher.New(filepath.Join(dir, certificateFile), filepath.Join(dir, keyFile))
	if err != nil {
		return identity{}, fmt.Errorf("--tls-dir %s: %w", dir, err)
	}
	return identity{dir: dir, watcher: watcher, log: log}, nil
}

// secure reports whether there is a certificate.
func (i identity) secure() bool { return i.watcher != nil }

// scheme is that of the dataplane's URLs.
func (i identity) scheme() string {
	if i.secure() {
		return "https"
	}
	return "http"
}

// run reads the certificate again when it changes, until the context is done. A new
// one is for new connections: those that are open go on. One that is broken
// changes nothing.
func (i identity) run(ctx context.Context) {
	if !i.secure() {
		return
	}
	if err := i.watcher.Start(ctx); err != nil {
		i.log.ErrorContext(ctx, "the certificate is not followed any more, and will run out", "error", err)
	}
}

// serve serves whoever comes through a door until the server is closed.
func (i identity) serve(server *http.Server, entrance *door.Door) error {
	server.ConnState, server.ConnContext = entrance.ConnState, entrance.ConnContext
	var config *tls.Config
	if i.secure() {
		config = entrance.TLS(&tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: i.watcher.GetCertificate})
	}
	err := chunkapi.Serve(server, entrance, config)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", entrance.Addr(), err)
}

// bundle is what clients trust, as the folder has it now; empty where it has none.
func (i identity) bundle() []byte {
	if !i.secure() {
		return nil
	}
	file, err := os.Open(filepath.Join(i.dir, bundleFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var content []byte
	if err == nil {
		// One byte too many is enough to see that it is too long.
		content, err = io.ReadAll(io.LimitReader(file, v1alpha1.MaxCABundleBytes+1))
		_ = file.Close() // it was only read
	}
	if err != nil {
		i.log.Warn("what clients trust can't be read", "error", err)
		return nil
	}
	return content
}
