package ticket

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/session"
)

const (
	// MaxLifetime bounds for how long a ticket is good.
	MaxLifetime = 24 * time.Hour
	// Prefix begins the text of every ticket, so that whoever scans for secrets knows one.
	Prefix = "slt_"
	// MaxBytes bounds the text of a ticket.
	MaxBytes = 4 << 10

	// leeway is how far the clocks of two replicas may be apart. A ticket that ends is not helped by it.
	leeway = time.Minute

	issuer    = "slipway"
	tokenType = "slipway-ticket+jwt" // RFC 8725 section 3.11
)

// ErrInvalid means that a ticket can't be made of what was asked for.
var ErrInvalid = errors.New("no ticket can be made of this")

// claims are what is signed. Times are in seconds since 1970.
type claims struct {
	Issuer    string      `json:"iss"`
	Audience  string      `json:"aud"`
	Subject   string      `json:"sub"` // who asked for it
	Session   session.ID  `json:"uid"`
	Namespace string      `json:"ns"`
	Name      string      `json:"name"`
	Verbs     []auth.Verb `json:"verbs"`
	Published bool        `json:"published"`
	IssuedAt  int64       `json:"iat"`
	NotBefore int64       `json:"nbf"`
	Expires   int64       `json:"exp"`
	ID        string      `json:"jti"`
}

// Mint returns the text of a ticket that user asked for. It is good from now on until
// t.Expires, rounded down to a second. ErrInvalid where it would be refused; auth.ErrUnavailable where no
// key may sign yet.
func (g *Gate) Mint(t auth.Ticket, user string, now time.Time) (string, error) {
	signer, ok := g.keys.signer(now)
	if !ok {
		return "", fmt.Errorf("%w: no ticket key may sign yet", auth.ErrUnavailable)
	}
	c := claims{
		Issuer: issuer, Audience: g.audience, Subject: user,
		Session: t.Session, Namespace: t.Namespace, Name: t.Name, Verbs: t.Verbs, Published: t.Published,
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: t.Expires.Unix(), ID: g.newID(),
	}
	if why := g.wrong(c, now); why != "" {
		return "", fmt.Errorf("%w: %s", ErrInvalid, why)
	}
	if !utf8.ValidString(user) { // JSON would have another name
		return "", fmt.Errorf("%w: the user is not UTF-8", ErrInvalid)
	}
	text, err := sign(c, signer)
	if err != nil {
		return "", err
	}
	if len(text) > MaxBytes {
		return "", fmt.Errorf("%w: it would be longer than %d bytes", ErrInvalid, MaxBytes)
	}
	return text, nil
}

// sign is the text of a ticket. It is the same for the same claims and key.
func sign(c claims, by key) (string, error) {
	header := (&jose.SignerOptions{}).WithType(tokenType).WithHeader("kid", by.id)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: by.secret}, header)
	if err != nil {
		return "", fmt.Errorf("sign a ticket: %w", err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("sign a ticket: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign a ticket: %w", err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("sign a ticket: %w", err)
	}
	return Prefix + text, nil
}

// read returns what a ticket says, if it holds. Why it does not is no more
// than a word: no part of it may be told.
func (g *Gate) read(text string, now time.Time) (claims, error) {
	compact, ok := strings.CutPrefix(text, Prefix)
	if !ok || len(text) > MaxBytes {
		return claims{}, refuse("it is too long or no ticket at all")
	}
	signed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil || len(signed.Signatures) != 1 {
		return claims{}, refuse("it is malformed or not signed with HS256")
	}
	by, ok := g.keys.find(signed.Signatures[0].Header.KeyID)
	if !ok {
		return claims{}, refuse("no key has its ID")
	}
	payload, err := signed.Verify(by.secret)
	if err != nil {
		return claims{}, refuse("its signature does not hold")
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return claims{}, refuse("its claims are malformed")
	}
	// A ticket has one spelling: no other header, no claim twice or besides, no spare bits.
	if again, err := sign(c, by); err != nil || subtle.ConstantTimeCompare([]byte(again), []byte(text)) != 1 {
		return claims{}, refuse("it is not written as tickets are")
	}
	if why := g.wrong(c, now); why != "" {
		return claims{}, refuse(why)
	}
	return c, nil
}

// refuse is auth.ErrUnauthenticated, with a reason for the log.
func refuse(why string) error { return fmt.Errorf("%w: ticket: %s", auth.ErrUnauthenticated, why) }

// wrong says in constant words why such a ticket does not hold now; empty where it does.
func (g *Gate) wrong(c claims, now time.Time) string {
	// In this range no sum below overflows.
	const latest = 1 << 40
	if min(c.IssuedAt, c.NotBefore, c.Expires) < 0 || max(c.IssuedAt, c.NotBefore, c.Expires) > latest {
		return "it has a time that can't be"
	}
	switch early := now.Add(leeway).Unix(); {
	case c.Issuer != issuer || c.Audience != g.audience || c.Namespace != g.namespace:
		return "it is for another store"
	case c.Name == "" || c.Session == "" || c.ID == "":
		return "it is for no session"
	case !verbsHold(c.Verbs, c.Published):
		return "it has other verbs than tickets have"
	case c.IssuedAt > early || c.NotBefore > early:
		return "it is not good yet"
	case c.Expires <= now.Unix():
		return "it has expired"
	case c.Expires-c.IssuedAt > int64(MaxLifetime/time.Second):
		return "it is good for too long"
	}
	return ""
}

// verbsHold reports whether a ticket may have these verbs, each once.
func verbsHold(verbs []auth.Verb, published bool) bool {
	for i, v := range verbs {
		known := v == auth.Get || !published && (v == auth.Update || v == auth.Delete)
		if !known || slices.Contains(verbs[:i], v) {
			return false
		}
	}
	return len(verbs) > 0
}
