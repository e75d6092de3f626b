package uploader

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
)

// contentBlock is how many bytes of a Content come from one seed.
const contentBlock = 4 << 10

// Content is an object that is made up: the same bytes for the same seed, in any process, and no
// two blocks alike. It may be read concurrently.
type Content struct {
	Seed string
	Size int64
}

// ReadAt reads from an offset on.
func (c Content) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 || offset >= c.Size {
		return 0, io.EOF
	}
	var short error
	if left := c.Size - offset; int64(len(p)) > left {
		p, short = p[:left], io.EOF
	}
	var block [contentBlock]byte
	for n := 0; n < len(p); {
		at := offset + int64(n)
		c.fill(block[:], at/contentBlock)
		n += copy(p[n:], block[at%contentBlock:])
	}
	return len(p), short
}

func (c Content) fill(block []byte, index int64) {
	seed := sha256.Sum256(fmt.Appendf(nil, "%s/%d", c.Seed, index))
	_, _ = rand.NewChaCha8(seed).Read(block) // never fails
}

// Digest reads the whole, and returns its digest as a session has it.
func (c Content) Digest() string {
	sum := sha256.New()
	_, _ = io.Copy(sum, io.NewSectionReader(c, 0, c.Size)) // never fails
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}
