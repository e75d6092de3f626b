package story

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// parallel is how many chunks the uploader has under way at once.
const parallel = 8

// uploader sends a file's chunks to one session, in random order and in
// parallel, and knows nothing but the protocol.
type uploader struct {
	caller
	base string // URL of the session
	file *os.File
	// stored is called after each chunk that the dataplane acknowledged, from many goroutines.
	stored func(index int, bytes int64)
}

// status is what the uploader needs of the session's live status.
type status struct {
	State          string `json:"state"`
	SizeBytes      int64  `json:"sizeBytes"`
	ChunkSizeBytes int64  `json:"chunkSizeBytes"`
	ReceivedBytes  int64  `json:"receivedBytes"`
	ReceivedChunks int    `json:"receivedChunks"`
	TotalChunks    int    `json:"totalChunks"`
	MissingChunks  int    `json:"missingChunks"`
	Missing        []struct {
		First int `json:"first"`
		Last  int `json:"last"`
	} `json:"missing"`
	Result *struct {
		Reason string `json:"reason"`
		Digest string `json:"digest"`
	} `json:"result"`
}

// problem is the dataplane's refusal of a request.
type problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Next   string `json:"next"`
}

func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail) }

// send sends every chunk that is missing and returns how many those were. It
// stops at the first chunk that fails.
func (u *uploader) send(ctx context.Context) (int, error) {
	sent := 0
	for { // the status lists a bounded number of ranges, so there may be another round
		st, err := u.status(ctx)
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

// sendAll sends these chunks in random order and returns how many were acknowledged.
func (u *uploader) sendAll(ctx context.Context, st *status, indexes []int) (int, error) {
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
	for range parallel {
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
				u.stored(index, n)
			}
		})
	}
	group.Wait()
	return sent, context.Cause(ctx)
}

func (u *uploader) sendChunk(ctx context.Context, st *status, index int) (int64, error) {
	offset := int64(index) * st.ChunkSizeBytes
	length := min(st.ChunkSizeBytes, st.SizeBytes-offset)
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(u.file, offset, length)); err != nil {
		return 0, err
	}
	return length, u.putChunk(ctx, index, io.NewSectionReader(u.file, offset, length), length, sum.Sum(nil))
}

// putChunk sends one chunk with its digest.
func (u *uploader) putChunk(ctx context.Context, index int, body io.Reader, length int64, sum []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, u.base+"/chunks/"+strconv.Itoa(index), body)
	if err != nil {
		return err
	}
	request.ContentLength = length
	request.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	_, err = u.call(request, nil, http.StatusCreated, http.StatusOK)
	return err
}

// putBytes sends one chunk from memory with its right digest.
func (u *uploader) putBytes(ctx context.Context, index int, chunk []byte) error {
	sum := sha256.Sum256(chunk)
	return u.putChunk(ctx, index, bytes.NewReader(chunk), int64(len(chunk)), sum[:])
}

// status asks the dataplane how far the session is.
func (u *uploader) status(ctx context.Context) (*status, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.base, http.NoBody)
	if err != nil {
		return nil, err
	}
	st := &status{}
	_, err = u.call(request, st, http.StatusOK)
	return st, err
}

// complete asks for the object to be verified and published, and waits for it.
func (u *uploader) complete(ctx context.Context) (*status, error) {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.base+"/complete", http.NoBody)
		if err != nil {
			return nil, err
		}
		st := &status{}
		code, err := u.call(request, st, http.StatusOK, http.StatusAccepted)
		if err != nil || code == http.StatusOK {
			return st, err
		}
		select { // 202: it is being verified
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
