package upload

import (
	"fmt"

	"lukechampine.com/blake3/guts"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// tree is the sum by BLAKE3 of an object whose chunks are subtrees of its
// tree, so that they can be summed up in any order. It keeps 32 bytes a chunk.
type tree struct {
	values [][8]uint32
	known  []bool
	from   int // all chunks before it are known
	added  int
}

// isTree reports whether the chunks of a session are subtrees: their size is a
// power of two of leaves, and there are two at least, since the only one would be the root.
func isTree(spec session.Spec) bool {
	return spec.ChunkSize >= guts.ChunkSize && spec.ChunkSize&(spec.ChunkSize-1) == 0 && spec.Chunks() > 1
}

func newTree(spec session.Spec) *tree {
	return &tree{values: make([][8]uint32, spec.Chunks()), known: make([]bool, spec.Chunks())}
}

func (t *tree) strand(c session.Chunk) strand {
	if t.known[c.Index] {
		return nil
	}
	return newBlake3(c.Offset)
}

func (t *tree) add(c session.Chunk, whole strand) {
	t.values[c.Index] = whole.(*blake3).value() //nolint:errcheck // strand made it
	t.known[c.Index] = true
	t.added++
}

func (t *tree) count() int { return t.added }

func (t *tree) next(ready func(index int) bool) (int, bool) {
	for t.from < len(t.known) && t.known[t.from] {
		t.from++
	}
	for index := t.from; index < len(t.known); index++ {
		if !t.known[index] && ready(index) {
			return index, true
		}
	}
	return 0, false
}

// reach is nowhere: what arrives is summed up with its arrival, and only what
// was held before this process is read back, which nobody is to wait for.
func (*tree) reach(func(index int) bool) (done, could int64) { return 0, 0 }

func (t *tree) digest() (Digest, bool) {
	if t.added < len(t.values) {
		return "", false
	}
	var stack [][8]uint32
	last := len(t.values) - 1
	for index, value := range t.values[:last] {
		stack = pushTree(stack, uint64(index), value)
	}
	lowest := guts.ParentNode(stack[len(stack)-1], t.values[last], &guts.IV, 0)
	d, err := BLAKE3.Digest(root(nil, joinTrees(stack[:len(stack)-1], lowest)))
	if err != nil { // it is a sum
		panic(fmt.Sprintf("digest of a tree: %v", err))
	}
	return d, true
}
