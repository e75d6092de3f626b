package load

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
)

// BlockBytes is the size of the random block that all objects are made of, and
// the chunk size of large objects.
const BlockBytes = 16 << 20

// Load is one thing to measure.
type Load struct {
	// ID is its name in flags, files and tables.
	ID string `json:"id"`
	// Title says it to people.
	Title string `json:"title"`
	// Objects is how many objects are uploaded, ObjectBytes how long each is.
	Objects     int   `json:"objects"`
	ObjectBytes int64 `json:"objectBytes"`
	// ObjectsAtOnce is how many of them are under way at once.
	ObjectsAtOnce int `json:"objectsAtOnce"`
	// ChunkBytes is the size of a chunk, ChunksAtOnce how many of one object are under way at
	// once, wherever the contender can do that.
	ChunkBytes   int64 `json:"chunkBytes"`
	ChunksAtOnce int   `json:"chunksAtOnce"`
	// Small loads are counted in objects a second, others in MiB a second.
	Small bool `json:"small"`
}

// Bytes is how many bytes all objects have.
func (l Load) Bytes() int64 { return int64(l.Objects) * l.ObjectBytes }

// Single reports whether the load is one large object.
func (l Load) Single() bool { return l.Objects == 1 }

// All returns the loads at a scale, which is 1 for what counts.
func All(scale float64) []Load {
	single := func(id string, size int64) Load {
		chunks := max(1, int64(float64(size)*scale)/BlockBytes)
		return Load{
			ID: id, Title: "One object of " + id[:len(id)-3] + " " + id[len(id)-3:],
			Objects: 1, ObjectBytes: chunks * BlockBytes, ObjectsAtOnce: 1, ChunkBytes: BlockBytes, ChunksAtOnce: 4,
		}
	}
	many := func(n int) int { return max(2, int(float64(n)*scale)) }
	medium, small := many(64), many(2000)
	return []Load{
		single("1GiB", 1<<30),
		single("4GiB", 4<<30),
		{
			ID: "64x16MiB", Title: fmt.Sprintf("%d objects of 16 MiB, all at once", medium),
			Objects: medium, ObjectBytes: 16 << 20, ObjectsAtOnce: medium, ChunkBytes: BlockBytes, ChunksAtOnce: 1,
		},
		{
			ID: "2000x64KiB", Title: fmt.Sprintf("%d objects of 64 KiB, %d at once", small, min(32, small)),
			Objects: small, ObjectBytes: 64 << 10, ObjectsAtOnce: min(32, small), ChunkBytes: 64 << 10, ChunksAtOnce: 1, Small: true,
		},
	}
}

// Source is the bytes that objects are made of: one random block, again and again.
type Source struct {
	block   []byte
	digests sync.Map // of extent -> [32]byte
}

type extent struct{ offset, length int64 }

// NewSource returns a source of random bytes.
func NewSource() *Source {
	var seed [32]byte
	copy(seed[:], "slipway benchmark")
	s := &Source{block: make([]byte, BlockBytes)}
	_, _ = rand.NewChaCha8(seed).Read(s.block) // it never fails
	return s
}

// Object is one object of a load.
type Object struct {
	Name  string
	Load  Load
	Bytes *Source
	shift int64
}

// Objects returns the objects of a load.
func (s *Source) Objects(l Load) []Object {
	objects := make([]Object, l.Objects)
	for i := range objects {
		objects[i] = Object{
			Name: fmt.Sprintf("object-%05d", i), Load: l, Bytes: s,
			// A chunk never goes over the end of the block.
			shift: int64(i) * l.ChunkBytes % BlockBytes,
		}
	}
	return objects
}

// Size is the object's size in bytes.
func (o Object) Size() int64 { return o.Load.ObjectBytes }

// Chunks is how many chunks it has.
func (o Object) Chunks() int { return int((o.Size() + o.Load.ChunkBytes - 1) / o.Load.ChunkBytes) }

// Extent is where a chunk lies.
func (o Object) Extent(chunk int) (offset, length int64) {
	offset = int64(chunk) * o.Load.ChunkBytes
	return offset, min(o.Load.ChunkBytes, o.Size()-offset)
}

// At returns bytes of the object from an offset on: at least one and at most
// limit of them, where the offset is within it.
func (o Object) At(offset, limit int64) []byte {
	from := (o.shift + offset) % BlockBytes
	return o.Bytes.block[from:min(from+limit, BlockBytes, from+o.Size()-offset)]
}

// Digest is the SHA-256 of a chunk. It is computed once for the same bytes.
func (o Object) Digest(chunk int) [32]byte {
	offset, length := o.Extent(chunk)
	key := extent{(o.shift + offset) % BlockBytes, length}
	if known, ok := o.Bytes.digests.Load(key); ok {
		if sum, ok := known.([32]byte); ok {
			return sum
		}
	}
	sum := sha256.Sum256(o.At(offset, length))
	o.Bytes.digests.Store(key, sum)
	return sum
}
