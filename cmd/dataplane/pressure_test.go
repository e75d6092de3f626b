package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// patience bounds what must happen soon.
const patience = 20 * time.Second

// volumeWith returns a volume on which session ml/a of 100 chunks of 4 bytes has begun.
func volumeWith(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	sink, err := file.Open(root, file.Options{Replica: "models-0"})
	if err != nil {
		t.Fatal(err)
	}
	uploads := upload.NewService(upload.Config{
		Core: session.NewService(session.Config{Sink: sink, Checksum: crc64nvme.New}), Publisher: sink, Log: slog.New(slog.DiscardHandler),
	})
	err = uploads.Recover(t.Context())
	if err == nil {
		_, err = uploads.Accept(t.Context(), upload.Grant{
			ID: "uid", Name: upload.Name{Namespace: "ml", Name: "a"}, Key: "a", Size: 400, ChunkSize: 4,
		})
	}
	uploads.Close()
	if err := errors.Join(err, sink.Close()); err != nil {
		t.Fatal(err)
	}
	return root
}

// receive waits for what must come soon.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// putChunk sends a chunk of session a.
func putChunk(ctx context.Context, endpoint, index string) (status int, retryAfter, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, endpoint+"/v1/namespaces/ml/uploadsessions/a/chunks/"+index, strings.NewReader("0123"))
	if err != nil {
		return 0, "", "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", "", err
	}
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header.Get("Retry-After"), string(b), errors.Join(err, answer.Body.Close())
}

// TestOnlyChunksWaitForChunks: one chunk is received, as many wait as may, and
// probes, metrics and the status answer. When it is told to stop, those that
// wait are answered at once, and the one that is received is waited for.
func TestOnlyChunksWaitForChunks(t *testing.T) {
	for what, flags := range map[string][]string{
		"one chunk at a time":              {"--max-concurrent-chunks=1"},
		"one chunk of a session at a time": {"--max-concurrent-chunks=4", "--max-concurrent-chunks-per-session=1"},
	} {
		t.Run(what, func(t *testing.T) { testOnlyChunksWaitForChunks(t, flags) })
	}
}

func testOnlyChunksWaitForChunks(t *testing.T, flags []string) {
	d, err := newDataplane(t, volumeWith(t), flags...)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- d.serve(ctx) }()
	statusURL := d.endpoint() + "/v1/namespaces/ml/uploadsessions/a"
	ask(t, http.MethodGet, statusURL, nil) // is answered once it serves

	holder, err := net.Dial("tcp", d.chunks.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	// That it was asked to go on says that it is being received.
	if _, err := io.WriteString(holder, "PUT /v1/namespaces/ml/uploadsessions/a/chunks/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(holder)
	if line, err := answers.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if line, err := answers.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	type refusal struct {
		status           int
		retryAfter, body string
	}
	refusals := make(chan refusal, chunkapi.WaitersPerChunk+1)
	for range cap(refusals) {
		go func() {
			status, retryAfter, body, err := putChunk(t.Context(), d.endpoint(), "1")
			if err != nil {
				body = err.Error()
			}
			refusals <- refusal{status, retryAfter, body}
		}()
	}
	if r := receive(t, "refusal", refusals); r.status != http.StatusTooManyRequests || !strings.Contains(r.body, `"too-many-chunks"`) || r.retryAfter != "10" {
		t.Fatalf("beyond all bounds: %+v", r)
	}
	probes := "http://" + d.probes.Addr().String()
	for _, url := range []string{probes + "/healthz", probes + "/readyz", probes + "/metrics", statusURL} {
		if status, answer := ask(t, http.MethodGet, url, nil); status != http.StatusOK {
			t.Errorf("%s: %d %s", url, status, answer)
		}
	}

	stop()
	for range cap(refusals) - 1 {
		if r := receive(t, "answer of who waits", refusals); r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "is stopping") || r.retryAfter == "" {
			t.Errorf("who waits got %+v", r)
		}
	}
	if _, err := io.WriteString(holder, "0123"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Errorf("who was being received got %s", answer.Status)
	}
	if err := receive(t, "end", stopped); err != nil {
		t.Errorf("it stopped with %v", err)
	}
}

// TestItRefusesAVolumeThatCantBeRead rather than tell clients that it holds nothing.
func TestItRefusesAVolumeThatCantBeRead(t *testing.T) {
	root := volumeWith(t)
	d, err := newDataplane(t, root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.sink.Close(); err != nil { // so that it can't be listed
		t.Fatal(err)
	}
	err = d.serve(t.Context())
	if !errors.Is(err, session.ErrVolume) || !strings.Contains(err.Error(), "refuses to serve "+root) {
		t.Errorf("it stopped with %v", err)
	}
	if d.health.ready.Load() {
		t.Error("it was ready")
	}
}

// TestItStopsBeforeItHasBegun: told to stop while it reads the volume, it does not serve the part that it has read.
func TestItStopsBeforeItHasBegun(t *testing.T) {
	d, err := newDataplane(t, volumeWith(t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := d.serve(ctx); err != nil {
		t.Errorf("it stopped with %v", err)
	}
	if known := d.uploads.All(); len(known) != 0 {
		t.Errorf("it goes on reading: %v", known)
	}
}
