package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/client"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// cluster is what of Kubernetes a dataplane sees: which sessions there are. Those that are created are admitted when
// admit says so.
type cluster struct {
	mu     sync.Mutex
	grants map[upload.Name]upload.Grant
	byKey  map[string]upload.Name
	admit  func(asked int) bool
	asked  int
}

func (c *cluster) Lookup(_ context.Context, name upload.Name) (upload.Grant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.grants[name]
	if !ok {
		return g, upload.ErrUnknown
	}
	return g, nil
}

func (c *cluster) Create(_ context.Context, r upload.CreateRequest) (upload.Created, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name, found := c.byKey[r.Key]
	if !found {
		var spec client.Spec
		if err := json.Unmarshal(r.Spec, &spec); err != nil {
			return upload.Created{}, err
		}
		name = upload.Name{Namespace: r.Namespace, Name: fmt.Sprintf("upl-%d", len(c.grants))}
		c.byKey[r.Key] = name
		c.grants[name] = upload.Grant{
			ID: session.ID("uid-" + name.Name), Name: name, Key: spec.Key,
			Size: spec.SizeBytes, ChunkSize: spec.ChunkSizeBytes, Digest: upload.Digest(spec.Digest), Explicit: spec.Completion == "Explicit", Attributes: spec.Attributes,
		}
	}
	g := c.grants[name]
	created := upload.Created{ID: g.ID, Name: name, Found: found, Key: g.Key, Size: g.Size, ChunkSize: g.ChunkSize}
	c.asked++
	if !c.admit(c.asked) {
		created.Waits = &upload.Waits{Reason: "QuotaExceeded", Message: "Waits for activeSessions"}
	}
	return created, nil
}

func (c *cluster) Await(_ context.Context, created upload.Created) (upload.Created, error) {
	return created, nil
}

// world is a dataplane over TLS, in this process, over a real volume.
type world struct {
	t       testing.TB
	cluster *cluster
	uploads *upload.Service
	server  *httptest.Server
	// before may answer a request in the dataplane's place, and returns whether it did.
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
	// puts counts the requests for each chunk that reached the dataplane; bodies is how many bytes those had.
	mu     sync.Mutex
	puts   map[string]int
	bodies atomic.Int64
}

func newWorld(t testing.TB, api chunkapi.Config) *world {
	t.Helper()
	w := &world{t: t, puts: map[string]int{}, cluster: &cluster{
		grants: map[upload.Name]upload.Grant{}, byKey: map[string]upload.Name{}, admit: func(int) bool { return true },
	}}
	sink, err := file.Open(t.TempDir(), file.Options{Replica: "models-0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	core := session.NewService(session.Config{Sink: sink, Checksum: crc64nvme.New})
	w.uploads = upload.NewService(upload.Config{Core: core, Publisher: sink, Directory: w.cluster, Log: log})
	t.Cleanup(w.uploads.Close)
	if err := w.uploads.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	api.Uploads, api.Creator, api.Log = w.uploads, w.cluster, log
	handler := chunkapi.New(api)
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if before := w.before.Load(); before != nil && (*before)(rw, r) {
			return
		}
		if r.Method == http.MethodPut {
			w.mu.Lock()
			w.puts[r.URL.Path]++
			w.mu.Unlock()
			// Of a copy: net/http looks at the body of its own request when it answers an Expect.
			r = r.WithContext(r.Context())
			r.Body = &counted{r.Body, &w.bodies}
		}
		handler.ServeHTTP(rw, r)
	}))
	w.server.Config = chunkapi.NewServer(w.server.Config.Handler, log)
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	return w
}

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// suspend sets whether a session is suspended, as the control plane would.
func (w *world) suspend(name string, suspended bool) {
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	n := upload.Name{Namespace: "ml", Name: name}
	g := w.cluster.grants[n]
	g.Suspended = suspended
	w.cluster.grants[n] = g
	if _, err := w.uploads.Accept(w.t.Context(), g); err != nil {
		w.t.Error(err)
	}
}

// interfere answers requests in the dataplane's place where f returns true.
func (w *world) interfere(f func(w http.ResponseWriter, r *http.Request) bool) { w.before.Store(&f) }

// twice is the chunks that the dataplane was sent more than once.
func (w *world) twice() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var paths []string
	for path, n := range w.puts {
		if n > 1 {
			paths = append(paths, path)
		}
	}
	return paths
}

// config is that of a client that trusts the server.
func (w *world) config() client.Config {
	pool := x509.NewCertPool()
	pool.AddCert(w.server.Certificate())
	return client.Config{
		Endpoint: w.server.URL, Namespace: "ml", Credentials: client.Token("good"),
		TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, Patience: time.Minute,
	}
}

// client is one that does not pause.
func (w *world) client(change ...func(*client.Config)) *client.Client {
	w.t.Helper()
	config := w.config()
	for _, f := range change {
		f(&config)
	}
	c, err := client.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	c.Hurry(func(ctx context.Context, _ time.Duration) error {
		time.Sleep(time.Millisecond) // so that what is waited for gets the processor
		return context.Cause(ctx)
	})
	return c
}

// create is a session for so many bytes.
func (w *world) create(c *client.Client, key string, size, chunkSize int64) *client.Session {
	w.t.Helper()
	spec := client.Spec{Key: "models/" + key, SizeBytes: size, ChunkSizeBytes: chunkSize, Completion: "Explicit"}
	s, _, err := c.Create(w.t.Context(), key, spec, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// refuse answers as a dataplane would.
func refuse(w http.ResponseWriter, status int, code client.Code, retryAfter string) bool {
	w.Header().Set("Content-Type", "application/problem+json")
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(client.Problem{Status: status, Code: code, Title: "Refused", Next: "Try again."})
	return true
}

// random is n bytes, the same for the same seed.
func random(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}
