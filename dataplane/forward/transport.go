package forward

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

const (
	// continueTimeout is how long the owner gets to say whether it wants a body: longer than a chunk
	// waits there for its turn.
	continueTimeout = 30 * time.Second
	// idlePerReplica and idleFor bound the connections that are kept for the next request. They
	// are closed before the owner does it.
	idlePerReplica = 64
	idleFor        = time.Minute
	// maxReplyHeader bounds the header of a reply in bytes.
	maxReplyHeader = 64 << 10
)

// newTransport returns a transport to other replicas. It speaks HTTP/1.1: each
// request has a connection of its own, as at the server, and what that buffers is bounded by
// the kernel.
func newTransport(dial time.Duration, trust func() []byte) *http.Transport {
	dialer := &net.Dialer{Timeout: dial}
	return &http.Transport{
		DialContext: dialer.DialContext,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dial)
			defer cancel()
			return dialTLS(ctx, dialer, network, address, trust)
		},
		ExpectContinueTimeout:  continueTimeout,
		MaxIdleConnsPerHost:    idlePerReplica,
		IdleConnTimeout:        idleFor,
		MaxResponseHeaderBytes: maxReplyHeader,
		DisableCompression:     true, // bytes go through as they are
	}
}

// dialTLS connects to a replica, which must show a certificate for the host of its endpoint
// by what is trusted now.
func dialTLS(ctx context.Context, dialer *net.Dialer, network, address string, trust func() []byte) (net.Conn, error) {
	var bundle []byte
	if trust != nil {
		bundle = trust()
	}
	pool, err := poolOf(bundle)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	raw, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: host})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // nothing was sent
		return nil, err
	}
	return conn, nil
}
