package chunkapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/auth/ticket"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// booth is a gate for tickets of store ml/models beside the gate of access_test.go.
type booth struct {
	*ticket.Gate
	users *gate
}

func newBooth(t testing.TB) *booth {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tickets")
	content := fmt.Sprintf(`{"keys":[{"id":"a","key":%q,"notBefore":"2026-01-01T00:00:00Z"}]}`,
		base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := ticket.OpenKeys(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &booth{Gate: ticket.NewGate(keys, "ml", "models"), users: &gate{}}
}

// config has the booth at the door.
func (b *booth) config() Config {
	return Config{Gate: auth.WithTickets{Tickets: b.Gate, Others: b.users}, Tickets: b.Gate, Endpoint: "https://models.ml.svc:8443"}
}

// asAlice are the headers of somebody who may do everything.
func asAlice(more ...string) []string { return append([]string{"X-User", "alice"}, more...) }

// ask asks for a ticket as Alice does.
func (w *world) ask(name, body string) answer {
	w.t.Helper()
	return w.do(http.MethodPost, base(name)+"/tickets", strings.NewReader(body), asAlice("Content-Type", "application/json")...)
}

func (a answer) ticket(t testing.TB) NewTicket {
	t.Helper()
	return decode[NewTicket](t, a.want(t, http.StatusCreated).body)
}

func holding(made NewTicket) []string { return []string{"Authorization", "Bearer " + made.Ticket} }

// finish publishes an upload as Alice does.
func finish(w *world, name string, data []byte) {
	w.t.Helper()
	w.put(name, 0, data, asAlice()...).want(w.t, http.StatusCreated)
	w.do(http.MethodPost, base(name)+"/complete", nil, asAlice()...).want(w.t, http.StatusOK)
}

func TestATicketSendsAnObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: newBooth(t).config()})
	w.accepted("a", 4, 4)
	before := time.Now()
	a := w.do(http.MethodPost, base("a")+"/tickets", nil, asAlice()...)
	made := a.ticket(t)
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers: %v", a.Header)
	}
	if !slices.Equal(made.Verbs, []auth.Verb{auth.Update, auth.Get}) || made.Link != "" {
		t.Errorf("got %+v", made)
	}
	if d := made.ExpirationTime.Sub(before); d < time.Hour-2*time.Second || d > time.Hour+patience {
		t.Errorf("it is good for %s", d)
	}
	w.put("a", 0, []byte("0123"), holding(made)...).want(t, http.StatusCreated)
	if st := w.do(http.MethodGet, base("a"), nil, holding(made)...); st.want(t, http.StatusOK).status(t).ReceivedChunks != 1 || st.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("status: %v %s", st.Header, st.body)
	}
	w.do(http.MethodDelete, base("a"), nil, holding(made)...).want(t, http.StatusForbidden)
	w.do(http.MethodPost, base("a")+"/complete", nil, holding(made)...).want(t, http.StatusOK)
	if got := w.object("a"); string(got) != "0123" {
		t.Errorf("the object is %q", got)
	}
}

func TestATicketEndsWithItsSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: newBooth(t).config()})
	all := `{"verbs":["update","get","delete"]}`
	for name, end := range map[string]struct {
		state  State
		reason upload.Reason
		by     func(name upload.Name, made NewTicket)
	}{
		"published": {StatePublished, upload.Published, func(n upload.Name, _ NewTicket) { finish(w, n.Name, []byte("0123")) }},
		"aborted": {StateAborted, upload.ClientAborted, func(n upload.Name, made NewTicket) {
			w.do(http.MethodDelete, base(n.Name), nil, holding(made)...).want(t, http.StatusNoContent)
		}},
		"cancelled": {StateAborted, upload.Cancelled, func(n upload.Name, _ NewTicket) {
			if _, err := w.uploads.Cancel(t.Context(), w.meta(n).ID, upload.Cancelled, "no more"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		n := w.accepted(name, 4, 4)
		made := w.ask(name, all).ticket(t)
		end.by(n, made)
		if st := w.do(http.MethodGet, base(name), nil, asAlice()...).want(t, http.StatusOK).status(t); st.State != end.state {
			t.Fatalf("%s: the session is %s", name, st.State)
		}
		for line := range calls(name) {
			method, path, _ := strings.Cut(line, " ")
			if path == collection || strings.HasSuffix(path, "/tickets") {
				w.do(method, path, nil, holding(made)...).want(t, http.StatusForbidden)
				continue
			}
			a := w.do(method, path, strings.NewReader("0123"), holding(made)...).want(t, http.StatusGone)
			if method == http.MethodHead {
				continue
			}
			if p := a.problem(t); p.Code != CodeTicketEnded || p.Result == nil || p.Result.Reason != end.reason {
				t.Errorf("%s: %s: %s", name, line, a.body)
			}
		}
	}
}

// A ticket of a session that is gone gets what a forged one gets, whoever has the name now.
func TestATicketIsNotForANamesake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: newBooth(t).config()})
	mine := func(name string) NewTicket {
		w.accepted(name, 4, 4)
		return w.ask(name, `{"verbs":["update","get","delete"]}`).ticket(t)
	}
	end := func(name string) {
		t.Helper()
		n := upload.Name{Namespace: "ml", Name: name}
		id := w.meta(n).ID
		if _, err := w.uploads.Cancel(t.Context(), id, upload.Deleted, "deleted"); err != nil {
			t.Fatal(err)
		}
		if err := w.uploads.Forget(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.directory.set(n, nil)
	}
	tickets := map[string]NewTicket{}
	for _, name := range []string{"gone", "again", "done", "queued", "over", "lagging"} {
		tickets[name] = mine(name)
		if name == "lagging" {
			// The dataplane learns of the namesake from the directory alone.
			n := upload.Name{Namespace: "ml", Name: name}
			if _, err := w.uploads.Cancel(t.Context(), w.meta(n).ID, upload.Deleted, "deleted"); err != nil {
				t.Fatal(err)
			}
			w.grant(name, 4, 4)
			continue
		}
		end(name)
	}
	w.accepted("again", 4, 4)
	w.accepted("done", 4, 4)
	finish(w, "done", []byte("0123"))
	w.directory.set(upload.Name{Namespace: "ml", Name: "queued"}, upload.ErrNotReady)
	w.directory.set(upload.Name{Namespace: "ml", Name: "over"}, &session.EndedError{Meta: session.Meta{ID: "uid-another", State: session.Aborted}})

	for name, made := range tickets {
		for line, action := range calls(name) {
			if action.Subresource != auth.Content {
				continue
			}
			method, path, _ := strings.Cut(line, " ")
			send := func(text string) answer {
				a := w.do(method, path, strings.NewReader("0123"), "Authorization", "Bearer "+text, "X-Request-Id", "1")
				a.Header.Del("Date")
				return a
			}
			good, forged := send(made.Ticket), send(made.Ticket+"x")
			if good.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: %s: %d %s", name, line, good.StatusCode, good.body)
			}
			if fmt.Sprint(good.Header) != fmt.Sprint(forged.Header) || !bytes.Equal(good.body, forged.body) {
				t.Errorf("%s: %s tells that the ticket was good once: %v %s\nand %v %s", name, line, good.Header, good.body, forged.Header, forged.body)
			}
		}
	}
	if m := w.meta(upload.Name{Namespace: "ml", Name: "again"}); m.HeldChunks != 0 || m.State.Ended() {
		t.Errorf("the namesake became %+v", m)
	}
}

// While a chunk waits for its turn its session may be replaced by a namesake.
func TestATicketInLineIsNotForANamesake(t *testing.T) {
	t.Parallel()
	config := newBooth(t).config()
	config.MaxConcurrentChunks = 1
	w := newWorld(t, options{api: config})
	other := w.accepted("other", 8, 4)
	slow := w.dial()
	slow.send(http.MethodPut, chunkPath("other", 0), 4, []byte("xx"), asAlice()...)
	w.inFlight(other, 1)

	n := w.accepted("a", 4, 4)
	made := w.ask("a", "").ticket(t)
	late := w.dial()
	late.send(http.MethodPut, chunkPath("a", 0), 4, []byte("0123"), holding(made)...)
	w.inLine(n, 1)
	id := w.meta(n).ID
	if _, err := w.uploads.Cancel(t.Context(), id, upload.Deleted, "deleted"); err != nil {
		t.Fatal(err)
	}
	if err := w.uploads.Forget(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.accepted("a", 4, 4)
	slow.write([]byte("xx"))
	slow.receive(http.MethodPut).want(t, http.StatusCreated)
	late.receive(http.MethodPut).want(t, http.StatusUnauthorized)
	if m := w.meta(n); m.ID == id || m.HeldChunks != 0 {
		t.Errorf("the namesake has a chunk: %+v", m)
	}
}

func TestATicketForWhatWasPublishedReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: newBooth(t).config()})
	n := w.accepted("a", 4, 4)
	finish(w, "a", []byte("0123"))
	made := w.do(http.MethodPost, base("a")+"/tickets", nil, asAlice()...).ticket(t)
	if !slices.Equal(made.Verbs, []auth.Verb{auth.Get}) {
		t.Errorf("verbs: %v", made.Verbs)
	}
	if want := "https://ticket:" + made.Ticket + "@models.ml.svc:8443" + base("a") + "/content"; made.Link != want {
		t.Errorf("the link is %s, want %s", made.Link, want)
	}
	if a := w.do(http.MethodGet, base("a")+"/content", nil, holding(made)...).want(t, http.StatusOK); string(a.body) != "0123" {
		t.Errorf("got %q", a.body)
	}
	w.do(http.MethodGet, base("a"), nil, holding(made)...).want(t, http.StatusOK)
	w.put("a", 0, []byte("0123"), holding(made)...).want(t, http.StatusForbidden)
	for _, verbs := range []string{`["update","get"]`, `["delete"]`} {
		a := w.ask("a", `{"verbs":`+verbs+`}`)
		if p := a.problem(t); a.StatusCode != http.StatusConflict || p.Code != CodeAlreadyEnded || p.Result == nil {
			t.Errorf("%s: %d %s", verbs, a.StatusCode, a.body)
		}
	}
	if err := w.uploads.Forget(t.Context(), w.meta(n).ID); err != nil {
		t.Fatal(err)
	}
	w.directory.set(n, nil)
	w.do(http.MethodGet, base("a")+"/content", nil, holding(made)...).want(t, http.StatusUnauthorized)
}

// A link works in a client that knows nothing but links.
func TestALinkWorksInCurl(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: newBooth(t).config()})
	w.accepted("a", 4, 4)
	finish(w, "a", []byte("0123"))
	made := w.ask("a", "").ticket(t)
	link := strings.Replace(made.Link, "https://", "http://", 1)
	link = strings.Replace(link, "models.ml.svc:8443", w.addr, 1)
	var body []byte
	if curl, err := exec.LookPath("curl"); err == nil {
		if body, err = exec.CommandContext(t.Context(), curl, "--silent", "--show-error", "--fail", "--max-time", "20", "--noproxy", "*", link).Output(); err != nil {
			t.Fatal(err)
		}
	} else {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body = w.read(resp).body
	}
	if string(body) != "0123" {
		t.Errorf("got %q", body)
	}
	// In the query a ticket is nothing.
	for _, query := range []string{"?ticket=", "?access_token=", "?token="} {
		w.do(http.MethodGet, base("a")+"/content"+query+made.Ticket, nil).want(t, http.StatusUnauthorized)
	}
	tellsNothing(t, w, made)
}

// tellsNothing fails where the log has a part of a ticket.
func tellsNothing(t *testing.T, w *world, made NewTicket) {
	t.Helper()
	log := w.log.String()
	if log == "" {
		t.Error("there is no log to look at")
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(made.Ticket, ticket.Prefix), ".") {
		if strings.Contains(log, part[:8]) || strings.Contains(log, part[len(part)-8:]) {
			t.Errorf("the log has %q of the ticket %s:\n%s", part, made.Ticket, log)
		}
	}
}

func TestNobodyIsToldATicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: newBooth(t).config()})
	w.accepted("a", 4, 4)
	made := w.ask("a", "").ticket(t)
	w.failWrites(func() error { return fmt.Errorf("secret") })
	for line := range calls("a") {
		method, path, _ := strings.Cut(line, " ")
		for _, text := range []string{made.Ticket, made.Ticket + "x", "x" + made.Ticket} {
			for _, field := range []string{"Bearer " + text, "Basic " + base64.StdEncoding.EncodeToString([]byte("ticket:"+text))} {
				a := w.do(method, path+"?ticket="+text, strings.NewReader("0123"), "Authorization", field, "X-User", "mallory")
				for part := range strings.SplitSeq(strings.TrimPrefix(made.Ticket, ticket.Prefix), ".") {
					if strings.Contains(string(a.body), part[:8]) || strings.Contains(fmt.Sprint(a.Header), part[:8]) {
						t.Errorf("%s tells %s: %v %s", line, part, a.Header, a.body)
					}
				}
			}
		}
	}
	if log := w.log.String(); !strings.Contains(log, "ticket made") || !strings.Contains(log, "ticket=true") || !strings.Contains(log, "user=alice") {
		t.Errorf("the log does not tell who made a ticket and what was refused with it:\n%s", log)
	}
	tellsNothing(t, w, made)
}

// denying is a gate for users that denies what is in it.
type denying map[auth.Verb]bool

func (d denying) Authenticate(*http.Request) (auth.Caller, error) {
	return auth.Caller{User: "bob"}, nil
}

func (d denying) Authorize(_ context.Context, c auth.Caller, a auth.Action) error {
	if a.Subresource == auth.Content && d[a.Verb] || a.Subresource == auth.Tickets && d[auth.Create] {
		return auth.Forbid(c, a)
	}
	return nil
}

func TestNobodyDelegatesWhatTheyMayNotDo(t *testing.T) {
	t.Parallel()
	for body, denied := range map[string]auth.Verb{
		"":                                    auth.Update,
		`{}`:                                  auth.Get,
		`{"verbs":["get"]}`:                   auth.Get,
		`{"verbs":["update"]}`:                auth.Update,
		`{"verbs":["get","delete"]}`:          auth.Delete,
		`{"verbs":["update","get","delete"]}`: auth.Delete,
		`{"verbs":["delete"]}`:                auth.Create,
	} {
		config := newBooth(t).config()
		config.Gate = denying{denied: true}
		w := newWorld(t, options{api: config})
		w.accepted("a", 4, 4)
		a := w.do(http.MethodPost, base("a")+"/tickets", strings.NewReader(body), "Content-Type", "application/json").want(t, http.StatusForbidden)
		if p := a.problem(t); !strings.Contains(p.Detail, string(denied)) {
			t.Errorf("%s: %s", body, p.Detail)
		}
		if denied == auth.Update && body == "" {
			continue // who may get may know that there is one
		}
		missing := w.do(http.MethodPost, base("b")+"/tickets", strings.NewReader(body), "Content-Type", "application/json").want(t, http.StatusForbidden)
		if strings.ReplaceAll(string(missing.body), "sessions/b", "sessions/a") != strings.ReplaceAll(string(a.body), `\"a\"`, `\"b\"`) {
			t.Errorf("%s tells that there is a session: %s\nand %s", body, a.body, missing.body)
		}
	}
}

// A gate that lets everybody do everything does not let tickets make tickets.
func TestATicketMakesNoTickets(t *testing.T) {
	t.Parallel()
	b := newBooth(t)
	config := b.config()
	config.Gate = careless{b.Gate}
	w := newWorld(t, options{api: config})
	n := w.accepted("a", 4, 4)
	text, err := b.Mint(auth.Ticket{Namespace: "ml", Name: "a", Session: w.meta(n).ID, Verbs: []auth.Verb{auth.Get}, Expires: time.Now().Add(time.Hour)}, "alice", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.do(http.MethodPost, base("a")+"/tickets", nil, "Authorization", "Bearer "+text).want(t, http.StatusForbidden)
}

type careless struct{ *ticket.Gate }

func (careless) Authorize(context.Context, auth.Caller, auth.Action) error { return nil }

func TestATicketEndsByTheDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: newBooth(t).config()})
	deadline := time.Now().Add(10 * time.Minute)
	w.accepted("a", 4, 4, func(g *upload.Grant) { g.Deadline = deadline })
	if got := w.ask("a", "").ticket(t).ExpirationTime; !got.Equal(deadline.UTC().Truncate(time.Second)) {
		t.Errorf("it ends at %s, the session by %s", got, deadline)
	}
	short := w.ask("a", `{"expirationSeconds":6e1}`).ticket(t)
	if left := time.Until(short.ExpirationTime); left > time.Minute {
		t.Errorf("it is good for %s", left)
	}
	finish(w, "a", []byte("0123"))
	if got := w.ask("a", `{"expirationSeconds":86400}`).ticket(t).ExpirationTime; got.Before(deadline) {
		t.Errorf("what is published has no deadline, and the ticket ends at %s", got)
	}
	w.accepted("b", 4, 4, func(g *upload.Grant) { g.Deadline = time.Now().Add(time.Second / 2) })
	if a := w.ask("b", ""); a.StatusCode == http.StatusCreated && !a.ticket(t).ExpirationTime.Before(time.Now().Add(time.Second)) {
		t.Errorf("it outlives the session: %s", a.body)
	}
}

func TestTicketLifetimesAgree(t *testing.T) {
	t.Parallel()
	if maxTicketSeconds*time.Second != ticket.MaxLifetime || ticketUser != ticket.User {
		t.Error("the protocol and package ticket disagree")
	}
}

func TestWithoutTicketsThereIsNoSuchCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.accepted("a", 4, 4)
	if a := w.do(http.MethodPost, base("a")+"/tickets", nil); a.StatusCode != http.StatusNotFound || a.problem(t).Code != CodeNotFound {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	with := newWorld(t, options{api: newBooth(t).config()})
	without := newWorld(t, options{api: Config{Gate: &gate{}}})
	bearer := `Bearer realm="slipway"`
	if got := with.do(http.MethodGet, "/", nil).Header.Values("WWW-Authenticate"); !slices.Equal(got, []string{bearer, `Basic realm="slipway", charset="UTF-8"`}) {
		t.Errorf("with tickets: %q", got)
	}
	if got := without.do(http.MethodGet, "/", nil).Header.Values("WWW-Authenticate"); !slices.Equal(got, []string{bearer}) {
		t.Errorf("without tickets: %q", got)
	}
}

// ticketProblemCases make the problems that only tickets have.
func ticketProblemCases(t *testing.T) []problemCase {
	var cases []problemCase
	for name, body := range map[string]string{
		"another verb":       `{"verbs":["create"]}`,
		"every verb":         `{"verbs":["*"]}`,
		"a verb twice":       `{"verbs":["get","get"]}`,
		"no verbs":           `{"verbs":[]}`,
		"a short time":       `{"expirationSeconds":59}`,
		"a long time":        `{"expirationSeconds":86401}`,
		"no whole seconds":   `{"expirationSeconds":60.5}`,
		"a field more":       `{"name":"b"}`,
		"a field twice":      `{"verbs":["get"],"verbs":["get"]}`,
		"a field in another": `{"Verbs":["get"]}`,
		"no JSON":            `verbs`,
		"two bodies":         `{}{}`,
	} {
		cases = append(cases, problemCase{
			name: "ticket with " + name, code: CodeInvalidTicketRequest, status: http.StatusBadRequest, options: options{api: newBooth(t).config()},
			make: func(w *world) answer {
				w.accepted("a", 4, 4)
				return w.ask("a", body)
			},
		})
	}
	ofType := func(headers ...string) func(w *world) answer {
		return func(w *world) answer {
			w.accepted("a", 4, 4)
			return w.do(http.MethodPost, base("a")+"/tickets", strings.NewReader("{}"), asAlice(headers...)...)
		}
	}
	return append(cases, problemCase{
		name: "ticket whose session was aborted", code: CodeTicketEnded, status: http.StatusGone, options: options{api: newBooth(t).config()},
		make: func(w *world) answer {
			w.accepted("a", 4, 4)
			made := w.ask("a", "").ticket(w.t)
			w.do(http.MethodDelete, base("a"), nil, asAlice()...).want(w.t, http.StatusNoContent)
			return w.put("a", 0, []byte("0123"), holding(made)...)
		},
		check: endedAs(upload.ClientAborted),
	}, problemCase{
		name: "ticket for what was aborted", code: CodeSessionEnded, status: http.StatusGone, options: options{api: newBooth(t).config()},
		make: func(w *world) answer {
			w.accepted("a", 4, 4)
			w.do(http.MethodDelete, base("a"), nil, asAlice()...).want(w.t, http.StatusNoContent)
			return w.ask("a", "")
		},
		check: endedAs(upload.ClientAborted),
	}, problemCase{
		name: "ticket for nothing", code: CodeUnknownSession, status: http.StatusNotFound, options: options{api: newBooth(t).config()},
		make: func(w *world) answer { return w.ask("a", "") },
	}, problemCase{
		name: "ticket asked for in a form", code: CodeUnsupportedMediaType, status: http.StatusUnsupportedMediaType, options: options{api: newBooth(t).config()},
		make: ofType("Content-Type", "application/x-www-form-urlencoded"),
	}, problemCase{
		name: "ticket asked for at length", code: CodeBodyTooLarge, status: http.StatusRequestEntityTooLarge, options: options{api: newBooth(t).config()},
		make: func(w *world) answer {
			w.accepted("a", 4, 4)
			return w.ask("a", strings.Repeat(" ", maxTicketRequest)+"{}")
		},
	})
}

// TestNewTicketsAreWhatTheDocsShow holds the fields of the reply to what docs/protocol.md tells.
func TestNewTicketsAreWhatTheDocsShow(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	sample, err := json.Marshal(NewTicket{Verbs: []auth.Verb{auth.Get}, Link: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for field := range decode[map[string]any](t, sample) {
		if !strings.Contains(string(doc), `"`+field+`": `) && !strings.Contains(string(doc), "`"+field+"`") {
			t.Errorf("docs/protocol.md does not show %s", field)
		}
	}
}
