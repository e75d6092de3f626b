package chunkapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const (
	collection = "/v1/namespaces/ml/uploadsessions"
	anySpec    = `{"key": "models/abc", "sizeBytes": 10}`
)

// printable is every printable character of ASCII.
const printable = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

func (w *world) post(body io.Reader, headers ...string) answer {
	w.t.Helper()
	return w.do(http.MethodPost, collection, body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

// creates makes the creator answer so, whatever it is asked for.
func (w *world) creates(c upload.Created, err error) {
	w.creator.create = func(upload.CreateRequest) (upload.Created, error) { return c, err }
}

// made is a new session of 10 bytes.
func made(change ...func(*upload.Created)) upload.Created {
	c := upload.Created{
		ID: "uid-1", Name: upload.Name{Namespace: "ml", Name: "abc"},
		Key: "models/abc", Size: 10, ChunkSize: 4, Endpoint: "https://models-0:8443",
	}
	for _, change := range change {
		change(&c)
	}
	return c
}

func queued(c *upload.Created) {
	c.Endpoint, c.Waits = "", &upload.Waits{Reason: "QuotaExceeded", Message: "Waits for room."}
}

func refusedCreation(err error) func(w *world) answer {
	return func(w *world) answer {
		w.creates(upload.Created{}, err)
		return w.post(strings.NewReader(anySpec))
	}
}

func badKey(name string, fields ...string) problemCase {
	return problemCase{
		name: "idempotency key " + name, code: CodeInvalidIdempotencyKey, status: 400,
		make: func(w *world) answer {
			w.creates(made(), nil)
			var headers []string
			for _, field := range fields {
				headers = append(headers, "Idempotency-Key", field)
			}
			return w.post(strings.NewReader(anySpec), headers...)
		},
		check: nothingCreated,
	}
}

func nothingCreated(t *testing.T, w *world, _ answer, _ Problem) {
	if len(w.creator.asked) > 0 {
		t.Errorf("asked for %+v", w.creator.asked)
	}
}

// createProblemCases are those of the call that creates a session.
func createProblemCases() []problemCase {
	return []problemCase{
		badKey("without an end", `"1`),
		badKey("that is empty", `""`),
		badKey("of nothing", ""),
		badKey("of two words", "a b"),
		badKey("of bytes", ":YQ==:\t;"),
		badKey("that is a list", `"a", "b"`),
		badKey("twice", `"a"`, `"a"`),
		badKey("too long", `"`+strings.Repeat("a", 256)+`"`),
		badKey("too long, without quotes", strings.Repeat("a", 256)),
		badKey("not of ASCII", "\"\u00e4\""),
		{
			name: "create in a namespace that can't be", code: CodeInvalidName, status: 400,
			make: func(w *world) answer {
				return w.do(http.MethodPost, "/v1/namespaces/m.l/uploadsessions", strings.NewReader(anySpec), "Content-Type", "application/json")
			},
			check: nothingCreated,
		},
		{
			name: "list sessions", code: CodeMethodNotAllowed, status: 405,
			make:  func(w *world) answer { return w.do(http.MethodGet, collection, nil) },
			check: hasHeader("Allow", "POST"),
		},
		{
			name: "malformed spec", code: CodeMalformedSpec, status: 400,
			make: refusedCreation(fmt.Errorf("%w: unknown field \"kye\"", upload.ErrMalformedSpec)),
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if !strings.Contains(p.Detail, `"kye"`) {
					t.Errorf("detail %q", p.Detail)
				}
			},
		},
		{
			name: "body of another type", code: CodeUnsupportedMediaType, status: 415,
			make: func(w *world) answer {
				return w.do(http.MethodPost, collection, strings.NewReader(anySpec), "Content-Type", "application/x-www-form-urlencoded")
			},
			check: nothingCreated,
		},
		{
			name: "body of no type", code: CodeUnsupportedMediaType, status: 415,
			make:  func(w *world) answer { return w.do(http.MethodPost, collection, strings.NewReader(anySpec)) },
			check: nothingCreated,
		},
		{
			name: "spec with an encoding", code: CodeUnsupportedEncoding, status: 415,
			make:  func(w *world) answer { return w.post(strings.NewReader(anySpec), "Content-Encoding", "gzip") },
			check: nothingCreated,
		},
		{
			name: "spec that says it is too large", code: CodeBodyTooLarge, status: 413,
			make: func(w *world) answer {
				c := w.dial()
				c.send(http.MethodPost, collection, maxSpec+1, nil, "Content-Type", "application/json", "Expect", "100-continue")
				return c.receive(http.MethodPost)
			},
			check: nothingCreated,
		},
		{
			name: "spec that is too large", code: CodeBodyTooLarge, status: 413,
			make: func(w *world) answer {
				return w.post(io.MultiReader(bytes.NewReader(make([]byte, maxSpec+1)))) // sent chunked
			},
			check: nothingCreated,
		},
		{
			name: "spec that ends early", code: CodeIncompleteBody, status: 400,
			make: func(w *world) answer {
				c := w.dial()
				c.send(http.MethodPost, collection, len(anySpec), []byte(anySpec)[:4], "Content-Type", "application/json")
				if err := c.CloseWrite(); err != nil {
					w.t.Fatal(err)
				}
				return c.receive(http.MethodPost)
			},
			check: nothingCreated,
		},
		{
			name: "spec that takes too long", code: CodeRequestTimeout, status: 408,
			options: options{api: Config{IdleTimeout: 150 * time.Millisecond}},
			make: func(w *world) answer {
				c := w.dial()
				c.send(http.MethodPost, collection, len(anySpec), nil, "Content-Type", "application/json")
				stop := make(chan struct{})
				defer close(stop)
				go drip(c, bytes.Repeat([]byte(" "), len(anySpec)-1), stop) // however alive it is
				return c.receive(http.MethodPost)
			},
			check: func(t *testing.T, w *world, a answer, p Problem) {
				nothingCreated(t, w, a, p)
				closes(t, w, a, p)
			},
		},
		{
			name: "too many create at once", code: CodeBusy, status: 503, retryAfter: "1",
			make: func(w *world) answer {
				w.takeCreating(maxConcurrentCreates)
				return w.post(strings.NewReader(anySpec))
			},
			check: func(t *testing.T, w *world, a answer, p Problem) {
				nothingCreated(t, w, a, p)
				w.creating.Free(nil)
				w.creates(made(), nil)
				for range 2 { // each leaves its place to the next
					w.post(strings.NewReader(anySpec)).want(t, http.StatusCreated)
				}
			},
		},
		{
			name: "owner is another", code: CodeForbidden, status: 403,
			make: refusedCreation(fmt.Errorf("%w: the policy says no", upload.ErrForbidden)),
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if !strings.Contains(p.Detail, "the policy says no") {
					t.Errorf("detail %q", p.Detail)
				}
			},
		},
		{
			name: "another store", code: CodeMisdirected, status: 421,
			make: refusedCreation(upload.ErrOtherStore),
		},
		{
			name: "invalid spec", code: CodeInvalidSpec, status: 422,
			make: refusedCreation(&upload.InvalidError{Message: "no", Causes: []upload.Cause{
				{Field: "key", Message: "must be a relative path"}, {Message: "too many chunks"},
			}}),
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if len(p.Causes) != 2 || p.Causes[0] != (Cause{"key", "must be a relative path"}) || p.Causes[1] != (Cause{"", "too many chunks"}) {
					t.Errorf("causes %+v", p.Causes)
				}
			},
		},
		{
			name: "invalid spec, for no cause", code: CodeInvalidSpec, status: 422,
			make: refusedCreation(&upload.InvalidError{Message: "a policy says no"}),
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if !strings.Contains(p.Detail, "a policy says no") {
					t.Errorf("detail %q", p.Detail)
				}
			},
		},
		{
			name: "key of another spec", code: CodeIdempotencyKeyReused, status: 422,
			make: refusedCreation(fmt.Errorf("%w: ml/abc", upload.ErrKeyReused)),
		},
		{
			name: "twin that is being deleted", code: CodeSessionDeleting, status: 409, retryAfter: "5",
			make: refusedCreation(fmt.Errorf("%w: ml/abc", upload.ErrDeleting)),
		},
		{
			name: "twin that was rejected", code: CodeRejected, status: 403,
			make:  refusedCreation(rejection()),
			check: rejected,
		},
		{
			name: "rejected while the client waits", code: CodeRejected, status: 403,
			make: func(w *world) answer {
				w.creates(made(queued), nil)
				w.creator.await = func(_ context.Context, c upload.Created) (upload.Created, error) { return c, rejection() }
				return w.post(strings.NewReader(anySpec))
			},
			check: rejected,
		},
		{
			name: "API server is away from who creates", code: CodeUnavailable, status: 503, retryAfter: "1",
			make: refusedCreation(fmt.Errorf("%w: secret", upload.ErrUnavailable)), check: logged,
		},
	}
}

func rejection() error {
	return &upload.RejectedError{
		Name:   upload.Name{Namespace: "ml", Name: "abc"},
		Result: upload.Result{Reason: "QuotaRejected", Message: "There is no room."},
	}
}

func rejected(t *testing.T, _ *world, _ answer, p Problem) {
	if p.Result == nil || p.Result.Reason != "QuotaRejected" || p.Result.Message != "There is no room." || !strings.Contains(p.Detail, "ml/abc") {
		t.Errorf("result %+v, detail %q", p.Result, p.Detail)
	}
}

func TestWhatACreatorIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.creates(made(), nil)
	for _, c := range []struct{ sent, key string }{
		{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, "8e03978e-40d5-43dd-bc93-6894a57f9324"},
		{"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"},
		{`"a \"b\" \\ c"`, `a "b" \ c`},
		{`"1"; later=?1`, "1"},
		{`"` + strings.Repeat("a", 255) + `"`, strings.Repeat("a", 255)},
		{"1", "1"},
		{"upload:7/part=2", "upload:7/part=2"},
	} {
		w.creator.asked = nil
		w.post(strings.NewReader(anySpec), "Idempotency-Key", c.sent).want(t, http.StatusCreated)
		want := upload.CreateRequest{Namespace: "ml", Owner: "system:anonymous", Key: c.key, Spec: []byte(anySpec)}
		if got := w.creator.asked; len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("%s: asked for %+v, want %+v", c.sent, got, want)
		}
	}
	w.creator.asked = nil
	w.do(http.MethodPost, collection, strings.NewReader("any bytes"), "Content-Type", "Application/JSON; charset=UTF-8").want(t, http.StatusCreated)
	if got := w.creator.asked[0]; got.Key != "" || string(got.Spec) != "any bytes" {
		t.Errorf("asked for %+v", got)
	}
}

func TestTheCallerIsTheOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{Gate: &gate{}}})
	w.creates(made(), nil)
	w.post(strings.NewReader(anySpec), "X-User", "alice").want(t, http.StatusCreated)
	if got := w.creator.asked[0].Owner; got != "alice" {
		t.Errorf("the owner is %q", got)
	}
}

func TestWithoutACreatorThereIsNoSuchCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	recorder := httptest.NewRecorder()
	New(Config{Uploads: w.uploads}).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, collection, strings.NewReader(anySpec)))
	if recorder.Code != http.StatusNotFound {
		t.Errorf("status %d, want 404", recorder.Code)
	}
}

func TestHowACreatedSessionStands(t *testing.T) {
	t.Parallel()
	whole := []Range{{0, 2}}
	published := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	base := Status{
		Namespace: "ml", Name: "abc", UID: "uid-1", Key: "models/abc",
		SizeBytes: 10, ChunkSizeBytes: 4, TotalChunks: 3, Missing: whole, MissingChunks: 3,
	}
	there := "https://models-0:8443" + collection + "/abc"
	for _, c := range []struct {
		name       string
		setUp      func(w *world) // the first grant has the ID uid-1
		created    upload.Created
		code       int
		location   string
		retryAfter string
		want       func(s *Status)
	}{
		{
			name: "new, here", setUp: func(w *world) { abc(w) }, created: made(),
			code: 201, location: there, want: func(s *Status) { s.State = StateActive },
		},
		{
			name: "twin, here, with a chunk", setUp: func(w *world) { abc(w); w.put("abc", 1, []byte("4567")).want(w.t, 201) },
			created: made(func(c *upload.Created) { c.Found = true }), code: 200, location: there,
			want: func(s *Status) {
				s.State, s.ReceivedChunks, s.ReceivedBytes = StateActive, 1, 4
				s.Missing, s.MissingChunks = []Range{{0, 0}, {2, 2}}, 2
			},
		},
		{
			name: "suspended, here", setUp: func(w *world) { abc(w, func(g *upload.Grant) { g.Suspended = true }) },
			created: made(), code: 201, location: there, want: func(s *Status) { s.State = StateSuspended },
		},
		{
			name: "elsewhere", setUp: func(w *world) { w.directory.set(made().Name, upload.ErrElsewhere) },
			created: made(), code: 201, location: there, want: func(s *Status) { s.State = StateActive },
		},
		{
			name: "suspended, elsewhere", setUp: func(w *world) { w.directory.set(made().Name, upload.ErrElsewhere) },
			created: made(func(c *upload.Created) { c.Suspended = true }), code: 201, location: there,
			want: func(s *Status) { s.State = StateSuspended },
		},
		{
			name: "another session has the name here", setUp: func(w *world) { abc(w); w.put("abc", 1, []byte("4567")).want(w.t, 201) },
			created: made(func(c *upload.Created) { c.ID = "uid-new" }), code: 201, location: there,
			want: func(s *Status) { s.State, s.UID = StateActive, "uid-new" },
		},
		{
			name: "queued", setUp: func(*world) {}, created: made(queued), code: 201, location: collection + "/abc", retryAfter: "5",
			want: func(s *Status) { s.State, s.Waiting = StateQueued, &Waiting{"QuotaExceeded", "Waits for room."} },
		},
		{
			name: "twin, queued, of the store's chunk size", setUp: func(*world) {},
			created: made(queued, func(c *upload.Created) { c.Found, c.ChunkSize = true, 0 }), code: 200, location: collection + "/abc", retryAfter: "5",
			want: func(s *Status) {
				s.State, s.Waiting = StateQueued, &Waiting{"QuotaExceeded", "Waits for room."}
				s.ChunkSizeBytes, s.TotalChunks, s.Missing, s.MissingChunks = 0, 0, []Range{}, 0
			},
		},
		{
			name: "twin that was published here", setUp: func(w *world) { publish(w, "abc", []byte("0123456789")) },
			created: made(func(c *upload.Created) {
				c.Found, c.State, c.Result = true, session.Finished, &upload.Result{Reason: upload.Published}
			}),
			code: 200, location: there,
			want: func(s *Status) {
				s.State, s.ChunkSizeBytes, s.TotalChunks, s.ReceivedChunks, s.ReceivedBytes = StatePublished, 10, 1, 1, 10
				s.Missing, s.MissingChunks = []Range{}, 0
				s.Result = &Result{Reason: upload.Published, Digest: "sha256:84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"}
			},
		},
		{
			name: "twin that was published and is forgotten here", setUp: func(w *world) {
				w.directory.set(made().Name, &session.EndedError{Meta: session.Meta{ID: "uid-1", State: session.Finished}})
			},
			created: made(func(c *upload.Created) {
				c.Found, c.State = true, session.Finished
				c.Result = &upload.Result{Reason: upload.Published, Digest: "sha256:00", Published: published}
			}),
			code: 200, location: there,
			want: func(s *Status) {
				s.State, s.ReceivedChunks, s.ReceivedBytes, s.Missing, s.MissingChunks = StatePublished, 3, 10, []Range{}, 0
				s.Result = &Result{Reason: upload.Published, Digest: "sha256:00", PublishedTime: &published}
			},
		},
		{
			name: "twin that has failed", setUp: func(*world) {},
			created: made(func(c *upload.Created) {
				c.Found, c.State, c.Result = true, session.Failed, &upload.Result{Reason: "StoreGone", Message: "It is gone."}
			}),
			code: 200, location: there,
			want: func(s *Status) {
				s.State, s.Missing, s.MissingChunks, s.Result = StateFailed, []Range{}, 0, &Result{Reason: "StoreGone", Message: "It is gone."}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{})
			c.setUp(w)
			w.creates(c.created, nil)
			a := w.post(strings.NewReader(anySpec)).want(t, c.code)
			if got := a.Header.Get("Location"); got != c.location {
				t.Errorf("Location is %q, want %q", got, c.location)
			}
			if got := a.Header.Get("Retry-After"); got != c.retryAfter {
				t.Errorf("Retry-After is %q, want %q", got, c.retryAfter)
			}
			want := base
			c.want(&want)
			got := a.status(t)
			if a.Header.Get("Slipway-State") != string(want.State) {
				t.Errorf("Slipway-State is %q", a.Header.Get("Slipway-State"))
			}
			got.LastActivityTime, got.ExpirationTime = nil, nil // of the live ones
			if got.Result != nil && want.Result.PublishedTime == nil {
				got.Result.PublishedTime = nil
			}
			if g, w := asJSON(t, got), asJSON(t, want); g != w {
				t.Errorf("got  %s\nwant %s", g, w)
			}
		})
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// untilDone is an Await that nothing but its context ends.
func untilDone(w *world) <-chan struct{} {
	waiting := make(chan struct{})
	w.creator.await = func(ctx context.Context, c upload.Created) (upload.Created, error) {
		close(waiting)
		<-ctx.Done()
		return c, nil
	}
	return waiting
}

func TestTheWaitForAdmissionIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{CreateWait: 20 * time.Millisecond}})
	w.creates(made(queued), nil)
	untilDone(w)
	if got := w.post(strings.NewReader(anySpec)).want(t, http.StatusCreated).status(t).State; got != StateQueued {
		t.Errorf("state %s", got)
	}
}

func TestAStoppingServerAnswersWhoWaitsForAdmission(t *testing.T) {
	t.Parallel()
	stopping := make(chan struct{})
	w := newWorld(t, options{api: Config{CreateWait: time.Hour, Stopping: stopping}})
	w.creates(made(queued), nil)
	waiting := untilDone(w)
	c := w.dial()
	c.send(http.MethodPost, collection, len(anySpec), []byte(anySpec), "Content-Type", "application/json")
	await(t, "the request waits", waiting)
	close(stopping)
	if got := c.receive(http.MethodPost).want(t, http.StatusCreated).status(t).State; got != StateQueued {
		t.Errorf("state %s", got)
	}
}

func TestAClientThatGoesWaitsNoLonger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{CreateWait: time.Hour}})
	w.creates(made(queued), nil)
	waiting := untilDone(w)
	c := w.dial()
	c.send(http.MethodPost, collection, len(anySpec), []byte(anySpec), "Content-Type", "application/json")
	await(t, "the request waits", waiting)
	if got := w.creating.Taken(); got != 1 {
		t.Errorf("%d requests to create, want 1", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its place is free", func() bool { return w.creating.Taken() == 0 })
}

// The time that a body may take does not bound the wait that comes after it.
func TestTheWaitForAdmissionIsNotIdle(t *testing.T) {
	t.Parallel()
	const idle = 100 * time.Millisecond
	w := newWorld(t, options{api: Config{IdleTimeout: idle, CreateWait: time.Hour}})
	w.creates(made(queued), nil)
	interrupted := errors.New("interrupted")
	w.creator.await = func(ctx context.Context, c upload.Created) (upload.Created, error) {
		select {
		case <-ctx.Done():
			return c, interrupted
		case <-time.After(4 * idle):
			return c, nil
		}
	}
	w.post(strings.NewReader(anySpec)).want(t, http.StatusCreated)
}
