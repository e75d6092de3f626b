package chunkapi

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestPreferredWait(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fields []string
		want   time.Duration
		ok     bool
	}{
		{nil, 0, false},
		{[]string{"wait=10"}, 10 * time.Second, true},
		{[]string{"Wait = \"10\""}, 10 * time.Second, true},
		{[]string{"wait=0"}, 0, true},
		{[]string{"respond-async, wait=10; why=not"}, 10 * time.Second, true},
		{[]string{"return=minimal", "wait=3"}, 3 * time.Second, true},
		{[]string{"wait=3, wait=5"}, 3 * time.Second, true},
		{[]string{"wait=4294967295"}, time.Hour, true},
		{[]string{"wait"}, 0, false},
		{[]string{"wait=-1"}, 0, false},
		{[]string{"wait=soon, wait=5"}, 0, false},
		{[]string{"wait=99999999999999999999"}, 0, false},
		{[]string{"await=10"}, 0, false},
		{[]string{""}, 0, false},
	} {
		if got, ok := preferredWait(http.Header{"Prefer": c.fields}); ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %v, %v, want %v, %v", c.fields, got, ok, c.want, c.ok)
		}
	}
}

// One request is enough for a small object, and for the last chunk of any.
func TestTheLastChunkMayWaitForTheResult(t *testing.T) {
	t.Parallel()
	data := noise(5, 10)
	put := func(w *world, index int, header ...string) answer {
		return w.put("obj", index, data[index*5:index*5+5], header...)
	}
	for _, c := range []struct {
		name   string
		adjust func(*upload.Grant)
		// last is what the last chunk is answered.
		last int
		code Code
		// result is whether the answer has it, and again whether that of a retry has.
		result, again bool
		header        []string
	}{
		{name: "published", last: http.StatusCreated, result: true, again: true, header: []string{"Prefer", "wait=10"}},
		{name: "not preferred", last: http.StatusCreated},
		{
			name: "completion is explicit", last: http.StatusCreated, header: []string{"Prefer", "wait=10"},
			adjust: func(g *upload.Grant) { g.Explicit = true },
		},
		{
			name: "other digest", last: http.StatusUnprocessableEntity, code: CodeDigestMismatch, result: true, header: []string{"Prefer", "wait=10"},
			adjust: func(g *upload.Grant) { g.Digest = digestOf(data[1:]) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options{})
			w.grant("obj", 10, 5, func(g *upload.Grant) {
				if g.Explicit = false; c.adjust != nil {
					c.adjust(g)
				}
			})
			first := put(w, 1, c.header...).want(t, http.StatusCreated)
			if got := decode[Stored](t, first.body); got != (Stored{Index: 1, State: ChunkStored}) {
				t.Errorf("the first chunk was answered %s", first.body)
			}
			last := put(w, 0, c.header...).want(t, c.last)
			if c.code != "" {
				if p := decode[Problem](t, last.body); p.Code != c.code || p.Result == nil || p.Result.Reason != upload.DigestMismatch {
					t.Errorf("the last chunk was answered %s", last.body)
				}
				return
			}
			for i, a := range []answer{last, put(w, 0, c.header...).want(t, http.StatusOK)} {
				if applied := a.Header.Get("Preference-Applied"); (applied == "wait") != (c.header != nil) {
					t.Errorf("answer %d has Preference-Applied %q", i, applied)
				}
				got := decode[Stored](t, a.body)
				if want := []bool{c.result, c.again}[i]; (got.Result != nil) != want {
					t.Errorf("answer %d is %s", i, a.body)
				} else if want && (got.Result.Reason != upload.Published || got.Result.Digest != digestOf(data)) {
					t.Errorf("answer %d has result %+v", i, got.Result)
				}
			}
		})
	}
}

// A chunk is stored whether or not the result comes in time.
func TestAChunkWaitsNoLongerThanPreferred(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{CompleteWait: 20 * time.Millisecond}})
	w.grant("obj", 4, 4, func(g *upload.Grant) { g.Explicit = false })
	gate, open := holdPublication(w)
	defer open()
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		if a := w.put("obj", 0, []byte("0123"), "Prefer", "wait=60").want(t, want); decode[Stored](t, a.body).Result != nil {
			t.Errorf("answered %s while the object is not published", a.body)
		}
	}
	await(t, "publication", gate)
	w.put("obj", 0, []byte("0123"), "Prefer", "wait=0").want(t, http.StatusOK)
}

// It is for an empty object, too, although that has no chunk to send.
func TestOneRequestIsEnoughForAnEmptyObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	automatic := func(g *upload.Grant) { g.Explicit = false }
	w.grant("obj", 0, 5, automatic)
	digest := digestOf(nil)
	for range 2 {
		got := decode[Stored](t, w.put("obj", 0, nil, "Prefer", "wait=10", "Content-Digest", sha256Field(nil)).want(t, http.StatusOK).body)
		if got.State != ChunkHeld || got.Result == nil || got.Result.Digest != digest {
			t.Errorf("it was answered %+v", got)
		}
	}

	w.grant("late", 0, 5)
	refused := func(a answer, status int, code Code) {
		t.Helper()
		if got := a.want(t, status).problem(t).Code; got != code {
			t.Errorf("the code is %s, want %s", got, code)
		}
	}
	w.put("late", 0, nil).want(t, http.StatusOK)
	refused(w.put("late", 0, []byte("x")), http.StatusBadRequest, CodeInvalidChunkIndex)
	refused(w.put("late", 1, nil), http.StatusBadRequest, CodeInvalidChunkIndex)
	refused(w.put("late", 0, nil, "Content-Digest", sha256Field([]byte("x"))), http.StatusUnprocessableEntity, CodeDigestMismatch)
	refused(w.put("late", 0, nil, "Content-Range", "bytes 0-0/1"), http.StatusBadRequest, CodeWrongPlace)
	w.do(http.MethodDelete, base("late"), nil).want(t, http.StatusNoContent)
	if a := w.put("late", 0, nil); a.StatusCode != http.StatusGone {
		t.Errorf("after its end: %d", a.StatusCode)
	}

	w.grant("paused", 0, 5, func(g *upload.Grant) { g.Suspended = true })
	refused(w.put("paused", 0, nil), http.StatusLocked, CodeSuspended)
}

func sha256Field(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}
