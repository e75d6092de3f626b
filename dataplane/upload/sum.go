package upload

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// sum adds the chunks of one object up to its digest. A strand is one chunk on
// its way into the sum: it is made while the chunk still arrives or is read,
// and leaves no trace unless it is added. Calls come one at a time; strands are
// written to meanwhile.
type sum interface {
	// strand returns a new strand of a chunk, or nil where the chunk can't be summed up yet.
	strand(c session.Chunk) strand
	// add takes the strand of a chunk to which the whole chunk was written.
	add(c session.Chunk, s strand)
	// count is how many chunks were added.
	count() int
	// next returns the first chunk that can be summed up now and is ready, or false.
	next(ready func(index int) bool) (index int, found bool)
	// reach is up to where the object is summed up without a gap, and up to where it could be
	// with the chunks that are held: both in bytes, and equal where nothing ever lags.
	reach(held func(index int) bool) (done, could int64)
	// digest returns the digest of the whole, or false where chunks were not added yet.
	digest() (Digest, bool)
}

// strand is written the bytes of one chunk, in order; it never fails.
type strand = io.Writer

// newSum returns the sum of an upload of which nothing was summed up yet.
func newSum(algorithm Algorithm, spec session.Spec) sum {
	switch {
	case algorithm != BLAKE3:
		return newSequence(spec, SHA256, sha256.New().(hash.Cloner)) //nolint:errcheck // it is one, says the package
	case isTree(spec):
		return newTree(spec)
	default:
		return newSequence(spec, BLAKE3, newBlake3(0))
	}
}
