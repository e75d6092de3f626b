package session

import (
	"bytes"
	"fmt"
	"time"
)

// Bounds of a Spec.
const (
	// MaxChunks is the largest number of chunks of a session.
	MaxChunks = 100_000
	// MaxSize is the largest size of a session in bytes (128 TiB).
	MaxSize = 1 << 47
	// MaxOpaque bounds Owner and Key in bytes.
	MaxOpaque = 512
	// MaxPayload bounds Payload and the Outcome of a session in bytes.
	MaxPayload = 64 << 10
)

// Spec is what a session is. All but the timeouts is fixed when it begins.
type Spec struct {
	// Owner is who the session belongs to; opaque, at most MaxOpaque bytes.
	Owner string `json:"owner,omitempty"`
	// Key finds the owner's pending session again; opaque, at most MaxOpaque bytes. Empty
	// means that the session can't be found by key.
	Key string `json:"key,omitempty"`
	// Size is the exact size in bytes, from 0 to MaxSize.
	Size int64 `json:"size"`
	// ChunkSize is the size of every chunk but the last in bytes, at least 1, such that there
	// are at most MaxChunks.
	ChunkSize int64 `json:"chunkSize"`
	// IdleTimeout is how long after the last byte that arrived a session expires; 0 is never.
	IdleTimeout time.Duration `json:"idleTimeout,omitempty"`
	// Deadline is when the session expires whether or not bytes arrive; zero is never. From then
	// on no chunk enters; those that are arriving have Config.DeadlineGrace.
	Deadline time.Time `json:"deadline,omitzero"`
	// Payload belongs to the layer above; opaque, at most MaxPayload bytes.
	Payload []byte `json:"payload,omitempty"`
}

// Validate returns nil or an ErrInvalid that names the bound which is broken.
func (s Spec) Validate() error {
	switch {
	case s.Size < 0 || s.Size > MaxSize:
		return fmt.Errorf("%w: size %d is not from 0 to %d", ErrInvalid, s.Size, int64(MaxSize))
	case s.ChunkSize < 1:
		return fmt.Errorf("%w: chunk size %d is not positive", ErrInvalid, s.ChunkSize)
	case s.Size > 0 && (s.Size-1)/s.ChunkSize >= MaxChunks:
		return fmt.Errorf("%w: chunk size %d makes more than %d chunks", ErrInvalid, s.ChunkSize, MaxChunks)
	case len(s.Owner) > MaxOpaque || len(s.Key) > MaxOpaque:
		return fmt.Errorf("%w: owner or key is longer than %d bytes", ErrInvalid, MaxOpaque)
	case len(s.Payload) > MaxPayload:
		return fmt.Errorf("%w: payload is longer than %d bytes", ErrInvalid, MaxPayload)
	case s.IdleTimeout < 0:
		return fmt.Errorf("%w: idle timeout is negative", ErrInvalid)
	}
	return nil
}

// Chunks is the number of chunks; an empty session has none.
func (s Spec) Chunks() int {
	if s.Size == 0 {
		return 0
	}
	return int((s.Size-1)/s.ChunkSize) + 1
}

// Extent is where chunk index lies: its offset and length in bytes. The last
// chunk may be short. ErrInvalid where there is no such chunk.
func (s Spec) Extent(index int) (offset, length int64, err error) {
	if index < 0 || index >= s.Chunks() {
		return 0, 0, fmt.Errorf("%w: no chunk %d, the session has %d", ErrInvalid, index, s.Chunks())
	}
	offset = int64(index) * s.ChunkSize
	return offset, min(s.ChunkSize, s.Size-offset), nil
}

// same reports whether two specs describe the same session; timeouts may differ.
func (s Spec) same(t Spec) bool {
	return s.Owner == t.Owner && s.Key == t.Key && s.Size == t.Size && s.ChunkSize == t.ChunkSize &&
		bytes.Equal(s.Payload, t.Payload)
}
