package delegated

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

// CacheTTL is for how long an answer of the API server holds, and with it what is revoked. The
// API server itself remembers a token for 10 seconds more.
const CacheTTL = 10 * time.Second

const (
	// reviewTimeout bounds how long one question may take, and before it how long a known token waits for its turn.
	reviewTimeout = 10 * time.Second
	// maxReviews bounds the tokens that are asked about at once, of those that are known and of those that are
	// not: each token that nobody has seen is a question to the API server, and a stranger can make up any number.
	maxReviews = 64
	// maxToken bounds a token in bytes; those of ServiceAccounts have one or two KiB.
	maxToken = 16 << 10
)

// Config is what a Gate is made of.
type Config struct {
	// API is how to reach the API server, as somebody who may create TokenReviews, and LocalSubjectAccessReviews
	// in Namespace: ClusterRoles slipway-token-reviewer and slipway-dataplane-role.
	API *rest.Config
	// Namespace is where the sessions and the store are. Nobody may do anything elsewhere. It is required.
	Namespace string
	// Audience is what tokens must be for, which is this gate's store and nothing else. It is required.
	Audience string
	// Group, Version and Resource are those of the sessions.
	Group, Version, Resource string
	// Stores is the resource of the stores, in the same group and version.
	Stores string
	// Log is told why nobody can be let in; nil is slog.Default.
	Log *slog.Logger
}

// Gate lets in who has a token of a user of the cluster that is bound to the
// gate's audience, and lets them do what the cluster's authorization lets them.
// It is an auth.Gate. An answer is kept for CacheTTL; where the API server is
// away, nobody is let in after that. Tokens that were good lately are reviewed again in a room of
// their own, where they wait for each other, so that tokens that somebody makes up keep none of them out.
type Gate struct {
	audience authenticator.Audiences
	tokens   authenticator.Request
	access   *permissions
	config   Config

	known     *known
	again     chan struct{} // one for each known token that is being reviewed
	strangers *room
	reviews   singleflight.Group
}

var _ auth.Gate = (*Gate)(nil)

// New returns a gate. It asks nobody anything yet.
func New(c Config) (*Gate, error) {
	if c.Audience == "" {
		return nil, errors.New("no audience: every token of the cluster would do")
	}
	if c.Namespace == "" {
		return nil, errors.New("no namespace: access is asked for in one")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	unhurried := rest.CopyConfig(c.API)
	unhurried.QPS = -1 // what bounds the questions is maxReviews, and the API server's own priority and fairness

	reviews, err := authenticationclient.NewForConfig(unhurried)
	if err != nil {
		return nil, fmt.Errorf("client for TokenReviews: %w", err)
	}
	access, err := authorizationclient.NewForConfig(unhurried)
	if err != nil {
		return nil, fmt.Errorf("client for LocalSubjectAccessReviews: %w", err)
	}
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}
	g := &Gate{
		audience: authenticator.Audiences{c.Audience}, config: c,
		known: newKnown(), again: make(chan struct{}, maxReviews), strangers: newRoom(maxReviews),
		access: newPermissions(c.Namespace, access, backoff),
	}
	// Without audiences of its own: an authenticator that does not say for whom a token
	// is would make every token one for us. Its cache has no bound, and is not used.
	if g.tokens, _, err = (authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient: reviews, TokenAccessReviewTimeout: reviewTimeout, WebhookRetryBackoff: &backoff, CacheTTL: 0,
	}).New(); err != nil {
		return nil, fmt.Errorf("delegating authenticator: %w", err)
	}
	return g, nil
}

// Authenticate implements auth.Gate. It takes the token out of the request, so
// that nobody further in can use or log it.
func (g *Gate) Authenticate(r *http.Request) (auth.Caller, error) {
	fields := r.Header.Values("Authorization")
	r.Header.Del("Authorization")
	if len(fields) != 1 || !plausible(fields[0]) {
		return auth.Caller{}, auth.ErrUnauthenticated
	}
	_, token, _ := strings.Cut(fields[0], " ")
	key := g.known.key(token)
	if caller, fresh, _ := g.look(key); fresh {
		return caller, nil
	}
	// Whoever comes with the same token meanwhile gets the same answer, and the review goes on without its client.
	from := addressOf(r.RemoteAddr)
	asked := g.reviews.DoChan(string(key[:]), func() (any, error) { return g.review(fields[0], key, from) })
	select {
	case answer := <-asked:
		caller, _ := answer.Val.(auth.Caller)
		return caller, answer.Err
	case <-r.Context().Done():
		return auth.Caller{}, auth.ErrUnavailable
	}
}

// look returns who has a token, whether that may be believed still, and whether the token is known at all.
func (g *Gate) look(key tokenKey) (c auth.Caller, fresh, known bool) {
	now := time.Now()
	c, reviewed, known := g.known.look(key, now)
	return c, known && now.Sub(reviewed) < CacheTTL, known
}

// review asks whose the token of a field is, once there is a place for it.
func (g *Gate) review(field string, key tokenKey, from netip.Addr) (auth.Caller, error) {
	caller, fresh, known := g.look(key)
	if fresh { // another review has ended in between
		return caller, nil
	}
	leave, err := g.enter(known, from)
	if err != nil {
		g.config.Log.Warn("a token can't be reviewed", "error", err, "known", known)
		return auth.Caller{}, auth.ErrUnavailable
	}
	defer leave()
	// The authenticator reads other headers too, and is shown none of them.
	ctx := authenticator.WithAudiences(context.Background(), g.audience)
	shown := (&http.Request{Header: http.Header{"Authorization": {field}}}).WithContext(ctx)
	asked := time.Now()
	response, ok, err := g.tokens.AuthenticateRequest(shown)
	switch {
	case ok && err == nil:
		caller := callerOf(response.User)
		g.known.keep(key, caller, asked)
		return caller, nil
	case err != nil && isUnavailable(err):
		g.config.Log.Warn("a token can't be reviewed", "error", err, "known", known)
		return auth.Caller{}, auth.ErrUnavailable
	}
	g.known.forget(key)
	return auth.Caller{}, auth.ErrUnauthenticated
}

// enter takes a place to review a token, which leave gives back.
func (g *Gate) enter(known bool, from netip.Addr) (leave func(), err error) {
	if !known {
		return func() { g.strangers.leave(from) }, g.strangers.enter(from)
	}
	patience := time.NewTimer(reviewTimeout)
	defer patience.Stop()
	select {
	case g.again <- struct{}{}:
		return func() { <-g.again }, nil
	case <-patience.C:
		return nil, errors.New("too many known tokens are being reviewed")
	}
}

// Authorize implements auth.Gate.
func (g *Gate) Authorize(ctx context.Context, c auth.Caller, a auth.Action) error {
	if a.Namespace != g.config.Namespace {
		return auth.Forbid(c, a)
	}
	resource := g.config.Resource
	if a.Subresource == auth.Objects {
		resource = g.config.Stores
	}
	allowed, err := g.access.allowed(ctx, c, authorizationv1.ResourceAttributes{
		Verb: string(a.Verb), Name: a.Name,
		Group: g.config.Group, Version: g.config.Version, Resource: resource, Subresource: string(a.Subresource),
	})
	switch {
	case err != nil:
		g.config.Log.WarnContext(ctx, "a permission can't be reviewed", "error", err)
		return auth.ErrUnavailable
	case !allowed:
		return auth.Forbid(c, a)
	}
	return nil
}

// plausible reports whether a field could hold a bearer token, so that what
// can't be one is not asked about.
func plausible(field string) bool {
	scheme, token, _ := strings.Cut(field, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return false
	}
	for _, c := range []byte(token) { // RFC 6750 section 2.1
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("-._~+/=", rune(c)) {
			return false
		}
	}
	return true
}

// isUnavailable reports whether an error says that nobody could be asked,
// rather than that the token is not good.
func isUnavailable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	return isOfRequest(err)
}

func callerOf(u user.Info) auth.Caller {
	return auth.Caller{User: u.GetName(), UID: u.GetUID(), Groups: slices.Clone(u.GetGroups()), Extra: maps.Clone(u.GetExtra())}
}
