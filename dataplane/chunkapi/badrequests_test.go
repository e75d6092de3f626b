package chunkapi

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

var updateReplies = flag.Bool("update", false, "write the replies to the bad requests down as they are now")

// badRequest is one request of the corpus, and what it gets. The files of
// testdata/bad-requests hold them like this; README.md there says more:
//
//	=== what is wrong with it
//	the request
//	--- reply
//	the reply
type badRequest struct {
	name    string
	request string // as it is written in the file
	reply   string
}

// halfClose is a first line of a request whose sender says that it sends no more.
const halfClose = "!half-close\n"

// TestBadRequests sends each request of the corpus over a connection of its
// own, compares what comes back, byte for byte but for what is different each
// time, and sees to it that the request changed nothing on the volume. After
// every reply that leaves the connection open comes one more request: nothing
// of a body is taken for a request.
func TestBadRequests(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-requests/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	w := newVictim(t, options{})
	codes, count := map[string]bool{}, 0
	for _, path := range files {
		cases := readBadRequests(t, path)
		for i := range cases {
			c := &cases[i]
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt")+"/"+c.name, func(t *testing.T) {
				before := w.everything(t)
				got := masked(w.exchange(t, c.request), c.request)
				wantUnchanged(t, before, w.everything(t))
				if *updateReplies {
					c.reply = got
				} else if got != c.reply {
					t.Errorf("the reply is\n%s\nand was\n%s\n(if it is meant to be: go test -run TestBadRequests ./dataplane/chunkapi -update)", got, c.reply)
				}
			})
			for _, code := range regexp.MustCompile(`"code":"([a-z-]+)"`).FindAllStringSubmatch(c.reply, -1) {
				codes[code[1]] = true
			}
			count++
		}
		if *updateReplies {
			writeBadRequests(t, path, cases)
		}
	}
	if count < 60 {
		t.Errorf("the corpus has %d requests", count)
	}
	for _, k := range kinds() {
		if !codes[string(k.code)] && !slices.Contains(notByARequestAlone(), k.code) {
			t.Errorf("no request of the corpus gets %s", k.code)
		}
	}
}

// notByARequestAlone are the problems that take time, a crowd, a fault, or
// credentials: the corpus runs where everybody is let in.
func notByARequestAlone() []Code {
	return []Code{
		CodeRequestTimeout, CodeSuperseded, CodeTooManyChunks, CodeBusy, CodeTooSlow, CodeCompleting,
		CodeVolumeFull, CodeInternal, CodeComparing, CodeObjectChanges,
		CodeUnauthenticated, CodeInvalidTicketRequest, CodeTicketEnded, CodeTLSRequired, CodeKeptApart,
	}
}

// victim is a world with an upload in each state.
type victim struct{ *world }

func newVictim(t *testing.T, o options) victim {
	o.api.Forwarder = &forwarder{err: upload.ErrAway}
	o.api.Store = upload.Name{Namespace: "ml", Name: "models"}
	w := newWorld(t, o)
	known := func(name string, err error) { w.directory.set(upload.Name{Namespace: "ml", Name: name}, err) }

	w.accepted("obj", 10, 4)
	w.put("obj", 0, []byte("0123")).want(t, http.StatusCreated)
	w.accepted("empty", 0, 4)
	w.accepted("b3", 4, 4, func(g *upload.Grant) { g.Algorithm = upload.BLAKE3 })
	w.put("b3", 0, []byte("0123")).want(t, http.StatusCreated)
	publish(w, "ended", []byte("0123456789"))
	publish(w, "replaced", []byte("0123"))
	if err := errors.Join(w.removeObject("replaced"), os.WriteFile(filepath.Join(w.root, "models", "replaced"), []byte("other"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.accepted("aborted", 10, 4)
	w.do(http.MethodDelete, base("aborted"), nil).want(t, http.StatusNoContent)
	w.accepted("exists", 4, 4)
	w.put("exists", 0, []byte("0123")).want(t, http.StatusCreated)
	if err := os.WriteFile(filepath.Join(w.root, "models", "exists"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.do(http.MethodPost, base("exists")+"/complete", nil).want(t, http.StatusConflict)
	w.accepted("mismatch", 4, 4, func(g *upload.Grant) { g.Digest = digestOf([]byte("4567")) })
	w.put("mismatch", 0, []byte("0123")).want(t, http.StatusCreated)
	w.do(http.MethodPost, base("mismatch")+"/complete", nil).want(t, http.StatusUnprocessableEntity)
	w.accepted("suspended", 10, 4, func(g *upload.Grant) { g.Suspended = true })
	known("waiting", fmt.Errorf("%w: QuotaExceeded: 5 GiB more are needed", upload.ErrNotReady))
	known("elsewhere", fmt.Errorf("%w: models-1 at https://models-1.ml.svc:8443", upload.ErrElsewhere))
	known("away", &upload.ElsewhereError{Replica: "models-2", Endpoint: "https://models-2.ml.svc:8443"})
	known("over", &session.EndedError{Meta: session.Meta{ID: "uid-over", State: session.Aborted}})
	known("unreachable", upload.ErrUnavailable)

	refusals := map[string]error{
		`{"key":"malformed"}`: fmt.Errorf("%w: unknown field \"kye\"", upload.ErrMalformedSpec),
		`{"key":"forbidden"}`: fmt.Errorf("%w: exceeded quota", upload.ErrForbidden),
		`{"key":"deleting"}`:  fmt.Errorf("%w: ml/made", upload.ErrDeleting),
		`{"key":"reused"}`:    fmt.Errorf("%w: ml/made", upload.ErrKeyReused),
		`{"key":"others"}`:    fmt.Errorf("%w: UploadStore \"models\", and storeRef names \"data\"", upload.ErrOtherStore),
		`{"key":"../up"}`:     &upload.InvalidError{Message: "invalid", Causes: []upload.Cause{{Field: "key", Message: "must be a relative path"}}},
		`{"key":"rejected"}`:  rejection(),
	}
	w.creator.create = func(r upload.CreateRequest) (upload.Created, error) {
		if err := refusals[string(r.Spec)]; err != nil {
			return upload.Created{}, err
		}
		return upload.Created{}, upload.ErrUnavailable
	}
	return victim{w}
}

// wantUnchanged names the files that a request changed.
func wantUnchanged(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path := range before {
		if b, there := after[path]; !there || b != before[path] {
			t.Errorf("%s is changed or gone", path)
		}
	}
	for path := range after {
		if _, there := before[path]; !there {
			t.Errorf("%s is new", path)
		}
	}
}

// everything is what is on the volume: the bytes of each file by its path, but
// for those of chunks that are not held, which may be anything.
func (w victim) everything(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(w.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			all[path] = ""
			return err
		}
		b, err := os.ReadFile(path)
		if path == filepath.Join(w.root, ".slipway", "models-0.replica", "uid-1", "data") { // obj's, of which one chunk is held
			b = b[:min(4, len(b))]
		}
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

const (
	probeID = "one-more"
	probe   = "GET /one-more HTTP/1.1\r\nHost: slipway\r\nX-Request-Id: " + probeID + "\r\n\r\n"
)

// exchange sends a request and returns all that comes back for it, as it comes.
func (w victim) exchange(t *testing.T, request string) string {
	t.Helper()
	dialed, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	tcp, ok := dialed.(*net.TCPConn)
	if !ok {
		t.Fatalf("dialed a %T", dialed)
	}
	defer tcp.Close()
	if err := tcp.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	written, closes := strings.CutPrefix(request, halfClose)
	sent := onTheWire(t, written)
	if _, err := tcp.Write(sent); err != nil && !closes {
		t.Logf("not all of it was taken: %v", err) // it was answered before its end
	}
	if closes {
		if err := tcp.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	var raw bytes.Buffer
	reader := bufio.NewReader(io.TeeReader(tcp, &raw))
	method, _, _ := strings.Cut(string(sent), " ")
	probed := false
	for {
		end := raw.Len() - reader.Buffered()
		reply, err := http.ReadResponse(reader, &http.Request{Method: method})
		if (closes || probed) && errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && end > 0 {
			return string(raw.Bytes()[:end])
		}
		if err != nil {
			t.Fatalf("no reply after %q: %v", raw.Bytes(), err)
		}
		if _, err := io.Copy(io.Discard, reply.Body); err != nil {
			t.Fatalf("half a reply: %q: %v", raw.Bytes(), err)
		}
		_ = reply.Body.Close() // it was read to its end
		if reply.Header.Get(requestIDHeader) == probeID {
			return string(raw.Bytes()[:end])
		}
		if reply.Close {
			// The server may go on to wait for the body that it announced not to want.
			if err := tcp.CloseWrite(); err != nil {
				t.Logf("it is closed already: %v", err)
			}
			if rest, _ := io.ReadAll(reader); len(rest) > 0 {
				t.Errorf("after the last reply comes %q", rest)
			}
			return raw.String()
		}
		if reply.StatusCode >= http.StatusOK && !probed && !closes {
			probed, method = true, http.MethodGet
			if _, err := io.WriteString(tcp, probe); err != nil {
				t.Fatal(err)
			}
		}
	}
}

var repeated = regexp.MustCompile(`\{(.)\*(\d+)\}`)

// onTheWire is a request as it is sent: see the README of the corpus.
func onTheWire(t *testing.T, written string) []byte {
	t.Helper()
	written = repeated.ReplaceAllStringFunc(written, func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Repeat(m[1], n)
	})
	header, body, _ := strings.Cut(written, "\n\n")
	sent := strings.ReplaceAll(header, "\n", "\r\n") + "\r\n\r\n" + strings.TrimSuffix(body, "\n")
	var b []byte
	for sent != "" {
		if sent[0] != '\\' {
			b, sent = append(b, sent[0]), sent[1:]
			continue
		}
		c, _, rest, err := strconv.UnquoteChar(sent, 0)
		if err != nil {
			t.Fatalf("%q: %v", sent, err)
		}
		b, sent = append(b, byte(c)), rest
	}
	return b
}

var (
	dates = regexp.MustCompile(`(?m)^(Date|Last-Modified): .*$`)
	times = regexp.MustCompile(`"\d{4}-\d\d-\d\dT[0-9:.]+Z"`)
)

// masked is a reply without what is different each time.
func masked(reply, request string) string {
	reply = strings.ReplaceAll(reply, "\r\n", "\n")
	reply = dates.ReplaceAllString(reply, "$1: *")
	if timed := times.ReplaceAllString(reply, `"*"`); timed != reply { // a time has no fixed length
		reply = regexp.MustCompile(`(?m)^Content-Length: .*$`).ReplaceAllString(timed, "Content-Length: *")
	}
	reply = regexp.MustCompile(`(?m)^X-Request-Id: (.*)$`).ReplaceAllStringFunc(reply, func(line string) string {
		if strings.Contains(request, line) {
			return line
		}
		return "X-Request-Id: *"
	})
	return strings.TrimRight(reply, "\n") + "\n"
}

const (
	caseMark  = "=== "
	replyMark = "--- reply\n"
)

func readBadRequests(t *testing.T, path string) []badRequest {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []badRequest
	for part := range strings.SplitSeq(strings.TrimPrefix(string(b), caseMark), "\n"+caseMark) {
		name, rest, _ := strings.Cut(part, "\n")
		request, reply, found := strings.Cut(rest, replyMark)
		if name == "" || request == "" || !found && !*updateReplies {
			t.Fatalf("%s: %q is not whole", path, name)
		}
		cases = append(cases, badRequest{name, request, strings.TrimRight(reply, "\n") + "\n"})
	}
	return cases
}

func writeBadRequests(t *testing.T, path string, cases []badRequest) {
	t.Helper()
	var b strings.Builder
	for _, c := range cases {
		fmt.Fprintf(&b, "%s%s\n%s%s%s\n", caseMark, c.name, c.request, replyMark, c.reply)
	}
	if err := os.WriteFile(path, []byte(strings.TrimSuffix(b.String(), "\n")), 0o644); err != nil { //nolint:gosec // testdata is for all
		t.Fatal(err)
	}
}
