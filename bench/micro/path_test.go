package micro

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"

	"github.com/minio/crc64nvme"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func human(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // it never fails
	return b
}

// volume opens a file sink in SLIPWAY_BENCH_DIR, or in the test's own folder.
func volume(b *testing.B) *file.Sink {
	b.Helper()
	dir := b.TempDir()
	if base := os.Getenv("SLIPWAY_BENCH_DIR"); base != "" {
		var err error
		if dir, err = os.MkdirTemp(base, "micro-"); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	sink, err := file.Open(dir, file.Options{Replica: "models-0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sink.Close() })
	return sink
}

var sessions atomic.Int64

func fresh() session.ID { return session.ID(fmt.Sprintf("bench-%d", sessions.Add(1))) }

// noSum is a checksum that costs nothing and still tells calls apart.
type noSum struct{ n uint64 }

func (s *noSum) Write(p []byte) (int, error) { s.n += uint64(len(p)); return len(p), nil }
func (s *noSum) Sum(b []byte) []byte         { return binary.BigEndian.AppendUint64(b, s.n) }
func (s *noSum) Sum64() uint64               { return s.n }
func (s *noSum) Reset()                      { s.n = 0 }
func (s *noSum) Size() int                   { return 8 }
func (s *noSum) BlockSize() int              { return 1 }

// BenchmarkPutChunk is a chunk through the core into the file sink, durably,
// from a body in memory: by block size and by checksum.
func BenchmarkPutChunk(b *testing.B) {
	const perSession = 16
	for _, chunk := range []int64{64 << 10, 16 << 20} {
		body := random(int(chunk))
		for _, block := range []int{64 << 10, 256 << 10, 1 << 20} {
			for name, checksum := range map[string]func() hash.Hash64{
				"none": func() hash.Hash64 { return &noSum{} }, "crc64nvme": crc64nvme.New,
			} {
				b.Run(fmt.Sprintf("%s/block-%s/%s", human(chunk), human(int64(block)), name), func(b *testing.B) {
					core := session.NewService(session.Config{Sink: volume(b), Checksum: checksum, BlockSize: block})
					ctx := context.Background()
					var id session.ID
					next := perSession
					b.SetBytes(chunk)
					for b.Loop() {
						if next == perSession {
							b.StopTimer()
							end(b, core, id)
							id, next = fresh(), 0
							if _, _, err := core.Begin(ctx, id, session.Spec{Size: perSession * chunk, ChunkSize: chunk}); err != nil {
								b.Fatal(err)
							}
							b.StartTimer()
						}
						_, err := core.PutChunk(ctx, id, session.Incoming{Index: next, Length: chunk, Body: bytes.NewReader(body)})
						if err != nil {
							b.Fatal(err)
						}
						next++
					}
				})
			}
		}
	}
}

// end frees a session's bytes, which would fill the volume otherwise.
func end(b *testing.B, core *session.Service, id session.ID) {
	b.Helper()
	if id == "" {
		return
	}
	ctx := context.Background()
	if _, err := core.Abort(ctx, id, session.Aborted, nil); err != nil {
		b.Fatal(err)
	}
	if err := core.Remove(ctx, id); err != nil {
		b.Fatal(err)
	}
}

// staged makes a session of n chunks in a sink and opens it.
func staged(b *testing.B, sink *file.Sink, n int, chunk int64) session.Staged {
	b.Helper()
	ctx := context.Background()
	id := fresh()
	r := session.Record{ID: id, State: session.Open, Spec: session.Spec{Size: int64(n) * chunk, ChunkSize: chunk}}
	if err := sink.Create(ctx, r); err != nil {
		b.Fatal(err)
	}
	s, err := sink.Open(ctx, id)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = s.Close()
		_ = sink.Remove(ctx, id)
	})
	return s
}

// BenchmarkCommit is the commit of a chunk whose bytes were written just now,
// alone and beside others: of one session, and of a session each.
func BenchmarkCommit(b *testing.B) {
	const chunk, chunks = 64 << 10, 4096
	body := random(chunk)
	for _, beside := range []int{1, 8, 32} {
		for _, one := range []bool{true, false} {
			name := "a-session-each"
			if one {
				name = "one-session"
			}
			b.Run(fmt.Sprintf("%s/%d-at-once", name, beside), func(b *testing.B) {
				sink := volume(b)
				of := make([]session.Staged, beside)
				for i := range of {
					if i == 0 || !one {
						of[i] = staged(b, sink, chunks, chunk)
					} else {
						of[i] = of[0]
					}
				}
				var next atomic.Int64
				b.SetBytes(chunk)
				b.SetParallelism(max(1, beside/2))
				b.ResetTimer()
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						n := int(next.Add(1))
						index := n / beside % chunks
						if one {
							index = n % chunks
						}
						s, offset := of[n%beside], int64(index)*chunk
						if _, err := s.WriteAt(body, offset); err != nil {
							b.Error(err)
							return
						}
						if err := s.Commit(context.Background(), index, offset, session.Slot{Length: chunk, Checksum: 1}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// BenchmarkFrontier is the digest of staged bytes from the page cache, by the
// size of what is read at once, and of the same bytes in memory.
func BenchmarkFrontier(b *testing.B) {
	const size = 64 << 20
	s := staged(b, volume(b), 4, size/4)
	body := random(size)
	if _, err := s.WriteAt(body, 0); err != nil {
		b.Fatal(err)
	}
	for _, block := range []int64{32 << 10, 256 << 10, 1 << 20} {
		b.Run("page-cache/"+human(block), func(b *testing.B) {
			b.SetBytes(size)
			buffer := make([]byte, block)
			for b.Loop() {
				h := sha256.New()
				// Wrapped, so that the buffer is used.
				if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.NewSectionReader(s, 0, size)}, buffer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("memory/256KiB", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			h := sha256.New()
			for at := 0; at < size; at += 256 << 10 {
				h.Write(body[at : at+256<<10])
			}
		}
	})
}

// nobody is a directory of no uploads.
type nobody struct{}

func (nobody) Lookup(context.Context, upload.Name) (upload.Grant, error) {
	return upload.Grant{}, upload.ErrUnknown
}

// BenchmarkUpload is a whole upload without HTTP: its chunks, several at once,
// and its completion. What creates the session is not in it.
func BenchmarkUpload(b *testing.B) {
	for _, c := range []struct {
		size, chunk int64
		atOnce      int
	}{{64 << 10, 64 << 10, 1}, {16 << 20, 16 << 20, 1}, {256 << 20, 16 << 20, 4}} {
		b.Run(fmt.Sprintf("%s/%d-at-once", human(c.size), c.atOnce), func(b *testing.B) {
			sink := volume(b)
			uploads := upload.NewService(upload.Config{
				Core:      session.NewService(session.Config{Sink: sink, Checksum: crc64nvme.New}),
				Publisher: sink, Directory: nobody{}, Log: slog.New(slog.DiscardHandler),
			})
			b.Cleanup(uploads.Close)
			body := random(int(c.chunk))
			ctx := context.Background()
			b.SetBytes(c.size)
			for b.Loop() {
				b.StopTimer()
				id := fresh()
				name := upload.Name{Namespace: "bench", Name: string(id)}
				_, err := uploads.Accept(ctx, upload.Grant{
					ID: id, Name: name, Key: "object", Size: c.size, ChunkSize: c.chunk, Replace: true,
				})
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				failed := make(chan error, c.atOnce)
				var next atomic.Int64
				for range c.atOnce {
					go func() {
						for {
							index := next.Add(1) - 1
							if index*c.chunk >= c.size {
								failed <- nil
								return
							}
							_, err := uploads.PutChunk(ctx, name, session.Incoming{
								Index: int(index), Length: c.chunk, Body: bytes.NewReader(body),
							})
							if err != nil {
								failed <- err
								return
							}
						}
					}()
				}
				for range c.atOnce {
					if err := <-failed; err != nil {
						b.Fatal(err)
					}
				}
				if _, err := uploads.Complete(ctx, name, ""); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := uploads.Forget(ctx, id); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
