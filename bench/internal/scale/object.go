package scale

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
)

// poolBytes is the random bytes that every object is a part of; more than any object has.
const poolBytes = 4 << 20

// contents makes objects that all differ, without keeping any.
type contents struct {
	pool []byte
	size int64
}

func newContents(o Options) *contents {
	pool := make([]byte, poolBytes+o.objectBytes())
	// The bytes are the same in every run; nothing rests on that.
	source := rand.NewChaCha8([32]byte{'s', 'c', 'a', 'l', 'e'})
	_, _ = source.Read(pool) // it never fails
	return &contents{pool: pool, size: o.objectBytes()}
}

// of returns the bytes of the object with a number. They must not be changed.
func (c *contents) of(i int) object {
	const stride = 101 // odd, so that the first poolBytes numbers have different places
	at := int64(i) * stride % poolBytes
	return object(c.pool[at : at+c.size])
}

// object is the bytes of one object.
type object []byte

// At returns a part of it, for client.Request.
func (o object) At(offset, limit int64) []byte {
	return o[offset:min(offset+limit, int64(len(o)))]
}

// digest is what the dataplane must find.
func (o object) digest() string {
	sum := sha256.Sum256(o)
	return "sha256:" + hex.EncodeToString(sum[:])
}
