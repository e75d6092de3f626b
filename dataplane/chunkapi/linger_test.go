package chunkapi

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// refusedChunk is a request that is refused before any of its body is read.
type refusedChunk struct {
	what         string
	method, path string
	headers      []string
	status       int
	code         Code
}

// bodyOfRefused is more than the kernel takes before anybody reads.
const bodyOfRefused = 12 << 20

// refusing is a world that refuses chunks of a size for every reason, and those.
func refusing(t *testing.T, http2 bool, size int64, change ...func(*options)) (*world, []refusedChunk) {
	t.Helper()
	o := options{api: Config{Gate: &gate{}, MaxConcurrentChunks: 1, ChunkWait: time.Millisecond}, http2: http2}
	for _, c := range change {
		c(&o)
	}
	w := newWorld(t, o)
	w.accepted("obj", 2*size, size)
	w.grant("small", 8, 4)
	w.accepted("gone", size, size)
	if err := w.uploads.Abort(t.Context(), upload.Name{Namespace: "ml", Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"elsewhere": &upload.ElsewhereError{Replica: "models-1", Endpoint: "https://models-1"},
		"locked":    upload.ErrNotReady, "away": upload.ErrUnavailable, "full": session.ErrNoSpace,
	} {
		w.directory.set(upload.Name{Namespace: "ml", Name: name}, err)
	}
	hold(w, w.accepted("holder", 4, 4), "X-User", "ann") // the only slot
	put, known := http.MethodPut, []string{"X-User", "ann"}
	return w, []refusedChunk{
		{"unauthenticated", put, chunkPath("obj", 0), nil, 401, CodeUnauthenticated},
		{"forbidden", put, chunkPath("obj", 0), []string{"X-User", "mallory"}, 403, CodeForbidden},
		{"bad index", put, base("obj") + "/chunks/x", known, 400, CodeInvalidChunkIndex},
		{"no such path", put, "/v1", known, 404, CodeNotFound},
		{"no such session", put, chunkPath("nobody", 0), known, 404, CodeUnknownSession},
		{"no such method", http.MethodPatch, base("obj"), known, 405, CodeMethodNotAllowed},
		{"not a chunk to complete", http.MethodPost, base("obj") + "/complete", known, 413, CodeBodyTooLarge},
		{"ended", put, chunkPath("gone", 0), known, 410, CodeSessionEnded},
		{"too large", put, chunkPath("small", 0), known, 413, CodeChunkTooLarge},
		{"encoded", put, chunkPath("obj", 0), append(known, "Content-Encoding", "br"), 415, CodeUnsupportedEncoding},
		{"no spec", http.MethodPost, "/v1/namespaces/ml/uploadsessions", known, 415, CodeUnsupportedMediaType},
		{"elsewhere", put, chunkPath("elsewhere", 0), known, 421, CodeMisdirected},
		{"not admitted", put, chunkPath("locked", 0), known, 423, CodeNotAdmitted},
		{"busy", put, chunkPath("obj", 0), known, 503, CodeBusy},
		{"nobody to ask", put, chunkPath("away", 0), known, 503, CodeUnavailable},
		{"full", put, chunkPath("full", 0), known, 507, CodeVolumeFull},
	}
}

// TestRefusalsReachWhoSendsFirst: a client that looks for a reply only after it has sent all gets it.
func TestRefusalsReachWhoSendsFirst(t *testing.T) {
	t.Parallel()
	w, refused := refusing(t, false, bodyOfRefused)
	data := noise(1, bodyOfRefused)
	for _, c := range refused {
		t.Run(c.what, func(t *testing.T) {
			conn := w.dial()
			conn.t = t
			conn.send(c.method, c.path, len(data), data, c.headers...)
			if p := conn.receive(c.method).want(t, c.status).problem(t); p.Code != c.code {
				t.Errorf("got %s, want %s", p.Code, c.code)
			}
		})
	}
}

// TestAConnectionIsKeptWhoseBodyCame: a refusal need not cost a connection.
func TestAConnectionIsKeptWhoseBodyCame(t *testing.T) {
	t.Parallel()
	w, refused := refusing(t, false, 1<<20, func(o *options) { o.api.IdleTimeout = time.Hour })
	data := noise(1, 1<<20)
	conn := w.dial()
	for _, c := range refused {
		conn.send(c.method, c.path, len(data), data, c.headers...)
		if a := conn.receive(c.method); a.Close || a.StatusCode < 400 {
			t.Fatalf("%s: %d, and the connection is closed: %t", c.what, a.StatusCode, a.Close)
		}
	}
}

// client is a program that sends the file body to a URL with a method and X-User, and
// prints the status and the body of the reply.
type client struct {
	name   string
	secure bool
	run    func(dir, method, url, user string) *exec.Cmd
}

// clients are programs in several languages.
func clients() []client {
	curl := func(flags ...string) func(dir, method, url, user string) *exec.Cmd {
		return func(_, method, url, user string) *exec.Cmd {
			all := append(slices.Clone(flags), "-sS", "--cacert", "ca.pem", "-X", method, "-T", "body")
			all = append(all, "-H", "X-User: "+user, "-w", " %{http_code}", url)
			return exec.Command("curl", all...) //nolint:gosec // it is ours
		}
	}
	script := func(name ...string) func(dir, method, url, user string) *exec.Cmd {
		return func(dir, method, url, user string) *exec.Cmd {
			c := exec.Command(name[0], append(name[1:], method, url, user)...) //nolint:gosec // it is ours
			c.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+filepath.Join(dir, "ca.pem"))
			return c
		}
	}
	return []client{
		{"curl over HTTP/1.1", false, curl("--http1.1", "-H", "Expect:")},
		{"curl that waits for 100 Continue", false, curl("--http1.1")},
		{"curl over HTTP/2", true, curl("--http2")},
		{"urllib of Python", false, script("python3", "urllib.py")},
		{"urllib of Python over TLS", true, script("python3", "urllib.py")},
		{"fetch of Node", false, script("node", "fetch.mjs")},
		{"http of Node", false, script("node", "http.mjs")},
		{"http2 of Node", true, script("node", "http2.mjs")},
	}
}

// clientFiles are what is in the folder where they run.
func clientFiles() map[string]string {
	return map[string]string{
		"urllib.py": `import ssl, sys, urllib.error, urllib.request as r
_, method, url, user = sys.argv
tls = ssl.create_default_context(cafile="ca.pem") if url.startswith("https") else None
try:
    r.urlopen(r.Request(url, data=open("body", "rb").read(), method=method, headers={"X-User": user}), context=tls)
except urllib.error.HTTPError as e:
    print(e.read().decode(), e.code)
`,
		"fetch.mjs": `import fs from 'fs'
const [, , method, url, user] = process.argv
const r = await fetch(url, {method, body: fs.readFileSync('body'), headers: {'X-User': user}})
console.log(await r.text(), r.status)
`,
		"http.mjs": `import fs from 'fs'; import http from 'http'
const [, , method, url, user] = process.argv, body = fs.readFileSync('body')
const q = http.request(url, {method, headers: {'X-User': user, 'Content-Length': body.length}}, r => {
  let s = ''
  r.on('data', d => s += d).on('end', () => console.log(s, r.statusCode))
})
q.end(body)
`,
		"http2.mjs": `import fs from 'fs'; import http2 from 'http2'
const [, , method, url, user] = process.argv, body = fs.readFileSync('body'), to = new URL(url)
const c = http2.connect(to.origin, {ca: fs.readFileSync('ca.pem')})
const q = c.request({':method': method, ':path': to.pathname, 'x-user': user, 'content-length': body.length})
let status, s = ''
q.on('response', h => status = h[':status']).on('data', d => s += d)
q.on('end', () => { console.log(s, status); c.close() })
q.end(body)
`,
	}
}

// TestRefusalsReachRealClients: programs that are there learn why they are refused, each time.
func TestRefusalsReachRealClients(t *testing.T) {
	t.Parallel()
	const tries = 2
	dir := t.TempDir()
	for name, content := range clientFiles() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "body"), noise(1, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{true, false} {
		w, refused := refusing(t, secure, 4<<20)
		if secure {
			if err := os.WriteFile(filepath.Join(dir, "ca.pem"), w.certificate(t), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range clients() {
			if c.secure != secure {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				for _, r := range []refusedChunk{refused[0], refused[1], refused[2], refused[4], refused[7], refused[13]} {
					for range tries {
						user := ""
						if len(r.headers) > 0 {
							user = r.headers[1]
						}
						cmd := c.run(dir, r.method, w.base+r.path, user)
						if cmd.Err != nil {
							t.Skipf("this machine has no %s", cmd.Args[0])
						}
						cmd.Dir = dir
						out, err := cmd.CombinedOutput()
						said := strings.TrimSpace(string(out))
						status, code := fmt.Sprint(" ", r.status), fmt.Sprintf("%q", r.code)
						if err != nil || !strings.HasSuffix(said, status) || !strings.Contains(said, code) {
							t.Fatalf("%s: %v: %s", r.what, err, said)
						}
					}
				}
			})
		}
	}
}

// certificate is the one that the server shows, which vouches for itself.
func (w *world) certificate(t *testing.T) []byte {
	t.Helper()
	c, err := tls.Dial("tcp", w.addr, w.transport().TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() // it was only looked at
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ConnectionState().PeerCertificates[0].Raw})
}

// TestRefusalsReachGo over both protocols.
func TestRefusalsReachGo(t *testing.T) {
	eachProtocol(t, func(t *testing.T, http2 bool) {
		w, refused := refusing(t, http2, bodyOfRefused)
		data := noise(1, bodyOfRefused)
		for _, c := range refused {
			a := w.do(c.method, c.path, bytes.NewReader(data), c.headers...).want(t, c.status)
			if p := a.problem(t); p.Code != c.code {
				t.Errorf("%s: got %s, want %s", c.what, p.Code, c.code)
			}
		}
	})
}

// TestARefusedRequestLetsGo of its connection long before one that is idle would have to, however it
// behaves, and of its stream.
func TestARefusedRequestLetsGo(t *testing.T) {
	eachProtocol(t, func(t *testing.T, http2 bool) {
		const idle, length = 10 * time.Minute, 100_000 // which net/http would read on to the end
		w, refused := refusing(t, http2, length, func(o *options) { o.api.IdleTimeout = idle })
		var everybody sync.WaitGroup
		atOnce := make(chan struct{}, StreamsPerConnection-2) // one is held, and one may be on its way out
		for _, c := range refused {
			for _, drips := range []bool{false, true} {
				atOnce <- struct{}{}
				everybody.Go(func() {
					defer func() { <-atOnce }()
					conn := w.open()
					conn.send(c.method, c.path, length, make([]byte, 50), c.headers...)
					stop := make(chan struct{})
					defer close(stop)
					if drips {
						go drip(conn, make([]byte, length-51), stop)
					}
					began := time.Now()
					if a := conn.receive(c.method); a.StatusCode != c.status {
						t.Errorf("%s: %d", c.what, a.StatusCode)
					}
					conn.wantClosed()
					if took := time.Since(began); took > idle/60 {
						t.Errorf("%s, which drips %t, holds its connection for %s", c.what, drips, took)
					}
				})
			}
		}
		everybody.Wait()
	})
}

// TestWhoAsksFirstIsAnswered before its body comes, and its connection ends with it.
func TestWhoAsksFirstIsAnswered(t *testing.T) {
	t.Parallel()
	w, refused := refusing(t, false, 1<<20, func(o *options) { o.api.IdleTimeout = 10 * time.Minute })
	for _, c := range refused {
		conn := w.dial()
		conn.send(c.method, c.path, 1<<20, nil, append(c.headers, "Expect", "100-continue")...)
		if a := conn.receive(c.method).want(t, c.status); !a.Close {
			t.Errorf("%s: the connection is kept", c.what)
		}
		// It goes on all the same, as one does that has waited for too long.
		conn.write(noise(1, 1<<20))
		if rest, err := io.ReadAll(conn.r); err != nil || len(rest) > 0 {
			t.Errorf("%s: after the reply came %q, %v", c.what, rest, err)
		}
	}
}

// TestABrowserThatIsNone: a preflight with a body is refused like any other request.
func TestABrowserThatIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{server: func(s *http.Server) { s.Handler = AllowOrigins(s.Handler, []string{console}) }})
	c := w.dial()
	c.send(http.MethodOptions, base("a"), 100, make([]byte, 50), "Origin", console, "Access-Control-Request-Method", "PUT")
	c.receive(http.MethodOptions).want(t, http.StatusMethodNotAllowed)
	c.wantClosed()
}

// TestTheLongestLingeringGivesWay to a newcomer, once, and nobody who has left.
func TestTheLongestLingeringGivesWay(t *testing.T) {
	t.Parallel()
	l := &lingering{most: 2}
	var gone []string
	join := func(name string) func() { return l.join(func() { gone = append(gone, name) }) }
	leave := map[string]func(){}
	for _, step := range []struct {
		joins, leaves, gone string
	}{
		{joins: "a"},
		{joins: "b"},
		{joins: "c", gone: "a"},
		{leaves: "a", gone: "a"},
		{leaves: "b", gone: "a"},
		{joins: "d", gone: "a"},
		{joins: "e", gone: "a c"},
		{joins: "f", gone: "a c d"},
		{leaves: "c", gone: "a c d"},
	} {
		if step.joins != "" {
			leave[step.joins] = join(step.joins)
		} else {
			leave[step.leaves]()
		}
		if got := strings.Join(gone, " "); got != step.gone {
			t.Fatalf("%+v: %q gave way", step, got)
		}
	}
}

// TestWhoGaveWayGetsTheReply, and does not linger on.
func TestWhoGaveWayGetsTheReply(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{api: Config{IdleTimeout: 10 * time.Minute}})
	const all = 3 * maxLingering
	var everybody sync.WaitGroup
	for range all {
		c := w.dial()
		c.send(http.MethodPut, "/v1", 1<<20, []byte("x"))
		everybody.Go(func() {
			reply, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || reply.StatusCode != http.StatusNotFound {
				t.Errorf("got %v, %v", reply, err)
				return
			}
			_ = reply.Body.Close() // the status says all
		})
	}
	everybody.Wait()
}
