package contender

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/client"
	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/proc"
)

// BareDurable is the contender that the figure which counts compares with.
const BareDurable = "bare-durable"

// Bare returns the servers of cmd/bare, the limits.
func Bare(binary, version string) []Contender {
	one := func(id, do, title, synced, verified, note string, chunks bool, takes func(load.Load) bool, flags ...string) Contender {
		return Contender{
			ID: id, Title: title, Version: version, Synced: synced, Verified: verified, Note: note, Takes: takes,
			Start: func(ctx context.Context, dir string) (Server, error) {
				b, err := newBase(ctx, id, dir, func(address string) proc.Spec {
					return proc.Spec{Command: append([]string{binary, "-dir", dir, "-listen", address, "-do", do}, flags...)}
				})
				if err != nil {
					return nil, err
				}
				return &bare{base: b, chunks: chunks, keeps: do != "discard"}, nil
			},
		}
	}
	const (
		all = "bytes and name, per chunk and object"
		no  = "no"
	)
	return []Contender{
		one(BareDurable, "durable", "bare: write, sync, SHA-256 per chunk", all, "SHA-256 of each chunk", "the limit for a durable, verified server; one large object as 4 chunks at a time, others as one PUT each, file and directory synced for each", true, nil),
		one("bare-durable-put", "durable", "bare: the same as one PUT", all, "SHA-256 of the whole", "writeback is started every 8 MiB", false, single, "-writeback", "8388608"),
		one("bare-sync", "sync", "bare: write, sync", all, no, "", true, nil),
		one("bare-write", "write", "bare: write", no, no, "", true, nil),
		one("bare-discard", "discard", "bare: discard", no, no, "keeps nothing: what HTTP alone costs here", true, nil),
	}
}

type bare struct {
	base
	chunks bool // one large object goes up in chunks
	keeps  bool
}

func (b *bare) chunked(l load.Load) bool { return b.chunks && l.Single() }

// Prepare makes the file that chunks go to, as a session would.
func (b *bare) Prepare(ctx context.Context, objects []load.Object) error {
	for _, o := range objects {
		if !b.chunked(o.Load) {
			return nil
		}
		_, err := b.call(ctx, client.Request{Method: http.MethodPost, Path: fmt.Sprintf("/create/%s?size=%d", o.Name, o.Size())}, http.StatusCreated)
		if err != nil {
			return err
		}
	}
	return nil
}

// Put sends the chunks and publishes, or sends the whole.
func (b *bare) Put(ctx context.Context, o load.Object) (time.Duration, error) {
	if !b.chunked(o.Load) {
		reply, err := b.call(ctx, client.Request{Method: http.MethodPut, Path: "/whole/" + o.Name, Body: o, Length: o.Size()}, http.StatusCreated)
		if err != nil {
			return 0, err
		}
		return reply.Done.Sub(reply.Sent), nil
	}
	err := Parallel(o.Chunks(), o.Load.ChunksAtOnce, func(chunk int) error {
		offset, length := o.Extent(chunk)
		_, err := b.call(ctx, client.Request{
			Method: http.MethodPut, Path: fmt.Sprintf("/chunk/%s?offset=%d", o.Name, offset), Body: o, Offset: offset, Length: length,
		}, http.StatusCreated)
		return err
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	_, err = b.call(ctx, client.Request{Method: http.MethodPost, Path: "/publish/" + o.Name}, http.StatusCreated)
	return time.Since(began), err
}

// Path is where the object lies.
func (b *bare) Path(o load.Object) string {
	if !b.keeps {
		return ""
	}
	return filepath.Join(b.dir, o.Name)
}
