package upload

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Algorithm is one that the digest of a whole object may be of. The empty
// Algorithm is none.
type Algorithm string

// The algorithms. Their sums have sumSize bytes.
const (
	SHA256 Algorithm = "sha256"
	BLAKE3 Algorithm = "blake3"
)

const sumSize = 32

// known reports whether the algorithm is one of those above.
func (a Algorithm) known() bool { return a == SHA256 || a == BLAKE3 }

// Digest returns a sum of the algorithm as a Digest. session.ErrInvalid where
// the sum has another length, or the algorithm is not known.
func (a Algorithm) Digest(sum []byte) (Digest, error) {
	if !a.known() || len(sum) != sumSize {
		return "", fmt.Errorf("%w: %d bytes are no sum of algorithm %q, which has %d", session.ErrInvalid, len(sum), a, sumSize)
	}
	return Digest(string(a) + ":" + hex.EncodeToString(sum)), nil
}

// Digest is the digest of a whole object as 'sha256:' or 'blake3:' and 64
// lower-case hex digits, as the OCI image specification writes it. The empty
// Digest is none.
type Digest string

// ParseDigest returns s as a Digest, or session.ErrInvalid. The empty string is no digest.
func ParseDigest(s string) (Digest, error) {
	algorithm, digits, _ := strings.Cut(s, ":")
	if !Algorithm(algorithm).known() || len(digits) != 2*sumSize || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%w: digest %q is not '%s:' or '%s:' and %d lower-case hex digits",
			session.ErrInvalid, s, SHA256, BLAKE3, 2*sumSize)
	}
	return Digest(s), nil
}

// Algorithm returns the algorithm of a digest that ParseDigest or
// Algorithm.Digest made, or none.
func (d Digest) Algorithm() Algorithm {
	algorithm, _, _ := strings.Cut(string(d), ":")
	if a := Algorithm(algorithm); a.known() {
		return a
	}
	return ""
}

// Sum returns the bytes of a digest that ParseDigest or Algorithm.Digest made,
// or nil for none.
func (d Digest) Sum() []byte {
	_, digits, _ := strings.Cut(string(d), ":")
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != sumSize {
		return nil
	}
	return sum
}
