package upload

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// frontier is the digest of an upload's chunks from the first up to the first
// that is missing. It follows the chunks while they arrive, so that little is
// left to read when the last one is there, and reads each byte once.
type frontier struct {
	core *session.Service
	id   session.ID

	kicks atomic.Int64 // how often follow was called since it last came to rest

	mu   sync.Mutex // held while hashing
	hash hash.Hash
	next int64 // offset of the first byte that was not hashed
}

func newFrontier(core *session.Service, id session.ID) *frontier {
	return &frontier{core: core, id: id, hash: sha256.New()}
}

// follow advances the frontier in the background, in at most one goroutine.
// slots bounds how many frontiers advance at once.
func (f *frontier) follow(ctx context.Context, running *sync.WaitGroup, slots chan struct{}) {
	if f.kicks.Add(1) > 1 {
		return // the goroutine that runs will look again
	}
	running.Go(func() {
		for {
			seen := f.kicks.Load()
			select {
			case slots <- struct{}{}:
				// An error is not lost: digest meets it again, and has somebody to tell.
				_ = f.advance(ctx)
				<-slots
			case <-ctx.Done():
			}
			if f.kicks.CompareAndSwap(seen, 0) {
				return
			}
		}
	})
}

// digest returns the digest of the whole, once every chunk is held.
func (f *frontier) digest(ctx context.Context) (Digest, error) {
	if err := f.advance(ctx); err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.core.Get(f.id)
	if err != nil {
		return "", err
	}
	if f.next != m.Spec.Size {
		return "", fmt.Errorf("digest of session %s: %w", f.id, session.ErrIncomplete)
	}
	return DigestOf(f.hash.Sum(nil))
}

// advance hashes every chunk that is held from the frontier on.
func (f *frontier) advance(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	chunks, err := f.core.Chunks(f.id)
	if err != nil {
		return err
	}
	var ready []session.Chunk
	next := f.next
	for c := range chunks {
		if c.Offset > next {
			break
		}
		if c.Offset == next {
			ready = append(ready, c)
			next += c.Length
		}
	}
	if len(ready) == 0 {
		return nil
	}
	staged, err := f.core.OpenStaged(ctx, f.id)
	if err != nil {
		return err
	}
	defer func() { _ = staged.Close() }() // it was only read
	for _, c := range ready {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.add(staged, c); err != nil {
			return err
		}
	}
	return nil
}

// add hashes one chunk. A chunk that can't be read whole is undone, because a
// hash can't be wound back.
func (f *frontier) add(staged session.Staged, c session.Chunk) error {
	n, err := io.Copy(f.hash, io.NewSectionReader(staged, c.Offset, c.Length))
	if err == nil && n != c.Length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		f.hash.Reset()
		f.next = 0
		return fmt.Errorf("read chunk %d of session %s: %w", c.Index, f.id, err)
	}
	f.next += n
	return nil
}
