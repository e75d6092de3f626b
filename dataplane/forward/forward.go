package forward

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Replicas is what is known of the replicas of the store: the control plane. It
// is asked for each request, and may be called concurrently.
type Replicas interface {
	// Endpoint returns the base URL of a replica of the same store. upload.ErrAway where it is
	// not alive, upload.ErrUnavailable where nobody can tell now.
	Endpoint(ctx context.Context, replica string) (string, error)

	// Unreachable is told that a replica did not answer where it was said to be.
	Unreachable(replica string)

	// Mistaken is told that the replica that was taken for the owner of an upload does not hold it.
	Mistaken(name upload.Name)
}

// Config is what a Forwarder is made of.
type Config struct {
	// Replicas tells where the others are.
	Replicas Replicas
	// Trust returns the certificates, in PEM, by which replicas are known. It is called for each new
	// connection; with nothing from it, and with nil, those of the system count.
	Trust func() []byte
	// Plain lets requests go to replicas that have no TLS, and with them the caller's credentials.
	Plain bool
	// Dial is how long a connection may take to be made, TLS and all; 0 is DefaultDial.
	Dial time.Duration
	// Stall is how long neither side may send or take a byte; 0 is DefaultStall.
	Stall time.Duration
	// Log is told what clients are not; nil is slog.Default.
	Log *slog.Logger
}

// Defaults of Config. A stall is longer than anything for which the owner lets a
// client wait, or a client the owner.
const (
	DefaultDial  = 5 * time.Second
	DefaultStall = 2 * time.Minute
)

// Forwarder sends requests on. Its methods may be called concurrently.
type Forwarder struct {
	replicas  Replicas
	plain     bool
	stall     time.Duration
	transport *http.Transport
	log       *slog.Logger
}

// New returns a Forwarder; Close it in the end.
func New(c Config) *Forwarder {
	return &Forwarder{
		replicas: c.Replicas, plain: c.Plain, stall: cmp.Or(c.Stall, DefaultStall),
		transport: newTransport(cmp.Or(c.Dial, DefaultDial), c.Trust), log: cmp.Or(c.Log, slog.Default()),
	}
}

// Close closes the connections that are not in use.
func (f *Forwarder) Close() { f.transport.CloseIdleConnections() }

// errMistaken is that the replica which was asked does not hold the upload.
var errMistaken = errors.New("the replica does not hold the upload session any more")

// Forward has the replica that owns an upload answer a request about it. The
// request goes as it is, and so does the reply, but for the header fields that w
// has already. It returns an error only where it wrote nothing: upload.ErrAway
// where the owner can't be reached, or is not the owner after all;
// upload.ErrUnavailable where nobody can tell now where it is.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, name upload.Name, owner string) error {
	to, err := f.endpoint(r.Context(), owner)
	if err != nil {
		return err
	}
	ctx, stalled := context.WithCancelCause(r.Context())
	defer stalled(nil)
	watch := newWatch(f.stall, func() { stalled(errStalled) })
	defer watch.stop()

	var failed error
	proxy := httputil.ReverseProxy{
		Transport:     f.transport,
		FlushInterval: -1, // who waits for a byte gets it
		Rewrite:       func(p *httputil.ProxyRequest) { rewrite(p, to) },
		ModifyResponse: func(reply *http.Response) error {
			watch.moved()
			if reply.StatusCode == http.StatusMisdirectedRequest {
				return errMistaken
			}
			reply.Body = &watchedBody{ReadCloser: reply.Body, watch: watch}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:     slog.NewLogLogger(f.log.Handler(), slog.LevelWarn),
	}
	out := r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		out.Body = &watchedBody{ReadCloser: r.Body, watch: watch}
	}
	proxy.ServeHTTP(&finalReply{to: w, header: http.Header{}}, out)
	if failed == nil {
		return nil
	}
	if errors.Is(failed, errMistaken) {
		f.replicas.Mistaken(name)
	} else if err := r.Context().Err(); err != nil {
		return err // the client went
	} else {
		f.replicas.Unreachable(owner)
	}
	if errors.Is(failed, context.Canceled) {
		failed = context.Cause(ctx)
	}
	return fmt.Errorf("%w: replica %s at %s: %w", upload.ErrAway, owner, to.Host, failed)
}

// endpoint is where a replica is. One whose endpoint would give the caller's
// credentials away is not sent anything.
func (f *Forwarder) endpoint(ctx context.Context, replica string) (*url.URL, error) {
	told, err := f.replicas.Endpoint(ctx, replica)
	if err != nil {
		return nil, fmt.Errorf("find replica %s: %w", replica, err)
	}
	to, err := url.Parse(told)
	switch {
	case err != nil || to.Host == "" || to.User != nil || to.RawQuery != "" || to.Fragment != "":
		return nil, fmt.Errorf("%w: the endpoint of replica %s, %q, is no base URL", upload.ErrAway, replica, told)
	case to.Scheme == "https", to.Scheme == "http" && f.plain:
		return to, nil
	}
	return nil, fmt.Errorf("%w: the endpoint of replica %s, %q, has no TLS", upload.ErrAway, replica, told)
}

// rewrite makes the request that the owner gets of the one that came.
func rewrite(p *httputil.ProxyRequest, to *url.URL) {
	p.SetURL(to)
	h := p.Out.Header
	// No call of the protocol has trailers. What a web page may see is decided where it calls.
	for _, field := range []string{"Te", "Trailer", "Origin"} {
		h.Del(field)
	}
	p.Out.Trailer = nil
	h.Del("Expect")
	if p.Out.Body != nil && p.Out.Body != http.NoBody {
		// Whatever the client does: a refusal comes before the body is read, and nothing of it
		// is lost between the two.
		h.Set("Expect", "100-continue")
	}
}

// poolOf returns the certificates of a bundle; nil, which is the system's, where there are none.
func poolOf(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, errors.New("what replicas are known by has no certificate")
	}
	return pool, nil
}
