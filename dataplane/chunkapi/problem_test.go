package chunkapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// dripEvery is how often a client sends a byte that is slow but alive.
const dripEvery = 10 * time.Millisecond

// drip sends a byte of data now and then until stop is closed or data is gone.
func drip(c io.Writer, data []byte, stop <-chan struct{}) {
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for i := range data {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if _, err := c.Write(data[i : i+1]); err != nil {
			return
		}
	}
}

// problemCase makes one problem happen.
type problemCase struct {
	name       string
	code       Code
	status     int
	retryAfter string
	options    options
	make       func(w *world) answer
	check      func(t *testing.T, w *world, a answer, p Problem)
}

func hasHeader(name, value string) func(*testing.T, *world, answer, Problem) {
	return func(t *testing.T, _ *world, a answer, _ Problem) {
		if got := a.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

func closes(t *testing.T, _ *world, a answer, _ Problem) {
	if !a.Close {
		t.Error("the connection is kept")
	}
}

func endedAs(reason upload.Reason) func(*testing.T, *world, answer, Problem) {
	return func(t *testing.T, _ *world, _ answer, p Problem) {
		if p.Result == nil || p.Result.Reason != reason || p.Result.Message != p.Detail {
			t.Errorf("result %+v, detail %q, want reason %s and its message", p.Result, p.Detail, reason)
		}
	}
}

func abc(w *world, change ...func(*upload.Grant)) upload.Name {
	return w.grant("abc", 10, 4, change...) // chunks of 4, 4 and 2 bytes
}

func publish(w *world, name string, data []byte) {
	w.t.Helper()
	w.grant(name, int64(len(data)), int64(len(data)))
	w.put(name, 0, data).want(w.t, http.StatusCreated)
	w.do(http.MethodPost, base(name)+"/complete", nil).want(w.t, http.StatusOK)
}

// hold sends half of the first chunk of an upload.
func hold(w *world, name upload.Name, headers ...string) wire {
	w.t.Helper()
	c := w.open()
	c.send(http.MethodPut, chunkPath(name.Name, 0), 4, []byte("xx"), headers...)
	w.inFlight(name, 1)
	return c
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func lookupFails(err error) func(w *world) answer {
	return func(w *world) answer {
		w.directory.set(upload.Name{Namespace: "ml", Name: "abc"}, err)
		return w.put("abc", 0, []byte("0123"))
	}
}

func invalidDigest(field string) func(w *world) answer {
	return func(w *world) answer {
		abc(w)
		return w.put("abc", 0, []byte("0123"), "Content-Digest", field)
	}
}

func badIndex(index string) problemCase {
	return problemCase{
		name: "chunk index " + index, code: CodeInvalidChunkIndex, status: 400,
		make: func(w *world) answer {
			abc(w)
			return w.do(http.MethodPut, base("abc")+"/chunks/"+index, strings.NewReader("0123"))
		},
	}
}

func badName(namespace, name string) problemCase {
	return problemCase{
		name: fmt.Sprintf("name %.20s/%.20s", namespace, name), code: CodeInvalidName, status: 400,
		make: func(w *world) answer {
			return w.do(http.MethodGet, "/v1/namespaces/"+namespace+"/uploadsessions/"+name, nil)
		},
	}
}

func problemCases() []problemCase {
	stall := options{api: Config{IdleTimeout: 150 * time.Millisecond}, takeOverAfter: time.Hour}
	impatient := options{api: Config{CompleteWait: 20 * time.Millisecond}}
	crowded := options{api: Config{MaxConcurrentChunks: 1, ChunkWait: 20 * time.Millisecond}}
	return []problemCase{
		{
			name: "no credentials", code: CodeUnauthenticated, status: 401, options: options{api: Config{Gate: &gate{}}},
			make: func(w *world) answer { return w.do(http.MethodGet, base("abc"), nil) },
		},
		{
			name: "not allowed", code: CodeForbidden, status: 403, options: options{api: Config{Gate: &gate{}}},
			make: func(w *world) answer { return w.do(http.MethodGet, base("abc"), nil, "X-User", "mallory") },
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if !strings.Contains(p.Detail, "get uploadsessions/content") {
					t.Errorf("the detail does not say what is missing: %s", p.Detail)
				}
			},
		},
		{
			name: "credentials can't be checked", code: CodeUnavailable, status: 503, retryAfter: "1", options: options{api: Config{Gate: &gate{}}},
			make: func(w *world) answer { return w.do(http.MethodGet, base("abc"), nil, "X-User", "nobody-knows") },
		},
		badName("ML", "abc"),
		badName("ml", "a_b"),
		badName("ml", "a..b"),
		badName("ml", "-a"),
		badName("ml", "a-"),
		badName("ml", "a%2Fb"),
		badName("m.l", "abc"),
		badName(strings.Repeat("a", 64), "abc"),
		badName("ml", strings.Repeat("a", 254)),
		badIndex("x"),
		badIndex("-1"),
		badIndex("+1"),
		badIndex("01"),
		badIndex("1e0"),
		badIndex("%20"),
		badIndex("100000"),
		badIndex("99999999999999999999"),
		{
			name: "index beyond the last chunk", code: CodeInvalidChunkIndex, status: 400,
			make: func(w *world) answer { abc(w); return w.put("abc", 3, []byte("01")) },
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if p.TotalChunks == nil || *p.TotalChunks != 3 {
					t.Errorf("totalChunks is %v, want 3", p.TotalChunks)
				}
			},
		},
		{
			name: "chunk with bytes of an empty object", code: CodeInvalidChunkIndex, status: 400,
			make: func(w *world) answer { w.grant("empty", 0, 4); return w.put("empty", 0, []byte("0123")) },
		},
		{
			name: "short chunk", code: CodeWrongChunkLength, status: 400,
			make: func(w *world) answer { abc(w); return w.put("abc", 1, []byte("012")) },
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if p.ExpectedBytes == nil || *p.ExpectedBytes != 4 {
					t.Errorf("expectedBytes is %v, want 4", p.ExpectedBytes)
				}
			},
		},
		{
			name: "chunk of no bytes", code: CodeWrongChunkLength, status: 400,
			make: func(w *world) answer { abc(w); return w.put("abc", 1, []byte{}) },
		},
		{
			name: "long chunk", code: CodeChunkTooLarge, status: 413,
			make: func(w *world) answer { abc(w); return w.put("abc", 1, []byte("01234")) },
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if p.ExpectedBytes == nil || *p.ExpectedBytes != 4 {
					t.Errorf("expectedBytes is %v, want 4", p.ExpectedBytes)
				}
			},
		},
		{
			name: "long last chunk", code: CodeChunkTooLarge, status: 413,
			make: func(w *world) answer { abc(w); return w.put("abc", 2, []byte("0123")) },
		},
		{
			name: "no length", code: CodeLengthRequired, status: 411,
			make: func(w *world) answer {
				abc(w)
				return w.do(http.MethodPut, chunkPath("abc", 0), io.MultiReader(strings.NewReader("0123"))) // sent chunked
			},
		},
		{
			name: "no length and no body", code: CodeLengthRequired, status: 411,
			make: func(w *world) answer {
				abc(w)
				c := w.dial()
				c.send(http.MethodPut, chunkPath("abc", 0), -1, nil)
				return c.receive(http.MethodPut)
			},
		},
		{
			name: "encoded chunk", code: CodeUnsupportedEncoding, status: 415,
			make: func(w *world) answer {
				abc(w)
				return w.put("abc", 0, []byte("0123"), "Content-Encoding", "gzip")
			},
		},
		{
			name: "range of another chunk", code: CodeWrongPlace, status: 400,
			make: func(w *world) answer {
				abc(w)
				return w.put("abc", 0, []byte("0123"), "Content-Range", "bytes 4-7/10")
			},
		},
		{
			name: "offset of another protocol", code: CodeUnsupportedField, status: 400,
			make: func(w *world) answer {
				abc(w)
				return w.put("abc", 0, []byte("0123"), "Upload-Offset", "0")
			},
		},
		{name: "digest is no dictionary", code: CodeInvalidDigest, status: 400, make: invalidDigest("sha-256=:!:"), check: hasHeader("Want-Content-Digest", wantedContentDigests)},
		{name: "digest is empty", code: CodeInvalidDigest, status: 400, make: invalidDigest("")},
		{name: "digest is too short", code: CodeInvalidDigest, status: 400, make: invalidDigest("sha-256=:AAAA:")},
		{name: "digest is a number", code: CodeInvalidDigest, status: 400, make: invalidDigest("crc32c=7")},
		{name: "digest is a list", code: CodeInvalidDigest, status: 400, make: invalidDigest("crc32c=(:AAAAAA==:)")},
		{name: "digest is bare", code: CodeInvalidDigest, status: 400, make: invalidDigest("sha-256")},
		{name: "unknown algorithms only", code: CodeUnsupportedDigest, status: 400, make: invalidDigest("md5=:AAAAAAAAAAAAAAAAAAAAAA==:, x=1"), check: hasHeader("Want-Content-Digest", wantedContentDigests)},
		{
			name: "complete with another algorithm", code: CodeUnsupportedDigest, status: 400,
			make: func(w *world) answer {
				abc(w)
				return w.do(http.MethodPost, base("abc")+"/complete", nil, "Repr-Digest", "crc32c=:AAAAAA==:")
			},
			check: hasHeader("Want-Repr-Digest", wantedReprDigests),
		},
		{
			name: "chunk does not match its digest", code: CodeDigestMismatch, status: 422,
			make: func(w *world) answer {
				abc(w)
				return w.put("abc", 0, []byte("0123"), "Content-Digest", "crc32c=:AAAAAA==:")
			},
			check: func(t *testing.T, w *world, a answer, p Problem) {
				if !strings.Contains(p.Detail, "crc32c") || a.Close {
					t.Errorf("detail %q, close %v, want the algorithm and the connection kept", p.Detail, a.Close)
				}
				w.put("abc", 0, []byte("4567")).want(t, http.StatusCreated) // none of it counted
			},
		},
		{
			name: "object does not match the digest of complete", code: CodeDigestMismatch, status: 422,
			make: func(w *world) answer {
				w.grant("one", 4, 4)
				w.put("one", 0, []byte("0123")).want(w.t, http.StatusCreated)
				return w.do(http.MethodPost, base("one")+"/complete", nil, "Repr-Digest", formatDigest(digestOf([]byte("4567"))))
			},
			check: func(t *testing.T, w *world, _ answer, p Problem) {
				if p.Result != nil {
					t.Errorf("result %+v, but the session goes on", p.Result)
				}
				w.do(http.MethodPost, base("one")+"/complete", nil, "Repr-Digest", formatDigest(digestOf([]byte("0123")))).want(t, http.StatusOK)
			},
		},
		{
			name: "object does not match the digest of the session", code: CodeDigestMismatch, status: 422,
			make: func(w *world) answer {
				w.grant("one", 4, 4, func(g *upload.Grant) { g.Digest = digestOf([]byte("4567")) })
				w.put("one", 0, []byte("0123")).want(w.t, http.StatusCreated)
				return w.do(http.MethodPost, base("one")+"/complete", nil)
			},
			check: func(t *testing.T, w *world, a answer, p Problem) {
				endedAs(upload.DigestMismatch)(t, w, a, p)
				if again := w.put("one", 0, []byte("0123")).problem(t); again.Code != CodeDigestMismatch {
					t.Errorf("a chunk afterwards gets %s", again.Code)
				}
				if st := w.do(http.MethodGet, base("one"), nil).status(t); st.State != StateFailed || st.Result == nil {
					t.Errorf("status is %+v", st)
				}
			},
		},
		{
			name: "body cut short", code: CodeIncompleteBody, status: 400,
			make: func(w *world) answer {
				abc(w)
				c := w.dial()
				c.send(http.MethodPut, chunkPath("abc", 0), 4, []byte("01"))
				if err := c.CloseWrite(); err != nil {
					w.t.Fatal(err)
				}
				return c.receive(http.MethodPut)
			},
			check: closes,
		},
		{
			name: "body stalls", code: CodeRequestTimeout, status: 408, options: stall,
			make: func(w *world) answer {
				abc(w)
				c := w.dial()
				c.send(http.MethodPut, chunkPath("abc", 0), 4, []byte("01"))
				return c.receive(http.MethodPut)
			},
			check: closes,
		},
		{
			name: "unknown path", code: CodeNotFound, status: 404,
			make: func(w *world) answer { return w.do(http.MethodGet, "/v2", nil) },
		},
		{
			name: "path that is not clean", code: CodeNotFound, status: 404,
			make: func(w *world) answer { return w.do(http.MethodPut, "/v1//namespaces/ml/../x", nil) },
		},
		{
			name: "trailing slash", code: CodeNotFound, status: 404,
			make: func(w *world) answer { abc(w); return w.do(http.MethodGet, base("abc")+"/", nil) },
		},
		{
			name: "unknown session", code: CodeUnknownSession, status: 404,
			make: func(w *world) answer { return w.do(http.MethodGet, base("nobody"), nil) },
		},
		{
			name: "not published", code: CodeNotPublished, status: 404,
			make: func(w *world) answer { abc(w); return w.do(http.MethodGet, base("abc")+"/content", nil) },
		},
		{
			name: "adopted without a byte, in a store that keeps its users apart", code: CodeKeptApart, status: 403,
			make: func(w *world) answer {
				publish(w, "one", []byte("0123"))
				sum := sha256.Sum256([]byte("0123"))
				w.accepted("again", 4, 4, func(g *upload.Grant) {
					g.Users, g.Adopt, g.Key = []string{""}, true, "models/one" // whoever is asked by no gate has no name
					g.Digest = upload.Digest("sha256:" + hex.EncodeToString(sum[:]))
				})
				return w.do(http.MethodGet, base("again")+"/content", nil)
			},
		},
		{
			name: "method not allowed on the session", code: CodeMethodNotAllowed, status: 405,
			make:  func(w *world) answer { return w.do(http.MethodPost, base("abc"), nil) },
			check: hasHeader("Allow", "DELETE, GET, HEAD"),
		},
		{
			name: "method not allowed on a chunk", code: CodeMethodNotAllowed, status: 405,
			make:  func(w *world) answer { return w.do(http.MethodGet, chunkPath("abc", 0), nil) },
			check: hasHeader("Allow", "PUT"),
		},
		{
			name: "other bytes are held", code: CodeChunkConflict, status: 409,
			make: func(w *world) answer {
				abc(w)
				w.put("abc", 0, []byte("0123")).want(w.t, http.StatusCreated)
				return w.put("abc", 0, []byte("4567"))
			},
			check: func(t *testing.T, w *world, a answer, _ Problem) {
				if a.Close {
					t.Error("the connection was not kept")
				}
				w.put("abc", 0, []byte("0123")).want(t, http.StatusOK)
			},
		},
		{
			name: "other bytes are published", code: CodeChunkConflict, status: 409,
			make: func(w *world) answer { publish(w, "one", []byte("0123")); return w.put("one", 0, []byte("4567")) },
		},
		{
			name: "a later request takes over", code: CodeSuperseded, status: 409, options: options{takeOverAfter: 30 * time.Millisecond},
			make: func(w *world) answer {
				name := abc(w)
				c := w.dial()
				c.send(http.MethodPut, chunkPath("abc", 0), 4, []byte("xx"))
				w.inFlight(name, 1)
				w.put("abc", 0, []byte("0123")).want(w.t, http.StatusCreated)
				return c.receive(http.MethodPut)
			},
			check: func(t *testing.T, w *world, a answer, _ Problem) {
				closes(t, w, a, Problem{})
				w.put("abc", 0, []byte("0123")).want(t, http.StatusOK)
			},
		},
		{
			name: "chunks are missing", code: CodeIncomplete, status: 409,
			make: func(w *world) answer {
				abc(w)
				w.put("abc", 1, []byte("4567")).want(w.t, http.StatusCreated)
				return w.do(http.MethodPost, base("abc")+"/complete", nil)
			},
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if want := []Range{{0, 0}, {2, 2}}; !slices.Equal(p.Missing, want) || p.MissingChunks != 2 {
					t.Errorf("%d missing: %v, want 2: %v", p.MissingChunks, p.Missing, want)
				}
			},
		},
		{
			name: "key exists from the start", code: CodeKeyExists, status: 409,
			make: func(w *world) answer {
				publish(w, "one", []byte("0123"))
				w.grant("two", 4, 4, func(g *upload.Grant) { g.Key = "models/one" })
				return w.put("two", 0, []byte("0123"))
			},
			check: endedAs(upload.KeyExists),
		},
		{
			name: "key exists at completion", code: CodeKeyExists, status: 409,
			make: func(w *world) answer {
				w.grant("two", 4, 4, func(g *upload.Grant) { g.Key = "models/one" })
				w.put("two", 0, []byte("4567")).want(w.t, http.StatusCreated)
				publish(w, "one", []byte("0123"))
				return w.do(http.MethodPost, base("two")+"/complete", nil)
			},
			check: endedAs(upload.KeyExists),
		},
		{
			name: "abort of what was published", code: CodeAlreadyEnded, status: 409,
			make: func(w *world) answer {
				publish(w, "one", []byte("0123"))
				return w.do(http.MethodDelete, base("one"), nil)
			},
			check: endedAs(upload.Published),
		},
		{
			name: "chunk after abort", code: CodeSessionEnded, status: 410,
			make: func(w *world) answer {
				abc(w)
				w.do(http.MethodDelete, base("abc"), nil).want(w.t, http.StatusNoContent)
				return w.put("abc", 0, []byte("not even of the right length"))
			},
			check: endedAs(upload.ClientAborted),
		},
		{
			name: "chunk after the deadline", code: CodeSessionEnded, status: 410,
			make: func(w *world) answer {
				w.accepted("late", 4, 4, func(g *upload.Grant) { g.Deadline = time.Now().Add(-time.Second) })
				return w.put("late", 0, []byte("0123"))
			},
		},
		{
			name: "complete after expiry", code: CodeSessionEnded, status: 410,
			make: func(w *world) answer {
				w.accepted("late", 4, 4, func(g *upload.Grant) { g.Deadline = time.Now().Add(-time.Second) })
				if err := w.uploads.Tend(w.t.Context()); err != nil {
					w.t.Fatal(err)
				}
				return w.do(http.MethodPost, base("late")+"/complete", nil)
			},
			check: endedAs(upload.DeadlineExceeded),
		},
		{
			name: "object removed", code: CodeObjectReplaced, status: 410,
			make: func(w *world) answer {
				publish(w, "one", []byte("0123"))
				if err := os.Remove(filepath.Join(w.root, "models", "one")); err != nil {
					w.t.Fatal(err)
				}
				return w.do(http.MethodGet, base("one")+"/content", nil)
			},
		},
		{
			name: "precondition", code: CodePreconditionFailed, status: 412,
			make: func(w *world) answer {
				publish(w, "one", []byte("0123"))
				return w.do(http.MethodGet, base("one")+"/content", nil, "If-Match", `"other"`)
			},
			check: hasHeader("Repr-Digest", ""),
		},
		{
			name: "range beyond the end", code: CodeInvalidRange, status: 416,
			make: func(w *world) answer {
				publish(w, "one", []byte("0123"))
				return w.do(http.MethodGet, base("one")+"/content", nil, "Range", "bytes=4-")
			},
			check: hasHeader("Content-Range", "bytes */4"),
		},
		{
			name: "body of complete", code: CodeBodyTooLarge, status: 413,
			make: func(w *world) answer {
				abc(w)
				return w.do(http.MethodPost, base("abc")+"/complete", bytes.NewReader(make([]byte, maxCompleteBody+1)))
			},
		},
		{
			name: "chunked body of complete", code: CodeBodyTooLarge, status: 413,
			make: func(w *world) answer {
				abc(w)
				return w.do(http.MethodPost, base("abc")+"/complete", io.MultiReader(bytes.NewReader(make([]byte, maxCompleteBody+1))))
			},
		},
		{
			name: "body of complete stalls", code: CodeRequestTimeout, status: 408, options: stall,
			make: func(w *world) answer {
				abc(w)
				c := w.dial()
				c.send(http.MethodPost, base("abc")+"/complete", 2, []byte("{"))
				return c.receive(http.MethodPost)
			},
			check: closes,
		},
		{name: "another replica", code: CodeMisdirected, status: 421, make: lookupFails(upload.ErrElsewhere)},
		{
			name: "another replica that is away", code: CodeReplicaAway, status: 503, retryAfter: "2", check: logged,
			options: options{api: Config{Forwarder: &forwarder{err: fmt.Errorf("%w: secret", upload.ErrAway)}}},
			make:    lookupFails(&upload.ElsewhereError{Replica: "models-1"}),
		},
		{name: "not admitted", code: CodeNotAdmitted, status: 423, retryAfter: "1", make: lookupFails(fmt.Errorf("%w: over quota", upload.ErrNotReady)), check: func(t *testing.T, _ *world, _ answer, p Problem) {
			if !strings.Contains(p.Detail, "over quota") {
				t.Errorf("detail is %q, want the reason", p.Detail)
			}
		}},
		{name: "directory is away", code: CodeUnavailable, status: 503, retryAfter: "1", make: lookupFails(fmt.Errorf("%w: secret", upload.ErrUnavailable)), check: logged},
		{
			name: "suspended", code: CodeSuspended, status: 423, retryAfter: "5",
			make: func(w *world) answer {
				abc(w, func(g *upload.Grant) { g.Suspended = true })
				return w.put("abc", 0, []byte("0123"))
			},
			check: func(t *testing.T, w *world, _ answer, _ Problem) {
				if st := w.do(http.MethodGet, base("abc"), nil).status(t); st.State != StateSuspended {
					t.Errorf("state is %s", st.State)
				}
			},
		},
		{name: "the object under the key is compared", code: CodeComparing, status: 423, retryAfter: "5", make: lookupFails(upload.ErrComparing)},
		{
			name: "a key that no object can have", code: CodeInvalidKey, status: 400, options: ofModels,
			make: func(w *world) answer { return w.do(http.MethodGet, objects+".slipway/.lock", nil) },
		},
		{
			name: "a listing by a delimiter that is none", code: CodeInvalidQuery, status: 400, options: ofModels,
			make: func(w *world) answer { return w.do(http.MethodGet, allObjects+"?delimiter=-", nil) },
		},
		{
			name: "no object under a key", code: CodeUnknownObject, status: 404, options: ofModels,
			make: func(w *world) answer { return w.do(http.MethodGet, objects+"nothing", nil) },
		},
		{
			name: "removing what no session published", code: CodeNotOurs, status: 409, options: ofModels,
			make: func(w *world) answer {
				if err := os.WriteFile(filepath.Join(w.root, "plain"), []byte("plain"), 0o600); err != nil {
					w.t.Fatal(err)
				}
				return w.do(http.MethodDelete, objects+"plain", nil)
			},
		},
		{name: "an object that is replaced again and again", code: CodeObjectChanges, status: 503, retryAfter: "1", make: lookupFails(upload.ErrObjectChanges)},
		{
			name: "too many chunks of a session at once", code: CodeTooManyChunks, status: 429, retryAfter: "2", options: crowded,
			make: func(w *world) answer {
				hold(w, abc(w))
				return w.put("abc", 1, []byte("0123"))
			},
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if want := "1 chunks of this session are being received and 1 more wait; this one waited 20ms"; p.Detail != want {
					t.Errorf("detail is %q, want %q", p.Detail, want)
				}
			},
		},
		{
			name: "too many chunks at once", code: CodeBusy, status: 503, retryAfter: "2", options: crowded,
			make: func(w *world) answer {
				hold(w, abc(w))
				w.grant("other", 10, 4)
				return w.put("other", 1, []byte("0123"))
			},
			check: func(t *testing.T, _ *world, _ answer, p Problem) {
				if want := "1 chunks are being received and 1 more wait; this one waited 20ms"; p.Detail != want {
					t.Errorf("detail is %q, want %q", p.Detail, want)
				}
			},
		},
		{
			name: "too slow while another waits", code: CodeTooSlow, status: 503, retryAfter: "5",
			options: patient(Config{MaxConcurrentChunks: 1, Pace: hasty()}),
			make: func(w *world) answer {
				c := hold(w, abc(w))
				w.grant("other", 4, 4)
				w.put("other", 0, []byte("0123")).want(w.t, http.StatusCreated)
				return c.receive(http.MethodPut)
			},
		},
		{
			name: "stopping", code: CodeUnavailable, status: 503, retryAfter: "1",
			options: options{api: Config{MaxConcurrentChunks: 1, Stopping: closed()}},
			make: func(w *world) answer {
				hold(w, abc(w))
				return w.put("abc", 1, []byte("0123"))
			},
		},
		{
			name: "another request keeps the chunk", code: CodeBusy, status: 503, retryAfter: "1",
			options: options{api: Config{IdleTimeout: time.Second}, takeOverAfter: time.Hour},
			make: func(w *world) answer {
				name := w.grant("abc", 1<<20, 1<<20)
				first, second := noise(1, 1<<20), noise(2, 1<<20)
				c := w.dial()
				c.send(http.MethodPut, chunkPath("abc", 0), 1<<20, []byte("x"))
				w.inFlight(name, 1)
				stop, stopped := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(stopped)
					drip(c, first, stop)
				}()
				defer func() { close(stop); <-stopped }()
				return w.put("abc", 0, second, "Expect", "100-continue")
			},
		},
		{
			name: "abort during completion", code: CodeCompleting, status: 503, retryAfter: "1", options: impatient,
			make: func(w *world) answer {
				w.grant("one", 4, 4)
				w.put("one", 0, []byte("0123")).want(w.t, http.StatusCreated)
				gate, _ := holdPublication(w)
				w.do(http.MethodPost, base("one")+"/complete", nil).want(w.t, http.StatusAccepted)
				await(w.t, "publication", gate)
				return w.do(http.MethodDelete, base("one"), nil)
			},
		},
		{
			name: "volume is full", code: CodeVolumeFull, status: 507,
			make: func(w *world) answer {
				abc(w)
				w.failWrites(func() error { return fmt.Errorf("write /secret: %w", session.ErrNoSpace) })
				return w.put("abc", 0, []byte("0123"))
			},
			check: logged,
		},
		{
			name: "volume fails", code: CodeInternal, status: 500,
			make: func(w *world) answer {
				abc(w)
				w.failWrites(func() error { return errors.New("write /secret: input/output error") })
				return w.put("abc", 0, []byte("0123"))
			},
			check: logged,
		},
		{
			name: "panic", code: CodeInternal, status: 500,
			make: func(w *world) answer {
				abc(w)
				w.failWrites(func() error { panic("secret") })
				return w.put("abc", 0, []byte("0123"))
			},
			check: func(t *testing.T, w *world, a answer, p Problem) {
				logged(t, w, a, p)
				w.volume.write.Store(nil)
				w.put("abc", 0, []byte("0123")).want(t, http.StatusCreated)
			},
		},
	}
}

// logged checks that a client is told nothing of the inside, and the log is.
func logged(t *testing.T, w *world, a answer, _ Problem) {
	if strings.Contains(string(a.body), "secret") {
		t.Errorf("the problem tells of the inside: %s", a.body)
	}
	eventually(t, "the log has the request and the reason", func() bool {
		return strings.Contains(w.log.String(), a.Header.Get("X-Request-Id")) && strings.Contains(w.log.String(), "secret")
	})
}

func (w *world) failWrites(f func() error) {
	fail := onDisk(func(session.ID) error { return f() })
	w.volume.write.Store(&fail)
}

// holdPublication makes a publication wait; gate is closed when one does, and open lets it go on.
func holdPublication(w *world) (gate <-chan struct{}, open func()) {
	waiting, opened := make(chan struct{}), make(chan struct{})
	f := func() {
		close(waiting)
		<-opened
	}
	w.volume.publish.Store(&f)
	open = sync.OnceFunc(func() { close(opened) })
	w.t.Cleanup(open) // or the service could not be closed
	return waiting, open
}

func TestProblems(t *testing.T) {
	untested := map[Code]bool{}
	for _, k := range kinds() {
		untested[k.code] = true
	}
	for _, c := range earlyCases() { // see TestRepliesBeforeAHandlerAreProblems
		delete(untested, c.code)
	}
	delete(untested, CodeTLSRequired) // see TestHTTPWithoutTLS
	for _, c := range slices.Concat(problemCases(), createProblemCases(), ticketProblemCases(t)) {
		delete(untested, c.code)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.options)
			a := c.make(w)
			p := a.problem(t)
			if a.StatusCode != c.status || p.Status != c.status || p.Code != c.code {
				t.Fatalf("got %d %s, want %d %s: %s", a.StatusCode, p.Code, c.status, c.code, a.body)
			}
			if p.Type != "urn:slipway:problem:"+string(c.code) || p.Title == "" || p.Next == "" || !strings.HasPrefix(p.Instance, "/v") {
				t.Errorf("the problem is not whole: %s", a.body)
			}
			if got := a.Header.Get("Retry-After"); got != c.retryAfter {
				t.Errorf("Retry-After is %q, want %q", got, c.retryAfter)
			}
			if a.Header.Get("X-Request-Id") == "" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers: %v", a.Header)
			}
			if c.check != nil {
				c.check(t, w, a, p)
			}
		})
	}
	if len(untested) > 0 {
		t.Errorf("no test makes the problems %v", slices.Sorted(maps.Keys(untested)))
	}
}

// TestNoContentCodingIsHidden behind an empty field that comes first.
func TestNoContentCodingIsHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	abc(w)
	for _, a := range []answer{
		w.put("abc", 0, []byte("0123"), "Content-Encoding", "", "Content-Encoding", "gzip"),
		w.post(strings.NewReader("{}"), "Content-Encoding", "", "Content-Encoding", "gzip"),
	} {
		if p := a.want(t, http.StatusUnsupportedMediaType).problem(t); p.Code != CodeUnsupportedEncoding {
			t.Errorf("%+v", p)
		}
	}
}

// TestNothingGoesPastTheHandler: net/http would answer OPTIONS * itself.
func TestNothingGoesPastTheHandler(t *testing.T) {
	t.Parallel()
	c := newWorld(t, options{}).dial()
	c.send(http.MethodOptions, "*", -1, nil)
	if p := c.receive(http.MethodOptions).want(t, http.StatusNotFound).problem(t); p.Code != CodeNotFound {
		t.Errorf("%+v", p)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	for sent, kept := range map[string]bool{
		"7b1f-4.A_z:/+=":         true,
		strings.Repeat("a", 128): true,
		strings.Repeat("a", 129): false,
		"two words":              false,
		"<script>":               false,
		"\u00e4":                 false,
		"":                       false,
	} {
		got := w.do(http.MethodGet, base("nobody"), nil, "X-Request-Id", sent).Header.Get("X-Request-Id")
		if got == "" || (got == sent) != kept {
			t.Errorf("sent %q, got %q, want it kept: %v", sent, got, kept)
		}
	}
	if a, b := w.do(http.MethodGet, "/", nil), w.do(http.MethodGet, "/", nil); a.Header.Get("X-Request-Id") == b.Header.Get("X-Request-Id") {
		t.Error("two requests have one ID")
	}
}

// TestKindsAreWhole holds the table to its form.
func TestKindsAreWhole(t *testing.T) {
	t.Parallel()
	statuses := map[Code]int{}
	for _, k := range kinds() {
		if k.title == "" || k.next == "" || k.status < 400 {
			t.Errorf("row %s is not whole", k.code)
		}
		if was, ok := statuses[k.code]; ok && was != k.status {
			t.Errorf("code %s has the statuses %d and %d", k.code, was, k.status)
		}
		statuses[k.code] = k.status
	}
}

// TestEveryKindIsDocumented holds docs/protocol.md to the table.
func TestEveryKindIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(doc)) {
		if strings.HasPrefix(line, "| 4") || strings.HasPrefix(line, "| 5") {
			rows++
		}
	}
	codes := map[Code]bool{}
	for _, k := range kinds() {
		codes[k.code] = true
		if row := "| " + strconv.Itoa(k.status) + " | `" + string(k.code) + "` |"; !strings.Contains(string(doc), row) {
			t.Errorf("docs/protocol.md has no row that begins with %q", row)
		}
	}
	// Two rows with an error status are of the table of complete's replies.
	if rows != len(codes)+2 {
		t.Errorf("docs/protocol.md has %d rows of errors, want one for each of %d codes and two more", rows, len(codes))
	}
}

// A session that ended before this replica ever held it is over, not unknown.
func TestASessionThatEndedBeforeItBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{})
	w.directory.set(upload.Name{Namespace: "ml", Name: "over"}, &session.EndedError{Meta: session.Meta{ID: "uid-over", State: session.Aborted}})
	a := w.do(http.MethodGet, base("over"), nil)
	if p := a.problem(t); a.StatusCode != http.StatusGone || p.Code != CodeSessionEnded {
		t.Errorf("got %d %s, want 410 %s", a.StatusCode, p.Code, CodeSessionEnded)
	}
}
