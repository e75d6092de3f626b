// Command bare is the least that an upload server can do, with nothing but the
// standard library: it is the limit that real servers are measured against.
//
// With -do it discards what it gets, writes it, writes and syncs it, or writes
// and syncs it and computes the SHA-256 of each request's body.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// blockBytes is how much is read and written at once. Smaller blocks cost more
// system calls, larger ones fall out of the cache.
const blockBytes = 1 << 20

type server struct {
	dir       string
	write     bool
	sync      bool
	digest    bool
	writeback int64

	blocks sync.Pool // of *[]byte

	mu     sync.Mutex
	staged map[string]*os.File // made by create, until publish
}

func main() {
	dir := flag.String("dir", "", "the directory to write to")
	listen := flag.String("listen", "127.0.0.1:0", "where to listen")
	do := flag.String("do", "durable", "discard, write, sync, or durable (sync and SHA-256)")
	writeback := flag.Int64("writeback", 0, "start writing to the disk after each so many bytes; 0 leaves it to the sync")
	flag.Parse()
	s := &server{dir: *dir, writeback: *writeback, staged: map[string]*os.File{}}
	switch *do {
	case "durable":
		s.write, s.sync, s.digest = true, true, true
	case "sync":
		s.write, s.sync = true, true
	case "write":
		s.write = true
	case "discard":
	default:
		log.Fatalf("bare: -do is %q", *do)
	}
	s.blocks.New = func() any { b := make([]byte, blockBytes); return &b }

	mux := http.NewServeMux()
	mux.HandleFunc("POST /create/{name}", serve(s.create))
	mux.HandleFunc("PUT /chunk/{name}", serve(s.chunk))
	mux.HandleFunc("POST /publish/{name}", serve(s.publish))
	mux.HandleFunc("PUT /whole/{name}", serve(s.whole))
	h := &http.Server{Addr: *listen, Handler: mux}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = h.Close() // the process ends with it
	}()
	if err := h.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func serve(f func(*http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	}
}

func number(r *http.Request, name string) (int64, error) {
	return strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
}

func (s *server) temporary(name string) string { return filepath.Join(s.dir, "."+name) }

// create makes the file that chunks go to and reserves its room.
func (s *server) create(r *http.Request) error {
	if !s.write {
		return nil
	}
	size, err := number(r, "size")
	if err != nil {
		return err
	}
	f, err := os.Create(s.temporary(r.PathValue("name")))
	if err != nil {
		return err
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		return err
	}
	if s.sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.staged[r.PathValue("name")] = f
	return nil
}

// chunk takes the bytes from an offset on; it is durable when it replies, where that is asked for.
func (s *server) chunk(r *http.Request) error {
	offset, err := number(r, "offset")
	if err != nil {
		return err
	}
	s.mu.Lock()
	f := s.staged[r.PathValue("name")]
	s.mu.Unlock()
	return s.receive(r, f, offset)
}

// publish gives what create made its name.
func (s *server) publish(r *http.Request) error {
	if !s.write {
		return nil
	}
	name := r.PathValue("name")
	s.mu.Lock()
	f := s.staged[name]
	delete(s.staged, name)
	s.mu.Unlock()
	return s.finish(f, name)
}

// whole takes an object in one request.
func (s *server) whole(r *http.Request) error {
	if !s.write {
		return s.receive(r, nil, 0)
	}
	name := r.PathValue("name")
	f, err := os.Create(s.temporary(name))
	if err != nil {
		return err
	}
	if err := s.receive(r, f, 0); err != nil {
		return err
	}
	return s.finish(f, name)
}

// finish closes the file, gives it its name, and syncs the directory.
func (s *server) finish(f *os.File, name string) error {
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(s.temporary(name), filepath.Join(s.dir, name)); err != nil {
		return err
	}
	if !s.sync {
		return nil
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *server) receive(r *http.Request, f *os.File, offset int64) error {
	buffer, ok := s.blocks.Get().(*[]byte)
	if !ok {
		return errors.New("the pool has something else")
	}
	defer s.blocks.Put(buffer)
	var sum hash.Hash
	if s.digest {
		sum = sha256.New()
	}
	started := offset
	for left := r.ContentLength; left > 0; {
		block := (*buffer)[:min(left, blockBytes)]
		if _, err := io.ReadFull(r.Body, block); err != nil {
			return err
		}
		left -= int64(len(block))
		if sum != nil {
			sum.Write(block)
		}
		if !s.write {
			continue
		}
		if _, err := f.WriteAt(block, offset); err != nil {
			return err
		}
		offset += int64(len(block))
		if s.writeback > 0 && offset-started >= s.writeback {
			// It only starts what the sync would do; an error shows there.
			_ = syscall.SyncFileRange(int(f.Fd()), started, offset-started, 2)
			started = offset
		}
	}
	if sum != nil {
		if want := r.Header.Get("Digest"); want != "" && want != hex.EncodeToString(sum.Sum(nil)) {
			return fmt.Errorf("the digest is not %s", want)
		}
	}
	if !s.sync {
		return nil
	}
	return syscall.Fdatasync(int(f.Fd()))
}
