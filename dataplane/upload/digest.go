package upload

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Digest is the digest of a whole object as 'sha256:' and 64 lower-case hex
// digits, as the OCI image specification writes it. The empty Digest is none.
type Digest string

const digestPrefix = "sha256:"

// ParseDigest returns s as a Digest, or session.ErrInvalid. The empty string is no digest.
func ParseDigest(s string) (Digest, error) {
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(digits) != 2*sha256.Size || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%w: digest %q is not 'sha256:' and 64 lower-case hex digits", session.ErrInvalid, s)
	}
	return Digest(s), nil
}

// DigestOf returns a SHA-256 sum as a Digest. ErrInvalid where sum has another length.
func DigestOf(sum []byte) (Digest, error) {
	if len(sum) != sha256.Size {
		return "", fmt.Errorf("%w: a SHA-256 sum has %d bytes, not %d", session.ErrInvalid, sha256.Size, len(sum))
	}
	return Digest(digestPrefix + hex.EncodeToString(sum)), nil
}

// Sum returns the 32 bytes of a digest that ParseDigest or DigestOf made, or nil for none.
func (d Digest) Sum() []byte {
	sum, err := hex.DecodeString(strings.TrimPrefix(string(d), digestPrefix))
	if err != nil || len(sum) != sha256.Size {
		return nil
	}
	return sum
}
