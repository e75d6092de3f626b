package forward_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/fair"
	"github.com/slipway-dev/slipway/dataplane/forward"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// world is replicas that share a volume, and the control plane that they ask.
type world struct {
	t         *testing.T
	volume    string
	authority *authority
	client    *http.Client

	mu        sync.Mutex
	grants    map[upload.Name]upload.Grant
	owner     map[upload.Name]string // of each session, as it is
	endpoints map[string]string      // of the replicas that are alive
	mistaken  []upload.Name
	lost      []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, volume: t.TempDir(), authority: newAuthority(t),
		grants: map[upload.Name]upload.Grant{}, owner: map[upload.Name]string{}, endpoints: map[string]string{},
	}
	w.client = w.newClient()
	return w
}

func (w *world) newClient() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.authority.pool}, ExpectContinueTimeout: time.Minute}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// own lets a replica own a session.
func (w *world) own(replica, name string, size, chunkSize int64, changes ...func(*upload.Grant)) upload.Name {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := upload.Name{Namespace: "ml", Name: name}
	g := upload.Grant{ID: session.ID("uid-" + name), Name: n, Key: "objects/" + name, Size: size, ChunkSize: chunkSize}
	for _, change := range changes {
		change(&g)
	}
	w.grants[n], w.owner[n] = g, replica
	return n
}

// Endpoint, Unreachable and Mistaken make the world forward.Replicas.
func (w *world) Endpoint(_ context.Context, replica string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.endpoints[replica]; e != "" {
		return e, nil
	}
	return "", upload.ErrAway
}

func (w *world) Unreachable(replica string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = append(w.lost, replica)
}

func (w *world) Mistaken(name upload.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mistaken = append(w.mistaken, name)
}

func (w *world) at(replica, endpoint string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.endpoints[replica] = endpoint
}

// directory is the control plane as one replica sees it.
type directory struct {
	world   *world
	replica string
}

func (d directory) Lookup(_ context.Context, name upload.Name) (upload.Grant, error) {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	g, ok := d.world.grants[name]
	switch owner := d.world.owner[name]; {
	case !ok:
		return g, upload.ErrUnknown
	case owner != d.replica:
		return g, &upload.ElsewhereError{Replica: owner, Endpoint: "https://elsewhere"}
	}
	return g, nil
}

// replica is a dataplane without Kubernetes, over TLS.
type replica struct {
	name    string
	url     string
	server  *http.Server
	uploads *upload.Service
	asked   atomic.Int64 // requests that came
	ids     chan string  // their X-Request-Ids
	stop    func()
}

// start starts a replica; it ends with the test at the latest.
func (w *world) start(name string, changes ...func(*chunkapi.Config, *forward.Config)) *replica {
	w.t.Helper()
	sink, err := file.Open(w.volume, file.Options{Replica: name})
	if err != nil {
		w.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(w.t.Output(), nil)).With("replica", name)
	}
	r := &replica{name: name, ids: make(chan string, 1024), uploads: upload.NewService(upload.Config{
		Core:      session.NewService(session.Config{Sink: sink, Checksum: crc64nvme.New}),
		Publisher: sink, Directory: directory{w, name}, Log: log,
	})}
	if err := r.uploads.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	to := forward.Config{Replicas: w, Trust: func() []byte { return w.authority.bundle }, Log: log}
	config := chunkapi.Config{
		Uploads: r.uploads, Log: log,
		Pace: fair.Rule{BytesPerSecond: 1, Over: time.Hour}, // on a slow machine nobody is too slow
	}
	for _, change := range changes {
		change(&config, &to)
	}
	forwarder := forward.New(to)
	config.Forwarder = forwarder
	handler := chunkapi.New(config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	r.url = "https://" + listener.Addr().String()
	r.server = chunkapi.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		select {
		case r.ids <- req.Header.Get("X-Request-Id"):
		default:
		}
		handler.ServeHTTP(rw, req)
	}), log)
	r.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{w.authority.leaf(w.t, "127.0.0.1")}}
	served := make(chan struct{})
	go func() { defer close(served); _ = r.server.ServeTLS(listener, "", "") }()
	w.at(name, r.url)
	r.stop = sync.OnceFunc(func() {
		_ = r.server.Close()
		<-served
		forwarder.Close()
		r.uploads.Close()
		if err := sink.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(r.stop)
	return r
}

func base(n upload.Name) string {
	return fmt.Sprintf("/v1/namespaces/%s/uploadsessions/%s", n.Namespace, n.Name)
}

// answer is what a client gets.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) code() string {
	var p chunkapi.Problem
	_ = json.Unmarshal(a.body, &p) // what is none has no code
	return string(p.Code)
}

// do sends a request; err is that of the connection.
func (w *world) do(method, url string, body io.Reader, length int64, header ...string) (answer, error) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, url, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if length >= 0 {
		r.ContentLength = length
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := w.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, b}, err
}

// must sends bytes and expects a status.
func (w *world) must(want int, method, url string, body []byte, header ...string) answer {
	w.t.Helper()
	var reader io.Reader = http.NoBody
	if body != nil {
		reader = bytes.NewReader(body)
	}
	got, err := w.do(method, url, reader, int64(len(body)), header...)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, url, err)
	}
	if got.status != want {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, url, got.status, want, got.body)
	}
	return got
}

// authority signs the certificates of replicas.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	bundle      []byte
	pool        *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool(), bundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.certificate)
	return a
}

// leaf makes a certificate for an address.
func (a *authority) leaf(t *testing.T, address string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(address)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
