package ticket

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/slipway-dev/slipway/dataplane/auth"
)

// noon is now in these tests.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 500, time.UTC)

func secret(seed byte) []byte { return bytes.Repeat([]byte{seed}, keyBytes) }

// entry is one key of a file, which signs from so long after noon on.
func entry(id string, seed byte, from time.Duration) keyEntry {
	return keyEntry{ID: id, Key: base64.StdEncoding.EncodeToString(secret(seed)), NotBefore: noon.Add(from).Format(time.RFC3339)}
}

func writeKeys(t testing.TB, path string, entries ...keyEntry) {
	t.Helper()
	content, err := json.Marshal(keyFile{Keys: entries})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// newGate is the gate of store ml/models at noon, with keys.
func newGate(t testing.TB, log *slog.Logger, entries ...keyEntry) (*Gate, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tickets")
	writeKeys(t, path, entries...)
	keys, err := OpenKeys(path, log)
	if err != nil {
		t.Fatal(err)
	}
	g := NewGate(keys, "ml", "models")
	g.now = func() time.Time { return noon }
	return g, path
}

// usual is a ticket for an hour.
func usual() auth.Ticket {
	return auth.Ticket{
		Namespace: "ml", Name: "llama", Session: "uid-1", Verbs: []auth.Verb{auth.Update, auth.Get},
		Expires: noon.Add(time.Hour),
	}
}

func mint(t testing.TB, g *Gate, ticket auth.Ticket) string {
	t.Helper()
	text, err := g.Mint(ticket, "system:serviceaccount:ml:trainer", noon)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// with is a request with Authorization fields.
func with(fields ...string) *http.Request {
	return &http.Request{Header: http.Header{"Authorization": fields}}
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestATicketSaysWhatItWasMadeFor(t *testing.T) {
	g, _ := newGate(t, nil, entry("a", 1, -time.Hour))
	text := mint(t, g, usual())
	if !strings.HasPrefix(text, "slt_") || strings.ContainsAny(text, "+/=:@ ") {
		t.Errorf("the text is %q, which is no token of a header and a URL", text)
	}
	for name, field := range map[string]string{
		"as a token": "Bearer " + text, "with a scheme in lower case": "bearer " + text, "as a password": basic("ticket", text),
	} {
		r := with(field)
		caller, err := g.Authenticate(r)
		if err != nil || !g.LooksLikeTicket(r) {
			t.Fatalf("%s: %v, recognised %v", name, err, g.LooksLikeTicket(r))
		}
		want := usual()
		want.Expires = noon.Add(time.Hour).Truncate(time.Second)
		if caller.User != "system:serviceaccount:ml:trainer" || caller.Ticket == nil || fmt.Sprint(*caller.Ticket) != fmt.Sprint(want) {
			t.Errorf("%s: got %+v", name, caller)
		}
		allowed := auth.Action{Verb: auth.Update, Subresource: auth.Content, Namespace: "ml", Name: "llama"}
		if err := g.Authorize(t.Context(), caller, allowed); err != nil {
			t.Error(err)
		}
		for _, not := range []auth.Action{
			{Verb: auth.Delete, Subresource: auth.Content, Namespace: "ml", Name: "llama"},
			{Verb: auth.Create, Subresource: auth.Tickets, Namespace: "ml", Name: "llama"},
			{Verb: auth.Get, Subresource: auth.Content, Namespace: "ml", Name: "other"},
			{Verb: auth.Create, Namespace: "ml"},
		} {
			if err := g.Authorize(t.Context(), caller, not); !errors.Is(err, auth.ErrForbidden) {
				t.Errorf("%s: %v", not, err)
			}
		}
	}
	if err := g.Authorize(t.Context(), auth.Caller{User: "alice"}, auth.Action{}); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("without a ticket: %v", err)
	}
	if again := mint(t, g, usual()); again == text {
		t.Error("two tickets are one")
	}
}

// forge signs anything as a ticket, with any algorithm, key and header.
func forge(t *testing.T, alg jose.SignatureAlgorithm, with any, id, typ, payload string) string {
	t.Helper()
	header := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	if id != "" {
		header.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: with}, header)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return Prefix + text
}

// claimsOf are the claims of a ticket as they are written in it.
func claimsOf(t testing.TB, text string) string {
	t.Helper()
	parts := strings.Split(text, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// forgeries are all the ways in which a ticket can be wrong.
func forgeries(t *testing.T, g *Gate) map[string]string {
	good := mint(t, g, usual())
	payload := claimsOf(t, good)
	parts := strings.Split(strings.TrimPrefix(good, Prefix), ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	change := func(old, replacement string) string {
		if strings.Count(payload, old) != 1 {
			t.Fatalf("%q is not once in %s", old, payload)
		}
		return strings.Replace(payload, old, replacement, 1)
	}
	hs256 := func(payload string) string { return forge(t, jose.HS256, secret(1), "a", tokenType, payload) }
	if _, err := g.Authenticate(with("Bearer " + hs256(payload))); err != nil {
		t.Fatalf("the forger can't even write a good one: %v", err)
	}
	at := func(d time.Duration) string { return fmt.Sprint(noon.Add(d).Unix()) }
	now, hour := at(0), at(time.Hour)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	bits := good[:len(good)-1] + string(good[len(good)-1]+1) // the last letter has two spare bits
	lifetime := func(exp time.Duration) string {
		return strings.Replace(payload, `"exp":`+hour, `"exp":`+at(exp), 1)
	}
	return map[string]string{
		"nothing":                             "",
		"the prefix":                          Prefix,
		"no prefix":                           strings.TrimPrefix(good, Prefix),
		"two prefixes":                        Prefix + good,
		"alg none":                            Prefix + encode(`{"alg":"none","kid":"a","typ":"`+tokenType+`"}`) + "." + parts[1] + ".",
		"alg none with a signature":           Prefix + encode(`{"alg":"none","kid":"a","typ":"`+tokenType+`"}`) + "." + parts[1] + "." + parts[2],
		"alg RS256":                           forge(t, jose.RS256, rsaKey, "a", tokenType, payload),
		"alg HS512":                           forge(t, jose.HS512, append(secret(1), secret(1)...), "a", tokenType, payload),
		"alg HS256 renamed to RS256":          Prefix + encode(`{"alg":"RS256","kid":"a","typ":"`+tokenType+`"}`) + "." + parts[1] + "." + parts[2],
		"the key in the header":               Prefix + encode(`{"alg":"HS256","jwk":{"kty":"oct","k":"`+base64.RawURLEncoding.EncodeToString(secret(1))+`"},"typ":"`+tokenType+`"}`) + "." + parts[1] + "." + parts[2],
		"kid unknown":                         forge(t, jose.HS256, secret(1), "c", tokenType, payload),
		"kid missing":                         forge(t, jose.HS256, secret(1), "", tokenType, payload),
		"another key under the kid":           forge(t, jose.HS256, secret(9), "a", tokenType, payload),
		"the key of another kid":              forge(t, jose.HS256, secret(1), "b", tokenType, payload),
		"typ JWT":                             forge(t, jose.HS256, secret(1), "a", "JWT", payload),
		"no signature":                        Prefix + parts[0] + "." + parts[1] + ".",
		"half a signature":                    good[:len(good)-20],
		"claims of another ticket":            Prefix + parts[0] + "." + encode(change(`"name":"llama"`, `"name":"other"`)) + "." + parts[2],
		"expired":                             hs256(lifetime(-time.Second)),
		"expires now":                         hs256(lifetime(0)),
		"good for longer than a day":          hs256(lifetime(MaxLifetime + time.Second)),
		"not yet":                             hs256(strings.ReplaceAll(payload, now, at(leeway+time.Second))),
		"not yet, and issued before":          hs256(strings.Replace(payload, `"nbf":`+now, `"nbf":`+at(leeway+time.Second), 1)),
		"issued in the future":                hs256(strings.Replace(payload, `"iat":`+now, `"iat":`+at(leeway+time.Second), 1)),
		"times that overflow":                 hs256(strings.Replace(payload, `"iat":`+now, `"iat":-9223372036854775808`, 1)),
		"an end that overflows":               hs256(strings.Replace(payload, `"exp":`+hour, `"exp":9223372036854775807`, 1)),
		"a time that is no integer":           hs256(strings.Replace(payload, `"exp":`+hour, `"exp":1e300`, 1)),
		"other store":                         hs256(change(`"aud":"ml/models"`, `"aud":"ml/others"`)),
		"other store of another namespace":    hs256(change(`"aud":"ml/models"`, `"aud":"web/models"`)),
		"other namespace":                     hs256(change(`"ns":"ml"`, `"ns":"web"`)),
		"several audiences":                   hs256(change(`"aud":"ml/models"`, `"aud":["ml/models"]`)),
		"other issuer":                        hs256(change(`"iss":"slipway"`, `"iss":"kubernetes"`)),
		"no session":                          hs256(change(`"uid":"uid-1"`, `"uid":""`)),
		"no name":                             hs256(change(`"name":"llama"`, `"name":""`)),
		"no ID":                               hs256(strings.Split(payload, `"jti"`)[0] + `"jti":""}`),
		"a verb that tickets don't have":      hs256(change(`["update","get"]`, `["update","get","create"]`)),
		"every verb":                          hs256(change(`["update","get"]`, `["*"]`)),
		"a verb in capitals":                  hs256(change(`["update","get"]`, `["GET"]`)),
		"no verb":                             hs256(change(`["update","get"]`, `[]`)),
		"a verb twice":                        hs256(change(`["update","get"]`, `["get","get"]`)),
		"published, and more than get":        hs256(change(`"published":false`, `"published":true`)),
		"a claim twice":                       hs256(change(`"name":"llama"`, `"name":"other","name":"llama"`)),
		"a claim twice in another case":       hs256(change(`"name":"llama"`, `"Name":"other","name":"llama"`)),
		"a claim more":                        hs256(change(`"name":"llama"`, `"name":"llama","admin":true`)),
		"claims with space":                   hs256(payload + " "),
		"claims that are null":                hs256("null"),
		"claims that are no JSON":             hs256("llama"),
		"two sets of claims":                  hs256(payload + payload),
		"a line break":                        strings.Replace(good, ".", "\n.", 1),
		"padding":                             good + "=",
		"spare bits":                          bits,
		"four parts":                          good + ".x",
		"JSON":                                Prefix + `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"huge":                                Prefix + strings.Repeat("A", 1<<20) + "." + parts[1] + "." + parts[2],
		"a little too long":                   forge(t, jose.HS256, secret(1), "a", tokenType, change(`"sub":"system`, `"sub":"`+strings.Repeat("s", 3*MaxBytes/4)+"system")),
		"another ticket glued on":             good + good,
		"another prefix":                      "SLT_" + strings.TrimPrefix(good, Prefix),
		"percent encoded":                     strings.Replace(good, "_", "%5F", 1),
		"from a gate that has the other keys": mintElsewhere(t),
	}
}

func mintElsewhere(t *testing.T) string {
	t.Helper()
	g, _ := newGate(t, nil, entry("a", 7, -time.Hour))
	return mint(t, g, usual())
}

func TestAWrongTicketIsNotGood(t *testing.T) {
	g, _ := newGate(t, nil, entry("a", 1, -time.Hour), entry("b", 2, time.Hour))
	for name, text := range forgeries(t, g) {
		for _, field := range []string{"Bearer " + text, basic("ticket", text)} {
			caller, err := g.Authenticate(with(field))
			if !errors.Is(err, auth.ErrUnauthenticated) || caller.Ticket != nil || caller.User != "" {
				t.Errorf("%s: got %+v, %v", name, caller, err)
				continue
			}
			wantNothingOf(t, text, err.Error())
		}
	}
}

// wantNothingOf fails where a part of a ticket that tells anything is in the text.
func wantNothingOf(t *testing.T, ticket, text string) {
	t.Helper()
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(ticket, Prefix), func(r rune) bool { return r == '.' }) {
		if len(part) > 8 && strings.Contains(text, part[:8]) {
			t.Errorf("%q has %q of a ticket", text, part[:8])
		}
	}
}

func TestTheEdgesOfTime(t *testing.T) {
	g, _ := newGate(t, nil, entry("a", 1, -48*time.Hour))
	for name, c := range map[string]struct {
		minted, lifetime time.Duration // since noon
		good             bool
	}{
		"made by a clock that is ahead":     {leeway, time.Hour, true},
		"made by a clock that is too far":   {leeway + time.Second, time.Hour, false},
		"as long as can be":                 {0, MaxLifetime, true},
		"in its last second":                {-time.Hour, time.Hour + time.Second, true},
		"after its last second":             {-time.Hour, time.Hour, false},
		"leeway is none for what has ended": {-time.Hour, time.Hour - leeway/2, false},
	} {
		at := noon.Add(c.minted)
		ticket := usual()
		ticket.Expires = at.Add(c.lifetime)
		text, err := g.Mint(ticket, "alice", at)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := g.Authenticate(with("Bearer " + text)); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMintRefusesWhatWouldBeRefused(t *testing.T) {
	g, _ := newGate(t, nil, entry("a", 1, -time.Hour))
	for name, change := range map[string]func(*auth.Ticket){
		"for too long":       func(t *auth.Ticket) { t.Expires = noon.Add(MaxLifetime + time.Second) },
		"expired":            func(t *auth.Ticket) { t.Expires = noon },
		"without an end":     func(t *auth.Ticket) { t.Expires = time.Time{} },
		"no session":         func(t *auth.Ticket) { t.Session = "" },
		"no name":            func(t *auth.Ticket) { t.Name = "" },
		"another namespace":  func(t *auth.Ticket) { t.Namespace = "web" },
		"no verbs":           func(t *auth.Ticket) { t.Verbs = nil },
		"a verb too many":    func(t *auth.Ticket) { t.Verbs = []auth.Verb{auth.Create} },
		"published, to send": func(t *auth.Ticket) { t.Published = true },
		"a name that is too long": func(t *auth.Ticket) {
			t.Name = strings.Repeat("n", MaxBytes)
		},
	} {
		ticket := usual()
		change(&ticket)
		if text, err := g.Mint(ticket, "alice", noon); !errors.Is(err, ErrInvalid) || text != "" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if _, err := g.Mint(usual(), "\xff", noon); !errors.Is(err, ErrInvalid) {
		t.Errorf("a user that is no text: %v", err)
	}
	if _, err := g.Mint(usual(), "<Müller & 株>\u2028\ufffd", noon); err != nil {
		t.Errorf("a user with a strange name: %v", err)
	}
}

func TestATicketBesideOtherCredentialsIsNotGood(t *testing.T) {
	g, _ := newGate(t, nil, entry("a", 1, -time.Hour))
	good := "Bearer " + mint(t, g, usual())
	for _, fields := range [][]string{{good, good}, {"Bearer token", good}, {good, "Basic x"}} {
		r := with(fields...)
		if !g.LooksLikeTicket(r) {
			t.Errorf("%d fields are not recognised", len(fields))
		}
		if _, err := g.Authenticate(r); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("%d fields: %v", len(fields), err)
		}
	}
}

func TestWhatLooksLikeATicket(t *testing.T) {
	g, _ := newGate(t, nil, entry("a", 1, -time.Hour))
	for field, want := range map[string]bool{
		"Bearer slt_x": true, "bearer  slt_": true, "Bearer eyJhbGciOiJSUzI1NiJ9.e30.x": false, "slt_x": false, "": false,
		"Digest slt_x": false, basic("ticket", "x"): true, basic("alice", "slt_x"): false, "Basic !": false,
	} {
		if got := g.LooksLikeTicket(with(field)); got != want {
			t.Errorf("%q: %v, want %v", field, got, want)
		}
	}
	if g.LooksLikeTicket(with()) {
		t.Error("nothing looks like a ticket")
	}
	if _, err := g.Authenticate(with()); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("nothing: %v", err)
	}
	r := with()
	r.URL = mustURL(t, "https://h/?ticket="+mint(t, g, usual()))
	if g.LooksLikeTicket(r) {
		t.Error("a ticket in the query is looked at")
	}
}

// FuzzTicket: only what Mint made gets in.
func FuzzTicket(f *testing.F) {
	g, _ := newGate(f, slog.New(slog.DiscardHandler), entry("a", 1, -time.Hour), entry("b", 2, time.Hour))
	g.newID = func() string { return "one" } // each process that looks for inputs makes the same tickets
	var made []string
	for _, t := range []auth.Ticket{
		usual(),
		{Namespace: "ml", Name: "x", Session: "uid-2", Verbs: []auth.Verb{auth.Get}, Published: true, Expires: noon.Add(MaxLifetime)},
	} {
		text, err := g.Mint(t, "alice", noon)
		if err != nil {
			f.Fatal(err)
		}
		made = append(made, text)
		f.Add("Bearer " + text)
		f.Add(basic(User, text))
		f.Add("Bearer " + text[:len(text)-1] + "=")
		f.Add("bearer\t" + text)
		f.Add(basic(User, text+"\n"))
	}
	for _, seed := range []string{"", "Bearer slt_", "Bearer slt_..", "Bearer slt_e30.e30.e30", "Basic dGlja2V0Og==", "Bearer slt_eyJhbGciOiJub25lIn0.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		r := with(field)
		caller, err := g.Authenticate(r)
		if err != nil {
			if !errors.Is(err, auth.ErrUnauthenticated) {
				t.Errorf("got %v", err)
			}
			return
		}
		text, _ := ticketIn(field)
		if !slices.Contains(made, text) {
			t.Errorf("%q was let in as %+v", field, caller)
		}
		if !g.LooksLikeTicket(r) || caller.Ticket == nil {
			t.Errorf("%q was let in and is not recognised, or without a ticket: %+v", field, caller)
		}
	})
}

// gateOf is a gate that tells who was asked.
type gateOf string

func (g gateOf) Authenticate(*http.Request) (auth.Caller, error) {
	return auth.Caller{User: string(g)}, nil
}

func (g gateOf) Authorize(context.Context, auth.Caller, auth.Action) error {
	return errors.New(string(g))
}

func TestATicketIsAskedAboutAtOneGate(t *testing.T) {
	g, _ := newGate(t, nil, entry("a", 1, -time.Hour))
	both := auth.WithTickets{Tickets: g, Others: gateOf("others")}
	if c, err := both.Authenticate(with("Bearer token")); err != nil || c.User != "others" {
		t.Errorf("a token: %+v, %v", c, err)
	}
	if err := both.Authorize(t.Context(), auth.Caller{User: "others"}, auth.Action{}); err == nil || err.Error() != "others" {
		t.Errorf("who came with a token was judged by %v", err)
	}
	if c, err := both.Authenticate(with("Bearer " + mintElsewhere(t))); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a wrong ticket was let in elsewhere: %+v", c)
	}
	c, err := both.Authenticate(with("Bearer " + mint(t, g, usual())))
	if err != nil || c.Ticket == nil {
		t.Fatalf("a ticket: %+v, %v", c, err)
	}
	if err := both.Authorize(t.Context(), c, auth.Action{Verb: auth.Create, Namespace: "ml"}); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("who came with a ticket was judged by %v", err)
	}
}
