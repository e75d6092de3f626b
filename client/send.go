package client

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// SendOptions are how an object is sent; the zero value is a good choice.
type SendOptions struct {
	// Digest is the object's, such as "sha256:9f86...", where it is known. Then what the dataplane holds already is
	// not read. Otherwise the whole source is read, once, and its digest compared at the end.
	Digest string
	// DigestAlgorithm is the algorithm of the session's digest; empty for sha256. Config.Hashes has to know it, or the
	// object's digest is the dataplane's alone.
	DigestAlgorithm string
	// Parallel bounds the chunks that are under way at once; 0 is DefaultParallel.
	Parallel int
	// BufferBytes bounds the memory for chunks; 0 is DefaultBufferBytes. At least one chunk is always buffered.
	BufferBytes int64
	// Pace is called before n bytes are sent, to slow the upload down; nil for as fast as it goes. It is called from
	// many goroutines.
	Pace func(ctx context.Context, n int64) error
	// Progress is called when something has changed; nil for nobody. Calls do not overlap, and hold up the upload.
	Progress func(Progress)
}

// Defaults of SendOptions.
const (
	DefaultParallel    = 16
	DefaultBufferBytes = 256 << 20
)

// Progress is how far a Send is.
type Progress struct {
	SizeBytes int64
	// HeldBytes is what the dataplane holds durably.
	HeldBytes int64
	// SentBytes is what this Send has written to connections, with what had to be sent again.
	SentBytes int64
	// StoredChunks is how many chunks this Send has had acknowledged as new; RepeatedChunks those of them that the
	// dataplane held already.
	StoredChunks, RepeatedChunks int
	// Waiting is why nothing is taken at the moment; nil while chunks are taken.
	Waiting *Problem
	// Completing is true from when the object is being verified and published.
	Completing bool
}

// Send sends what the session lacks of the source and publishes the object. On return without an error the object is
// published durably, and has the digest of what was read from the source.
//
// It returns ErrChanged or ErrSize where the source is not what it was or has to be, an error that is ErrEnded where
// the session has ended without an object, and a *Problem where the dataplane refused for good. After any of them, and
// when ctx ends, the session keeps what it holds: the same call goes on from there.
func (s *Session) Send(ctx context.Context, source *Source, o SendOptions) (*Status, error) {
	if o.Parallel <= 0 {
		o.Parallel = DefaultParallel
	}
	if o.BufferBytes <= 0 {
		o.BufferBytes = DefaultBufferBytes
	}
	up := &sending{session: s, source: source, options: o, patience: newPatience(s.client.patience)}
	st, err := up.run(ctx)
	return st, ended(err)
}

// ended makes the end of a session that a problem tells an error that is ErrEnded.
func ended(err error) error {
	p := (*Problem)(nil)
	if errors.As(err, &p) && p.Result != nil {
		return fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return err
}

// sending is one Send.
type sending struct {
	session  *Session
	source   *Source
	options  SendOptions
	patience *patience
	level    *level
	status   *Status

	mu       sync.Mutex // Progress is called with it held
	progress Progress
}

// chunk is one chunk on its way.
type chunk struct {
	index  int
	bytes  []byte
	buffer []byte // what bytes is the start of
	sum    uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (up *sending) run(ctx context.Context) (*Status, error) {
	op := up.operation()
	st, err := up.session.status(ctx, op)
	if err != nil {
		return nil, err
	}
	if err := up.source.fits(ctx, st); err != nil {
		return nil, err
	}
	up.status = st
	up.change(func(p *Progress) { p.SizeBytes, p.HeldBytes, p.Waiting = st.SizeBytes, st.ReceivedBytes, nil })
	if st.State.Ended() && st.State != StatePublished {
		return nil, &EndedError{*st}
	}
	digest, err := up.pass(ctx)
	if err != nil {
		return nil, err
	}
	up.change(func(p *Progress) { p.Completing, p.Waiting = true, nil })
	done, err := up.session.complete(ctx, digest, op)
	if p := (*Problem)(nil); errors.As(err, &p) && p.Code == CodeUnsupportedDigest && up.options.Digest == "" {
		// The session's digest is of an algorithm that this client does not compute. Every chunk was checked.
		done, err = up.session.complete(ctx, "", op)
	}
	if err != nil {
		return nil, err
	}
	up.change(func(p *Progress) { p.HeldBytes = p.SizeBytes })
	return done, nil
}

func (up *sending) operation() operation {
	op := up.session.operation(up.patience)
	op.waiting = func(why *Problem) { up.change(func(p *Progress) { p.Waiting = why }) }
	return op
}

// pass reads the source from front to back, sends what is missing and returns the digest of the whole; empty where
// this client does not know the session's algorithm.
func (up *sending) pass(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	buffers := up.buffers()
	up.level = newLevel(min(up.options.Parallel, cap(buffers)))
	var group sync.WaitGroup
	defer group.Wait()
	// Canceled before waiting: deferred calls run last to first.
	defer cancel(nil)

	sum, name := up.hash()
	gaps := gaps{st: up.status, ask: func(ctx context.Context) (*Status, error) {
		return up.session.status(ctx, up.operation())
	}}
	for index := range up.status.TotalChunks {
		missing, err := gaps.missing(ctx, index)
		if err != nil {
			return "", err
		}
		offset := int64(index) * up.status.ChunkSizeBytes
		length := min(up.status.ChunkSizeBytes, up.status.SizeBytes-offset)
		if !missing && sum == nil && up.source.at != nil {
			continue
		}
		var buffer []byte
		select {
		case buffer = <-buffers:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		if int64(cap(buffer)) < length {
			buffer = make([]byte, min(up.status.ChunkSizeBytes, up.status.SizeBytes))
		}
		c := chunk{index: index, bytes: buffer[:length], buffer: buffer[:cap(buffer)]}
		if !up.source.readable(offset) {
			return "", fmt.Errorf("%w: the stream was read before; give Send a new one", ErrSize)
		}
		if err := up.source.read(c.bytes, offset); err != nil {
			return "", err
		}
		if sum != nil {
			_, _ = sum.Write(c.bytes) // never fails
		}
		if !missing {
			up.patience.moved() // reading takes its time
			buffers <- c.buffer
			continue
		}
		c.sum = crc32.Checksum(c.bytes, castagnoli)
		seen, err := up.level.enter(ctx)
		if err != nil {
			return "", err
		}
		group.Go(func() {
			defer func() { buffers <- c.buffer }()
			defer up.level.leave()
			if err := up.put(ctx, c, seen); err != nil {
				cancel(fmt.Errorf("chunk %d: %w", c.index, err))
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	if err := up.source.atEnd(); err != nil {
		return "", err
	}
	if up.options.Digest != "" {
		return up.options.Digest, nil
	}
	if sum == nil {
		return "", nil
	}
	return name + ":" + hex.EncodeToString(sum.Sum(nil)), nil
}

// buffers holds as many places for chunks as there is memory for; they are made when they are first used.
func (up *sending) buffers() chan []byte {
	size := max(1, min(up.status.ChunkSizeBytes, up.status.SizeBytes))
	n := max(1, min(up.options.BufferBytes/size, int64(up.options.Parallel)+1))
	buffers := make(chan []byte, n)
	for range n {
		buffers <- nil
	}
	return buffers
}

// hash is what computes the digest of the whole and its name; nil where the digest is known or cannot be computed.
func (up *sending) hash() (hash.Hash, string) {
	if up.options.Digest != "" {
		return nil, ""
	}
	name := cmp.Or(up.options.DigestAlgorithm, "sha256")
	if r := up.status.Result; r != nil && r.Digest != "" {
		name, _, _ = strings.Cut(r.Digest, ":") // a published object's is known
	}
	if f := up.session.client.hashes[name]; f != nil {
		return f(), name
	}
	return nil, ""
}

// put sends one chunk until it is stored.
func (up *sending) put(ctx context.Context, c chunk, seen int) error {
	op := up.operation()
	crowded := false
	op.crowded = func() { seen, crowded = up.level.cut(seen), true }
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], c.sum)
	header := http.Header{"Content-Digest": {"crc32c=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"}}
	held := false
	err := op.run(ctx, func(ctx context.Context, _ int) error {
		if up.options.Pace != nil {
			if err := up.options.Pace(ctx, int64(len(c.bytes))); err != nil {
				return final(err)
			}
		}
		got, err := up.session.client.call(ctx, request{
			method: http.MethodPut, url: up.session.URL() + "/chunks/" + strconv.Itoa(c.index),
			header: header, body: c.bytes, sent: up.sent,
			// A dataplane that had no turn for a chunk is asked first: refusing then costs no bytes.
			expect: crowded,
		})
		if err != nil {
			return err
		}
		held = got.status == http.StatusOK
		return nil
	})
	if err != nil {
		return err
	}
	up.patience.moved()
	up.level.grow()
	up.change(func(p *Progress) {
		p.HeldBytes, p.Waiting = p.HeldBytes+int64(len(c.bytes)), nil
		p.StoredChunks++
		if held {
			p.RepeatedChunks++
		}
	})
	return nil
}

func (up *sending) sent(n int) {
	up.mu.Lock()
	defer up.mu.Unlock()
	up.progress.SentBytes += int64(n)
}

func (up *sending) change(f func(*Progress)) {
	up.mu.Lock()
	defer up.mu.Unlock()
	f(&up.progress)
	if up.options.Progress != nil {
		up.options.Progress(up.progress)
	}
}
