package rig

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// sum is the SHA-256 of some bytes.
type sum [sha256.Size]byte

// Session is one upload and what the oracle knows of it.
type Session struct {
	Name, Key, UID  string
	Size, ChunkSize int64
	// Digest is spec.digest; empty for none.
	Digest string
	// Explicit waits for the complete call; Replace replaces what is under the key.
	Explicit, Replace bool
	// Contested sessions are sent two contents for each chunk, of which the first to be
	// acknowledged counts.
	Contested bool
	// Doomed sessions have a Digest that their bytes do not have.
	Doomed bool
	// Abandoned sessions are never completed.
	Abandoned bool
	// Reclaim sessions take their object with them when they are deleted. Nobody else has their key.
	Reclaim bool
	// Abortable sessions may be aborted by a client.
	Abortable bool

	oracle *Oracle
	seed   uint64
	shape  *Shape // of the load that made it up; nil where a program did

	mu       sync.Mutex
	chunks   []chunk
	aborting bool          // a client has asked for an abort
	end      upload.Reason // as it was told first; empty while none was
	counted  bool          // as an object
	digest   string        // that came with it
	retired  bool          // it was checked to the end and its resource is deleted
	history  []string      // what happened, the last of it
}

// chunk is what the oracle knows of one chunk.
type chunk struct {
	// sent are the contents that were sent with a right digest or none: those that may be held.
	sent map[sum]bool
	// acked is the content of the first 2xx.
	acked    sum
	hasAcked bool
	// sums are of the variants, once they were asked for.
	sums [variants]sum
	// checked is whether it was found held after a restart since then.
	checked bool
}

// historyLimit is how much of what happened to a session is kept.
const historyLimit = 300

// Chunks is how many chunks the session has.
func (s *Session) Chunks() int { return len(s.chunks) }

// Extent is where a chunk begins, and how long it is.
func (s *Session) Extent(index int) (offset, length int64) {
	offset = int64(index) * s.ChunkSize
	return offset, min(s.ChunkSize, s.Size-offset)
}

// Content is what a chunk holds. Variant 0 is the object's; others are other bytes.
func (s *Session) Content(index, variant int) []byte {
	_, length := s.Extent(index)
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[0:], s.seed)
	binary.LittleEndian.PutUint64(seed[8:], uint64(index))
	binary.LittleEndian.PutUint64(seed[16:], uint64(variant))
	b := make([]byte, length)
	_, _ = rand.NewChaCha8(seed).Read(b) // it never fails
	if variant != 0 && len(b) > 0 {
		// A chunk of one byte could be the same by chance.
		b[0] = s.Content(index, 0)[0] + byte(variant)
	}
	return b
}

// Object is the whole object, of chunks of variant 0.
func (s *Session) Object() []byte {
	b := make([]byte, 0, s.Size)
	for index := range s.chunks {
		b = append(b, s.Content(index, 0)...)
	}
	return b
}

// note keeps what happened. The caller does not hold s.mu.
func (s *Session) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteLocked(format, args...)
}

func (s *Session) noteLocked(format string, args ...any) {
	line := fmt.Sprintf("%9.3fs ", time.Since(s.oracle.began).Seconds()) + fmt.Sprintf(format, args...)
	if len(s.history) == historyLimit {
		s.history = append(s.history[:0], s.history[historyLimit/3:]...)
	}
	s.history = append(s.history, line)
}

// Sending tells that a content is about to be sent which may come to be held.
func (s *Session) Sending(index int, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks[index].sent[sha256.Sum256(content)] = true
}

// Acknowledged tells that a chunk of this content got a 2xx. It is called at
// the moment when that was read.
func (s *Session) Acknowledged(index int, content []byte) {
	got := sha256.Sum256(content)
	s.mu.Lock()
	c := &s.chunks[index]
	first, sent, differs := !c.hasAcked, c.sent[got], c.hasAcked && c.acked != got
	if first {
		c.hasAcked, c.acked = true, got
		s.noteLocked("chunk %d acknowledged, sha-256 %x", index, got[:6])
	}
	s.mu.Unlock()
	if first {
		s.oracle.Acknowledged.Add(1)
	}
	switch {
	case !sent:
		s.oracle.Violate(s, "chunk %d was acknowledged with bytes that must never count, sha-256 %x", index, got[:6])
	case differs:
		s.oracle.Violate(s, "chunk %d was acknowledged with two contents, the second of sha-256 %x", index, got[:6])
	}
}

// Aborting tells that a client is about to ask for an abort.
func (s *Session) Aborting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborting = true
}

// Held reports whether a chunk was acknowledged.
func (s *Session) Held(index int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chunks[index].hasAcked
}

// AckedVariant is which variant of a chunk was acknowledged; false where none was.
func (s *Session) AckedVariant(index int) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.chunks[index]
	if !c.hasAcked {
		return 0, false
	}
	for variant := range variants {
		if c.sums[variant] == (sum{}) {
			c.sums[variant] = sha256.Sum256(s.Content(index, variant))
		}
		if c.sums[variant] == c.acked {
			return variant, true
		}
	}
	return 0, false
}

// variants is how many contents of a chunk may be sent to be held.
const variants = 2

// Teller is who tells how a session ended. Whoever it is, what was told lasts.
type Teller string

// The tellers.
const (
	ByStatus   Teller = "status"
	ByChunk    Teller = "chunk"
	ByRefusal  Teller = "refusal"
	ByAbort    Teller = "abort"
	ByComplete Teller = "complete"
	ByResource Teller = "resource"
)

// Ended tells how the session ended, as somebody was told. From then on it is
// so, whatever crashes: never in another way, nor with another digest.
func (s *Session) Ended(reason upload.Reason, digest string, teller Teller) {
	s.mu.Lock()
	first := s.end == ""
	if first {
		s.end, s.digest = reason, digest
		s.noteLocked("ended: %s %s, says the %s", reason, digest, teller)
	}
	object := s.end == reason && reason == upload.Published && !s.counted
	s.counted = s.counted || object
	end, known, aborting := s.end, s.digest, s.aborting
	s.mu.Unlock()
	if object {
		s.oracle.Objects.Add(1)
	}
	switch {
	case end != reason:
		s.oracle.Violate(s, "the %s says it ended as %s, but it ended as %s", teller, reason, end)
	case digest != "" && known != "" && digest != known:
		s.oracle.Violate(s, "the %s says digest %s, but it was %s", teller, digest, known)
	case !first:
	case reason == upload.Published && s.Doomed:
		s.oracle.Violate(s, "it was published without having its digest")
	case reason == upload.Published && s.Digest != "" && digest != "" && digest != s.Digest:
		s.oracle.Violate(s, "it was published with digest %s, not %s", digest, s.Digest)
	case reason == upload.Published:
	case reason == upload.DigestMismatch && s.Doomed:
	case reason == upload.ClientAborted && aborting:
	case reason == upload.KeyExists && !s.Replace && s.oracle.hasRival(s):
	default:
		s.oracle.Violate(s, "the %s says it ended as %s, for which there is no cause", teller, reason)
	}
}

// End is how the session ended as far as somebody was told, or "".
func (s *Session) End() upload.Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// deletedUntold reports whether the session was deleted before anybody was told of its end.
func (s *Session) deletedUntold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired && s.end == ""
}

// ResultDigest is the digest that was told of the published object.
func (s *Session) ResultDigest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.digest
}
