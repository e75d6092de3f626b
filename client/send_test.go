package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/client"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func bytesOf(b []byte) *client.Source { return client.At(bytes.NewReader(b), int64(len(b))) }

func content(t *testing.T, s *client.Session) []byte {
	t.Helper()
	var got bytes.Buffer
	if _, err := s.Copy(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	return got.Bytes()
}

func TestSend(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 4096, 300_001} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := newWorld(t, chunkapi.Config{})
			data := random(1, size)
			s := w.create(w.client(), "a", int64(size), 4096)
			var last client.Progress
			st, err := s.Send(t.Context(), client.At(bytes.NewReader(data), int64(size)), client.SendOptions{
				Progress: func(p client.Progress) { last = p },
			})
			if err != nil {
				t.Fatal(err)
			}
			if st.State != client.StatePublished || st.Result.Digest != digestOf(data) {
				t.Errorf("the status is %+v", st)
			}
			if last.HeldBytes != int64(size) || !last.Completing || last.RepeatedChunks != 0 {
				t.Errorf("the last progress is %+v", last)
			}
			if got := content(t, s); !bytes.Equal(got, data) {
				t.Error("the object has other bytes")
			}
			if twice := w.twice(); len(twice) > 0 {
				t.Errorf("sent twice: %v", twice)
			}
		})
	}
}

func TestSendAgainAfterTheEndChangesNothing(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	data := random(1, 100_000)
	s := w.create(w.client(), "a", int64(len(data)), 4096)
	for range 2 {
		if _, err := s.Send(t.Context(), bytesOf(data), client.SendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	other := random(2, len(data))
	_, err := s.Send(t.Context(), bytesOf(other), client.SendOptions{})
	if p := (*client.Problem)(nil); !errors.As(err, &p) || p.Code != client.CodeDigestMismatch {
		t.Errorf("another object: %v", err)
	}
	if twice := w.twice(); len(twice) > 0 {
		t.Errorf("sent twice: %v", twice)
	}
}

// A process that dies leaves the session, and the next one sends what is missing, no chunk twice.
func TestSendResumes(t *testing.T) {
	for _, kind := range []string{"file", "stream"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, chunkapi.Config{})
			data := random(1, 250*4096+17) // more gaps than one status lists
			source := func() *client.Source {
				if kind == "stream" {
					return client.Stream(bytes.NewReader(data), int64(len(data)))
				}
				return bytesOf(data)
			}
			// Of the first process, no odd chunk reached the dataplane.
			w.interfere(func(rw http.ResponseWriter, r *http.Request) bool {
				path := r.URL.Path
				if r.Method != http.MethodPut || !strings.ContainsAny(path[len(path)-1:], "13579") {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body)
				rw.WriteHeader(http.StatusCreated)
				return true
			})
			s := w.create(w.client(), "a", int64(len(data)), 4096)
			_, err := s.Send(t.Context(), source(), client.SendOptions{})
			if p := (*client.Problem)(nil); !errors.As(err, &p) || p.Code != client.CodeIncomplete {
				t.Fatalf("the first process: %v", err)
			}
			w.interfere(func(http.ResponseWriter, *http.Request) bool { return false })
			st, err := s.Status(t.Context())
			if err != nil || len(st.Missing) != 100 || st.MissingChunks != 125 {
				t.Fatalf("after the first process %+v, %v", st, err)
			}

			again := w.create(w.client(), "a", int64(len(data)), 4096)
			if again.Name() != s.Name() {
				t.Fatalf("the key found %s", again.Name())
			}
			var last client.Progress
			_, err = again.Send(t.Context(), source(), client.SendOptions{Progress: func(p client.Progress) { last = p }})
			if err != nil {
				t.Fatal(err)
			}
			if last.StoredChunks != st.MissingChunks || last.RepeatedChunks != 0 {
				t.Errorf("%d chunks were missing; %+v", st.MissingChunks, last)
			}
			if got := content(t, again); !bytes.Equal(got, data) {
				t.Error("the object has other bytes")
			}
		})
	}
}

// With a digest that is known, what is held is not read again.
func TestSendReadsOnlyWhatIsMissing(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	data := random(1, 10*4096)
	s := w.create(w.client(), "a", int64(len(data)), 4096)
	half := &reading{ReaderAt: bytes.NewReader(data), fails: 5 * 4096}
	if _, err := s.Send(t.Context(), client.At(half, int64(len(data))), client.SendOptions{Parallel: 1}); err == nil {
		t.Fatal("a source that fails was sent")
	}
	st, err := s.Status(t.Context())
	if err != nil || st.MissingChunks == 0 || st.MissingChunks == 10 {
		t.Fatalf("%+v, %v", st, err)
	}
	rest := &reading{ReaderAt: bytes.NewReader(data)}
	known := client.SendOptions{Digest: digestOf(data)}
	if _, err := s.Send(t.Context(), client.At(rest, int64(len(data))), known); err != nil {
		t.Fatal(err)
	}
	if want := int64(st.MissingChunks) * 4096; rest.n.Load() != want {
		t.Errorf("%d bytes were read, %d were missing", rest.n.Load(), want)
	}
}

type reading struct {
	io.ReaderAt
	n     atomic.Int64
	fails int64
}

func (r *reading) ReadAt(p []byte, at int64) (int, error) {
	if r.fails > 0 && at >= r.fails {
		return 0, errors.New("the disk is broken")
	}
	n, err := r.ReaderAt.ReadAt(p, at)
	r.n.Add(int64(n))
	return n, err
}

// Each of these stands in the way for a while.
func TestSendGoesOnAfter(t *testing.T) {
	type obstacle struct {
		name   string
		answer func(w http.ResponseWriter) bool
	}
	hijack := func(write string) func(w http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(c, write)
			_ = c.Close()
			return true
		}
	}
	obstacles := []obstacle{
		{"a reset", hijack("")},
		{"half a reply", hijack("HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{")},
		{"no HTTP", hijack("what?\r\n\r\n")},
		{"a proxy's 502", func(w http.ResponseWriter) bool {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			return true
		}},
	}
	for _, p := range []struct {
		status int
		code   client.Code
	}{
		{421, client.CodeMisdirected},
		{423, client.CodeNotAdmitted},
		{423, client.CodeSuspended},
		{429, client.CodeTooManyChunks},
		{503, client.CodeBusy},
		{503, client.CodeTooSlow},
		{503, client.CodeReplicaAway},
		{503, client.CodeUnavailable},
		{507, client.CodeVolumeFull},
		{409, client.CodeSuperseded},
		{400, client.CodeIncompleteBody},
		{408, "request-timeout"},
		{500, "internal"},
		{422, client.CodeDigestMismatch},
	} {
		obstacles = append(obstacles, obstacle{fmt.Sprint(p.status, " ", p.code), func(w http.ResponseWriter) bool {
			return refuse(w, p.status, p.code, "1")
		}})
	}
	for _, o := range obstacles {
		t.Run(o.name, func(t *testing.T) {
			w := newWorld(t, chunkapi.Config{})
			var n atomic.Int32
			w.interfere(func(rw http.ResponseWriter, r *http.Request) bool {
				return r.Method == http.MethodPut && n.Add(1)%3 != 0 && o.answer(rw)
			})
			data := random(1, 20*4096)
			s := w.create(w.client(), "a", int64(len(data)), 4096)
			// One at a time, or chance could refuse one chunk more often than corruption is put up with.
			_, err := s.Send(t.Context(), bytesOf(data), client.SendOptions{Parallel: 1})
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, s); !bytes.Equal(got, data) {
				t.Error("the object has other bytes")
			}
		})
	}
}

// Each of these is an answer: nothing is sent again.
func TestSendEndsAt(t *testing.T) {
	for _, p := range []struct {
		status int
		code   client.Code
	}{
		{401, client.CodeUnauthenticated},
		{403, client.CodeForbidden},
		{404, client.CodeUnknownSession},
		{409, client.CodeChunkConflict},
		{410, client.CodeSessionEnded},
		{413, "chunk-too-large"},
		{415, "unsupported-encoding"},
		{302, ""},
	} {
		t.Run(fmt.Sprint(p.status, " ", p.code), func(t *testing.T) {
			w := newWorld(t, chunkapi.Config{})
			var n atomic.Int32
			w.interfere(func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut {
					return false
				}
				n.Add(1)
				rw.Header().Set("Location", "https://evil.example/")
				return refuse(rw, p.status, p.code, "1")
			})
			s := w.create(w.client(), "a", 4096, 4096)
			_, err := s.Send(t.Context(), bytesOf(random(1, 4096)), client.SendOptions{})
			if problem := (*client.Problem)(nil); !errors.As(err, &problem) || problem.Status != p.status {
				t.Errorf("the error is %v", err)
			}
			if n.Load() > 2 { // 401 is tried once more
				t.Errorf("%d requests", n.Load())
			}
		})
	}
}

func TestSendGivesUpWhenNothingMoves(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	w.interfere(func(rw http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodPut && refuse(rw, 503, client.CodeReplicaAway, "1")
	})
	s := w.create(w.client(func(c *client.Config) { c.Patience = 50 * time.Millisecond }), "a", 4096, 4096)
	_, err := s.Send(t.Context(), bytesOf(random(1, 4096)), client.SendOptions{})
	p := (*client.Problem)(nil)
	if !errors.As(err, &p) || p.Code != client.CodeReplicaAway || !strings.Contains(err.Error(), "has moved for 50ms") {
		t.Errorf("the error is %v", err)
	}
}

// A session that is suspended is waited for, however long, and told.
func TestSendWaitsWhileSuspended(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	c := w.client(func(c *client.Config) { c.Patience = time.Nanosecond })
	s := w.create(c, "a", 4096, 4096)
	w.suspend(s.Name(), true)
	var waited atomic.Int32
	_, err := s.Send(t.Context(), bytesOf(random(1, 4096)), client.SendOptions{
		Progress: func(p client.Progress) {
			if p.Waiting == nil || p.Waiting.Code != client.CodeSuspended {
				return
			}
			if waited.Add(1) == 3 {
				w.suspend(s.Name(), false)
			}
		},
	})
	if err != nil || waited.Load() < 3 {
		t.Errorf("told %d times, %v", waited.Load(), err)
	}
}

// A dataplane that takes one chunk at a time is asked before a refused one is sent again: it reads on what
// comes with the first try, and no more.
func TestSendToACrowdedDataplaneRepeatsFewBytes(t *testing.T) {
	w := newWorld(t, chunkapi.Config{MaxConcurrentChunks: 1, ChunkWait: time.Millisecond})
	data := random(1, 64*64<<10)
	s := w.create(w.client(), "a", int64(len(data)), 64<<10)
	_, err := s.Send(t.Context(), bytesOf(data), client.SendOptions{Parallel: 32})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.bodies.Load(); got > 2*int64(len(data)) {
		t.Errorf("the dataplane read %d bytes of %d", got, len(data))
	}
}

func TestATokenIsRenewedInTheMiddle(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	var n atomic.Int32
	w.interfere(func(rw http.ResponseWriter, r *http.Request) bool {
		want := "Bearer first"
		if r.Method == http.MethodPut && n.Add(1) > 3 || n.Load() > 3 {
			want = "Bearer second"
		}
		return r.Header.Get("Authorization") != want && refuse(rw, 401, client.CodeUnauthenticated, "")
	})
	first, second := "first", "second"
	var now atomic.Pointer[string]
	now.Store(&first)
	c := w.client(func(c *client.Config) {
		c.Credentials = client.TokenFunc(func(_ context.Context, refused string) (string, error) {
			if refused == "first" {
				now.Store(&second)
			}
			return *now.Load(), nil
		})
	})
	data := random(1, 10*4096)
	s := w.create(c, "a", int64(len(data)), 4096)
	if _, err := s.Send(t.Context(), bytesOf(data), client.SendOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestASessionThatMovedIsFound(t *testing.T) {
	old, now := newWorld(t, chunkapi.Config{}), newWorld(t, chunkapi.Config{})
	old.interfere(func(rw http.ResponseWriter, r *http.Request) bool {
		return refuse(rw, 421, client.CodeMisdirected, "")
	})
	data := random(1, 10*4096)
	s := now.create(now.client(), "a", int64(len(data)), 4096)
	moved := old.client(func(c *client.Config) {
		c.TLS.RootCAs.AddCert(now.server.Certificate())
		c.Resolve = func(_ context.Context, session string) (string, error) {
			if session != s.Name() {
				t.Errorf("asked for %s", session)
			}
			return now.server.URL, nil
		}
	})
	there, err := moved.Open(s.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := there.Send(t.Context(), bytesOf(data), client.SendOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatChangesIsRefused(t *testing.T) {
	changes := map[string]func(path string) error{
		"written": func(path string) error { return os.WriteFile(path, random(2, 20*4096), 0o600) },
		"longer": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		},
		"shorter": func(path string) error { return os.Truncate(path, 10*4096) },
		"replaced": func(path string) error {
			if err := os.WriteFile(path+".new", random(1, 20*4096), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, chunkapi.Config{})
			path := filepath.Join(t.TempDir(), "a")
			if err := os.WriteFile(path, random(1, 20*4096), 0o600); err != nil {
				t.Fatal(err)
			}
			old := time.Now().Add(-time.Hour) // so that the time of the last write tells, however coarse
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			source, err := client.File(f)
			if err != nil {
				t.Fatal(err)
			}
			var n atomic.Int32
			w.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut && n.Add(1) == 5 {
					if err := change(path); err != nil {
						t.Error(err)
					}
				}
				return false
			})
			s := w.create(w.client(), "a", 20*4096, 4096)
			if _, err := s.Send(t.Context(), source, client.SendOptions{Parallel: 1}); !errors.Is(err, client.ErrChanged) {
				t.Errorf("the error is %v", err)
			}
			if st, err := s.Status(t.Context()); err != nil || st.State != client.StateActive {
				t.Errorf("the session is %+v, %v", st, err)
			}
		})
	}
}

func TestASourceOfAnotherSizeIsRefused(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	data := random(1, 5000)
	s := w.create(w.client(), "a", 5000, 4096)
	for name, source := range map[string]*client.Source{
		"smaller":        client.At(bytes.NewReader(data), 4999),
		"larger":         client.At(bytes.NewReader(data), 5001),
		"a short file":   client.At(bytes.NewReader(data[:4500]), 5000),
		"a short stream": client.Stream(bytes.NewReader(data[:4500]), 5000),
		"a long stream":  client.Stream(bytes.NewReader(append(bytes.Clone(data), 0)), 5000),
	} {
		if _, err := s.Send(t.Context(), source, client.SendOptions{}); !errors.Is(err, client.ErrSize) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st, err := s.Status(t.Context()); err != nil || st.State != client.StateActive {
		t.Errorf("the session is %+v, %v", st, err)
	}
}

func TestCreateWaitsForAdmission(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	w.cluster.admit = func(asked int) bool { return asked > 3 }
	told := 0
	spec := client.Spec{Key: "a", SizeBytes: 1, ChunkSizeBytes: 1}
	s, st, err := w.client().Create(t.Context(), "", spec, func(st client.Status) {
		told++
		if st.Waiting == nil || st.Waiting.Reason != "QuotaExceeded" {
			t.Errorf("told %+v", st)
		}
	})
	if err != nil || told == 0 || st.State != client.StateActive || s.Name() != st.Name {
		t.Errorf("told %d times; %+v, %v", told, st, err)
	}
	if len(w.cluster.grants) != 1 {
		t.Errorf("%d sessions", len(w.cluster.grants))
	}
}

func TestAbort(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	s := w.create(w.client(), "a", 4096, 4096)
	for range 2 {
		if err := s.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Send(t.Context(), bytesOf(random(1, 4096)), client.SendOptions{})
	if !errors.Is(err, client.ErrEnded) {
		t.Errorf("the error is %v", err)
	}
}

func TestFollow(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	data := random(1, 4096)
	s := w.create(w.client(), "a", 4096, 4096)
	told := 0
	st, err := s.Follow(t.Context(), time.Millisecond, func(client.Status) {
		told++
		if told == 2 {
			if _, err := s.Send(t.Context(), client.At(bytes.NewReader(data), 4096), client.SendOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || told != 3 || st.State != client.StatePublished {
		t.Errorf("told %d times; %+v, %v", told, st, err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, endpoint := range []string{
		"", "models", "http://models.ml.svc:8443", "ftp://127.0.0.1", "https://", "https://a:b@models", "https://models?a=b",
	} {
		if _, err := client.New(client.Config{Endpoint: endpoint, Namespace: "ml"}); err == nil {
			t.Errorf("%q is taken", endpoint)
		}
	}
	for _, endpoint := range []string{"http://127.0.0.1:1", "http://localhost:1", "https://models.ml.svc:8443/"} {
		if _, err := client.New(client.Config{Endpoint: endpoint, Namespace: "ml"}); err != nil {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	if _, err := client.New(client.Config{Endpoint: "https://models", Namespace: "a/b"}); err == nil {
		t.Error("a path is taken for a namespace")
	}
}
