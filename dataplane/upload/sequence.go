package upload

import (
	"fmt"
	"hash"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// sequence is the sum of a hash that takes the bytes of an object in order:
// only the chunk that comes after those which are hashed can be summed up.
type sequence struct {
	spec      session.Spec
	algorithm Algorithm

	hash   hash.Cloner // of all chunks before hashed
	hashed int
	held   int // all chunks before it were held when reach was last asked
}

// newSequence returns a sequence of no bytes; fresh is the algorithm's.
func newSequence(spec session.Spec, algorithm Algorithm, fresh hash.Cloner) *sequence {
	return &sequence{spec: spec, algorithm: algorithm, hash: fresh}
}

// strand goes on from a copy, because a hash can't be wound back.
func (s *sequence) strand(c session.Chunk) strand {
	if c.Index != s.hashed {
		return nil
	}
	clone, err := s.hash.Clone()
	if err != nil { // those in use can be cloned
		panic(fmt.Sprintf("clone the state of a hash: %v", err))
	}
	return clone
}

func (s *sequence) add(c session.Chunk, whole strand) {
	s.hash = whole.(hash.Cloner) //nolint:errcheck // it is a clone of one
	s.hashed = c.Index + 1
}

func (s *sequence) count() int { return s.hashed }

func (s *sequence) next(ready func(index int) bool) (int, bool) {
	return s.hashed, s.hashed < s.spec.Chunks() && ready(s.hashed)
}

func (s *sequence) reach(held func(index int) bool) (done, could int64) {
	for s.held < s.spec.Chunks() && held(s.held) {
		s.held++
	}
	return s.offset(s.hashed), s.offset(s.held)
}

// offset is where a chunk begins, or the end of the object.
func (s *sequence) offset(index int) int64 {
	return min(int64(index)*s.spec.ChunkSize, s.spec.Size)
}

func (s *sequence) digest() (Digest, bool) {
	if s.hashed < s.spec.Chunks() {
		return "", false
	}
	d, err := s.algorithm.Digest(s.hash.Sum(nil))
	if err != nil { // the hash is the algorithm's
		panic(fmt.Sprintf("digest of a sequence: %v", err))
	}
	return d, true
}
