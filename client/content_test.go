package client_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/slipway-dev/slipway/client"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

// published is a session whose object has these bytes.
func (w *world) published(c *client.Client, key string, data []byte) *client.Session {
	w.t.Helper()
	size := int64(len(data))
	s := w.create(c, key, size, 1<<20)
	if _, err := s.Send(w.t.Context(), client.At(bytes.NewReader(data), size), client.SendOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestDownload(t *testing.T) {
	for _, size := range []int{0, 1, client.PartSize, 2*client.PartSize + 5} {
		w := newWorld(t, chunkapi.Config{})
		data := random(1, size)
		s := w.published(w.client(), "a", data)
		path := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		var present int64
		c, err := s.Download(t.Context(), path, client.DownloadOptions{Progress: func(n, _ int64) { present = n }})
		if err != nil {
			t.Fatal(err)
		}
		if c.Digest != digestOf(data) || c.SizeBytes != int64(size) || present != int64(size) {
			t.Errorf("%d bytes: %+v, %d present", size, c, present)
		}
		wantFile(t, path, data)
	}
}

// wantFile wants these bytes, and nothing left beside them.
func wantFile(t *testing.T, path string, data []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file has %d bytes, or others; %v", len(got), err)
	}
	for _, rest := range []string{".part", ".part.json"} {
		if _, err := os.Stat(path + rest); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was left: %v", rest, err)
		}
	}
}

func TestDownloadResumes(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	data := random(1, 4*client.PartSize+5)
	s := w.published(w.client(), "a", data)
	path := filepath.Join(t.TempDir(), "a")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Download(ctx, path, client.DownloadOptions{Parallel: 1, Progress: func(present, _ int64) {
		if present >= 2*client.PartSize {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the first process: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("half a file is at its place: %v", err)
	}
	// As a process that died while it wrote leaves it.
	journal, err := os.OpenFile(path+".part.json", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := journal.WriteString("4"); err != nil {
		t.Fatal(err)
	}
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	var ranges atomic.Int32
	w.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-Match") != "" {
			ranges.Add(1)
		}
		return false
	})
	if _, err := s.Download(t.Context(), path, client.DownloadOptions{}); err == nil {
		wantFile(t, path, data)
	} else if !errors.Is(err, client.ErrDigest) {
		t.Fatal(err)
	}
	if n := ranges.Load(); n > 3 {
		t.Errorf("%d parts were read again", n)
	}
}

func TestDownloadGoesOnAfterABrokenConnection(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	data := random(1, client.PartSize+100_000)
	s := w.published(w.client(), "a", data)
	var n atomic.Int32
	w.interfere(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-Match") == "" || n.Add(1) > 4 {
			return false
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
		_ = first
		panic(http.ErrAbortHandler)
	})
	path := filepath.Join(t.TempDir(), "a")
	if _, err := s.Download(t.Context(), path, client.DownloadOptions{}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, data)
}

// Bytes that were broken on the way never become the file.
func TestDownloadRefusesBrokenBytes(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	data := random(1, client.PartSize)
	s := w.published(w.client(), "a", data)
	path := filepath.Join(t.TempDir(), "a")
	w.interfere(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-Match") == "" {
			return false
		}
		broken := bytes.Clone(data)
		broken[1000] ^= 1
		_, _ = rw.Write(broken)
		return true
	})
	if _, err := s.Download(t.Context(), path, client.DownloadOptions{}); !errors.Is(err, client.ErrDigest) {
		t.Fatalf("the error is %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
	w.interfere(func(http.ResponseWriter, *http.Request) bool { return false })
	if _, err := s.Download(t.Context(), path, client.DownloadOptions{}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, data)
}

func TestStatSaysThatNothingIsPublished(t *testing.T) {
	w := newWorld(t, chunkapi.Config{})
	s := w.create(w.client(), "a", 10, 10)
	_, err := s.Stat(t.Context())
	if p := (*client.Problem)(nil); !errors.As(err, &p) || p.Code != client.CodeNotPublished {
		t.Errorf("the error is %v", err)
	}
}

func FuzzParseReprDigest(f *testing.F) {
	f.Add("sha-256=:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=:")
	f.Add("blake3=::")
	f.Fuzz(func(t *testing.T, field string) {
		digest, err := client.ParseReprDigest(field)
		if err == nil && !strings.Contains(digest, ":") {
			t.Errorf("%q is %q", field, digest)
		}
	})
}
