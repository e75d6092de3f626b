package rig

import (
	"crypto/sha256"
	"fmt"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// CheckObject returns why these bytes are not the session's whole object, or nil.
func (s *Session) CheckObject(b []byte) error {
	if s.Doomed {
		return fmt.Errorf("the object of session %s must never appear", s.Name)
	}
	if int64(len(b)) != s.Size {
		return fmt.Errorf("%d bytes, where session %s has %d", len(b), s.Name, s.Size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for index := range s.chunks {
		offset, length := s.Extent(index)
		got := sha256.Sum256(b[offset : offset+length])
		c := s.chunks[index]
		switch {
		case c.hasAcked && c.acked != got:
			return fmt.Errorf("chunk %d of session %s is %x, acknowledged was %x", index, s.Name, got[:6], c.acked[:6])
		case !c.sent[got]:
			return fmt.Errorf("chunk %d of session %s is %x, which was never sent", index, s.Name, got[:6])
		}
	}
	if whole := digestOf(b); s.Digest != "" && whole != s.Digest {
		return fmt.Errorf("digest %s, session %s has %s", whole, s.Name, s.Digest)
	} else if s.digest != "" && s.end == upload.Published && whole != s.digest {
		return fmt.Errorf("digest %s, session %s was published with %s", whole, s.Name, s.digest)
	}
	return nil
}

// Promises is what was promised of a session at one moment.
type Promises struct {
	held []bool
	end  upload.Reason
}

// Promises is what was promised so far: what a request that is sent from now
// on must find.
func (s *Session) Promises() Promises {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Promises{end: s.end, held: make([]bool, len(s.chunks))}
	for index, c := range s.chunks {
		p.held[index] = c.hasAcked
	}
	return p
}

// CheckStatus checks a live status against what was promised before it was asked for.
func (s *Session) CheckStatus(p Promises, st chunkapi.Status, teller Teller) {
	if string(st.UID) != s.UID || st.SizeBytes != s.Size || st.ChunkSizeBytes != s.ChunkSize || st.TotalChunks != s.Chunks() {
		s.oracle.Violate(s, "the status is of something else: %+v", st)
		return
	}
	if st.Result != nil {
		s.Ended(st.Result.Reason, string(st.Result.Digest), teller)
	} else if p.end != "" {
		s.oracle.Violate(s, "it had ended as %s, and is %s again", p.end, st.State)
	}
	if st.ReceivedChunks+st.MissingChunks != st.TotalChunks {
		s.oracle.Violate(s, "%d chunks are held and %d missing of %d", st.ReceivedChunks, st.MissingChunks, st.TotalChunks)
	}
	// An upload that ends without an object owes nobody its chunks, and tells only how many it lacks.
	if st.Result != nil && st.Result.Reason != upload.Published || st.State == chunkapi.StateCompleting && st.MissingChunks > 0 {
		if len(st.Missing) > 0 {
			s.oracle.Violate(s, "it has ended and still asks for %v", st.Missing)
		}
		return
	}
	missing := s.missing(st)
	var lost, made []int
	s.mu.Lock()
	for index, c := range s.chunks {
		if p.held[index] && missing[index] {
			lost = append(lost, index)
		}
		if !missing[index] && len(c.sent) == 0 {
			made = append(made, index)
		}
	}
	s.mu.Unlock()
	if len(lost) > 0 {
		s.oracle.Violate(s, "chunks %v were acknowledged and are not held", lost)
	}
	if len(made) > 0 {
		s.oracle.Violate(s, "chunks %v are held and were never sent whole with a right digest", made)
	}
}

// missing tells of each chunk whether a status lists it as missing. Sessions
// are small enough for a status to list all.
func (s *Session) missing(st chunkapi.Status) []bool {
	missing := make([]bool, s.Chunks())
	for _, r := range st.Missing {
		for index := r.First; index <= r.Last && index < len(missing); index++ {
			missing[index] = true
		}
	}
	return missing
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
