package uploader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

// Parallel is how many chunks are under way at once.
const Parallel = 8

// Uploader sends an object's chunks to one session.
type Uploader struct {
	Caller
	// Base is the URL of the session.
	Base string
	// Content is the object.
	Content io.ReaderAt
	// Stored is called after each chunk that the dataplane acknowledged, from many goroutines; it may be nil.
	Stored func(index int, bytes int64)
	// Before is called before each chunk, from many goroutines, to make it wait; it may be nil.
	Before func(ctx context.Context, bytes int64) error
	// Again is asked about each request that failed, from many goroutines: it waits and returns nil where
	// the request is to be sent again, and else why not. Where it is nil nothing is sent again.
	Again func(ctx context.Context, err error) error
}

// Send sends every chunk that is missing and returns how many those were.
func (u *Uploader) Send(ctx context.Context) (int, error) {
	sent := 0
	for { // the status lists a bounded number of ranges, so there may be another round
		st, err := u.Status(ctx)
		if err != nil {
			return sent, err
		}
		var missing []int
		for _, r := range st.Missing {
			for index := r.First; index <= r.Last; index++ {
				missing = append(missing, index)
			}
		}
		if len(missing) == 0 {
			return sent, nil
		}
		n, err := u.sendAll(ctx, st, missing)
		sent += n
		if err != nil {
			return sent, err
		}
	}
}

// sendAll sends these chunks in random order and returns how many were
// acknowledged. It stops at the first chunk that fails for good.
func (u *Uploader) sendAll(ctx context.Context, st *chunkapi.Status, indexes []int) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rand.Shuffle(len(indexes), func(i, j int) { indexes[i], indexes[j] = indexes[j], indexes[i] })
	queue := make(chan int)
	go func() {
		defer close(queue)
		for _, index := range indexes {
			select {
			case queue <- index:
			case <-ctx.Done():
				return
			}
		}
	}()
	var (
		mu    sync.Mutex
		sent  int
		group sync.WaitGroup
	)
	for range Parallel {
		group.Go(func() {
			for index := range queue {
				n, err := u.sendChunk(ctx, st, index)
				if err != nil {
					cancel(fmt.Errorf("chunk %d: %w", index, err))
					return
				}
				mu.Lock()
				sent++
				mu.Unlock()
				if u.Stored != nil {
					u.Stored(index, n)
				}
			}
		})
	}
	group.Wait()
	return sent, context.Cause(ctx)
}

func (u *Uploader) sendChunk(ctx context.Context, st *chunkapi.Status, index int) (int64, error) {
	offset := int64(index) * st.ChunkSizeBytes
	length := min(st.ChunkSizeBytes, st.SizeBytes-offset)
	if u.Before != nil {
		if err := u.Before(ctx, length); err != nil {
			return 0, err
		}
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(u.Content, offset, length)); err != nil {
		return 0, err
	}
	return length, u.PutChunk(ctx, index, io.NewSectionReader(u.Content, offset, length), sum.Sum(nil))
}

// PutChunk sends one chunk with its digest.
func (u *Uploader) PutChunk(ctx context.Context, index int, chunk *io.SectionReader, sum []byte) error {
	return u.try(ctx, func() error {
		// A new reader each time: the transport may read the last one for a moment longer.
		body := io.NewSectionReader(chunk, 0, chunk.Size())
		request, err := http.NewRequestWithContext(ctx, http.MethodPut, u.Base+"/chunks/"+strconv.Itoa(index), body)
		if err != nil {
			return err
		}
		request.ContentLength = chunk.Size()
		request.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
		_, err = u.Call(request, nil, http.StatusCreated, http.StatusOK)
		return err
	})
}

// PutBytes sends one chunk from memory with its right digest.
func (u *Uploader) PutBytes(ctx context.Context, index int, chunk []byte) error {
	sum := sha256.Sum256(chunk)
	return u.PutChunk(ctx, index, io.NewSectionReader(bytes.NewReader(chunk), 0, int64(len(chunk))), sum[:])
}

// Status asks the dataplane how far the session is.
func (u *Uploader) Status(ctx context.Context) (*chunkapi.Status, error) {
	st := &chunkapi.Status{}
	err := u.try(ctx, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Base, http.NoBody)
		if err != nil {
			return err
		}
		*st = chunkapi.Status{}
		_, err = u.Call(request, st, http.StatusOK)
		return err
	})
	return st, err
}

// Complete asks for the object to be verified and published, and waits for it.
func (u *Uploader) Complete(ctx context.Context) (*chunkapi.Status, error) {
	for {
		st, done, err := u.complete(ctx)
		if err != nil || done {
			return st, err
		}
		select { // it is being verified
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (u *Uploader) complete(ctx context.Context) (st *chunkapi.Status, done bool, err error) {
	st = &chunkapi.Status{}
	err = u.try(ctx, func() error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.Base+"/complete", http.NoBody)
		if err != nil {
			return err
		}
		*st = chunkapi.Status{}
		code, err := u.Call(request, st, http.StatusOK, http.StatusAccepted)
		done = code == http.StatusOK
		return err
	})
	return st, done, err
}

// try makes a request until it succeeds or Again says why not.
func (u *Uploader) try(ctx context.Context, request func() error) error {
	for {
		err := request()
		if err == nil || u.Again == nil {
			return err
		}
		if err := u.Again(ctx, err); err != nil {
			return err
		}
	}
}
