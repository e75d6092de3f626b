package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"hash"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config is what New makes a Client of.
type Config struct {
	// Endpoint is the base URL of a dataplane of the store, such as status.endpoint of the UploadStore: https, or http
	// to a loopback address.
	Endpoint string
	// Namespace is that of the sessions.
	Namespace string
	// Credentials say who calls; nil for a dataplane that asks nobody.
	Credentials Credentials
	// TLS is how the dataplane's certificate is verified; nil verifies it against the system's roots.
	TLS *tls.Config
	// Dial opens connections in place of the network, such as a port-forward; nil dials the host of the URL.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Resolve returns the base URL under which a session is served now. It is called when the dataplane answers that
	// it does not hold the session, or does not answer; nil keeps asking Endpoint, whose replicas forward requests.
	Resolve func(ctx context.Context, session string) (string, error)
	// Patience is how long requests are tried again while nothing moves; any chunk that is stored begins it anew.
	// Waiting for admission and while a session is suspended does not count: the context bounds that. 0 is
	// DefaultPatience.
	Patience time.Duration
	// Hashes are more digest algorithms, by their name in the API such as "blake3". SHA-256 is always known.
	Hashes map[string]func() hash.Hash
}

const (
	// DefaultPatience is the default of Config.Patience.
	DefaultPatience = 15 * time.Minute

	connectTimeout = 5 * time.Second
	// continueTimeout is longer than a chunk waits for its turn at a dataplane.
	continueTimeout = 15 * time.Second
	// stallAfter is how long a request may go without moving a byte in either direction. It is longer than the
	// dataplane's own bound of a minute would have to be for a connection that still works.
	stallAfter = 75 * time.Second
	maxIdle    = 64
)

// Client calls one store's dataplane. It may be used concurrently, and needs no closing.
type Client struct {
	endpoint    *url.URL
	namespace   string
	credentials Credentials
	http        *http.Client
	resolve     func(ctx context.Context, session string) (string, error)
	patience    time.Duration
	hashes      map[string]func() hash.Hash
	wait        func(ctx context.Context, d time.Duration) error
}

// New returns a Client. It makes no connection; it fails where the endpoint or the namespace cannot be right.
func New(c Config) (*Client, error) {
	endpoint, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	if c.Namespace == "" || strings.ContainsAny(c.Namespace, "/?#%") {
		return nil, fmt.Errorf("%q is not a namespace", c.Namespace)
	}
	if c.Credentials == nil {
		c.Credentials = Token("")
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	hashes := map[string]func() hash.Hash{"sha256": sha256.New}
	for name, f := range c.Hashes {
		hashes[name] = f
	}
	return &Client{
		endpoint: endpoint, namespace: c.Namespace, credentials: c.Credentials, resolve: c.Resolve,
		patience: c.Patience, hashes: hashes, wait: sleep,
		http: &http.Client{
			Transport: transport(c),
			// A token goes to the endpoint that the caller named and to no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// parseEndpoint accepts a base URL that a token may be sent to.
func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the endpoint is not a URL: %w", err)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the endpoint %q is not a base URL such as https://models.ml.svc:8443", s)
	case u.Scheme == "https":
	case u.Scheme == "http" && isLoopback(u.Hostname()):
	default:
		return nil, fmt.Errorf("the endpoint %q is neither https nor on a loopback address", s)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// transport speaks HTTP/1.1 over a connection for each request under way: over a long way that is faster than
// HTTP/2's one window, and one stalled connection holds up no other.
func transport(c Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	config := c.TLS
	if config != nil {
		config = config.Clone()
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   2 * connectTimeout,
		ExpectContinueTimeout: continueTimeout,
		MaxIdleConnsPerHost:   maxIdle,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
		Protocols:             protocols,
		WriteBufferSize:       128 << 10,
		ReadBufferSize:        128 << 10,
	}
}

// Open returns the session of this name. It makes no request.
func (c *Client) Open(name string) (*Session, error) {
	if name == "" || strings.ContainsAny(name, "/?#%") {
		return nil, fmt.Errorf("%q is not the name of a session", name)
	}
	return &Session{client: c, name: name, endpoint: c.endpoint}, nil
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
