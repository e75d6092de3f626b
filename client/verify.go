package client

import (
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// digesting computes a digest of the API.
type digesting struct {
	hash.Hash
	algorithm string
}

// hashOf is what computes a digest of the same algorithm as this one.
func (c *Client) hashOf(digest string) (digesting, error) {
	algorithm, _, _ := strings.Cut(digest, ":")
	f := c.hashes[algorithm]
	if f == nil {
		return digesting{}, fmt.Errorf("%w: %s", ErrUnverified, algorithm)
	}
	return digesting{f(), algorithm}, nil
}

// matches returns ErrDigest where what was written does not have this digest.
func (d digesting) matches(digest string) error {
	if got := d.algorithm + ":" + hex.EncodeToString(d.Sum(nil)); got != digest {
		return fmt.Errorf("%w: it has %s, not %s", ErrDigest, got, digest)
	}
	return nil
}
