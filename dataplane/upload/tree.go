package upload

import (
	"fmt"
	"math/bits"

	"lukechampine.com/blake3/guts"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// tree is the sum by BLAKE3 of an object whose chunks are subtrees of its
// tree, so that they can be summed up in any order. Subtrees whose siblings are known are joined, so that
// it keeps few values where chunks come nearly in order. Beyond mostApart of them only the chunk after
// those which are known without a gap is taken, and the others are read back when it is their turn.
type tree struct {
	chunks int
	values map[subtree][8]uint32
	known  []uint64 // one bit a chunk
	from   int      // all chunks before it are known
	added  int
}

// mostApart is about how many values a tree keeps at most: 32 bytes each, and as much again to find it.
// Half of the chunks can be apart, so a session of up to twice as many is never read back.
const mostApart = 512

// subtree is a run of chunks: 2^level of them, the first of which is a multiple of that.
type subtree struct{ level, first int }

// sibling is what the subtree is joined with.
func (s subtree) sibling() subtree { return subtree{s.level, s.first ^ 1<<s.level} }

// parent is what the two are then.
func (s subtree) parent() subtree { return subtree{s.level + 1, s.first &^ (1 << s.level)} }

// isTree reports whether the chunks of a session are subtrees: their size is a
// power of two of leaves, and there are two at least, since the only one would be the root.
func isTree(spec session.Spec) bool {
	return spec.ChunkSize >= guts.ChunkSize && spec.ChunkSize&(spec.ChunkSize-1) == 0 && spec.Chunks() > 1
}

func newTree(spec session.Spec) *tree {
	chunks := spec.Chunks()
	return &tree{chunks: chunks, values: map[subtree][8]uint32{}, known: make([]uint64, (chunks+63)/64)}
}

func (t *tree) knows(index int) bool { return t.known[index/64]&(1<<(index%64)) != 0 }

// takes reports whether there is room for the value of a chunk.
func (t *tree) takes(index int) bool {
	return !t.knows(index) && (index == t.first() || len(t.values) < mostApart)
}

// first is the first chunk that is not known.
func (t *tree) first() int {
	for t.from < t.chunks && t.knows(t.from) {
		t.from++
	}
	return t.from
}

func (t *tree) strand(c session.Chunk) strand {
	if !t.takes(c.Index) {
		return nil
	}
	return newBlake3(c.Offset)
}

func (t *tree) add(c session.Chunk, whole strand) {
	t.known[c.Index/64] |= 1 << (c.Index % 64)
	t.added++
	at, value := subtree{0, c.Index}, whole.(*blake3).value() //nolint:errcheck // strand made it
	for {
		other, known := t.values[at.sibling()]
		if !known || 1<<(at.level+1) >= t.chunks { // the root is not the value of a subtree
			break
		}
		delete(t.values, at.sibling())
		if at.first > at.parent().first {
			value, other = other, value
		}
		at, value = at.parent(), guts.ChainingValue(guts.ParentNode(value, other, &guts.IV, 0))
	}
	t.values[at] = value
}

func (t *tree) count() int { return t.added }

func (t *tree) next(ready func(index int) bool) (int, bool) {
	for index := t.first(); index < t.chunks; index++ {
		if !t.takes(index) && !t.knows(index) {
			break // nor is there room for any after it
		}
		if !t.knows(index) && ready(index) {
			return index, true
		}
	}
	return 0, false
}

// reach is nowhere: what arrives is summed up with its arrival, and what is read back, because it was
// held before this process or its chunks came too far apart, nobody is to wait for.
func (*tree) reach(func(index int) bool) (done, could int64) { return 0, 0 }

func (t *tree) digest() (Digest, bool) {
	if t.added < t.chunks {
		return "", false
	}
	var row [][8]uint32 // of what could not be joined, which is two subtrees at least, from the left
	for first := 0; first < t.chunks; {
		level := bits.Len(uint(t.chunks)) //nolint:gosec // there are at most session.MaxChunks
		for ; ; level-- {
			if value, known := t.values[subtree{level, first}]; known {
				row = append(row, value)
				break
			}
		}
		first += 1 << level
	}
	last := len(row) - 1
	lowest := guts.ParentNode(row[last-1], row[last], &guts.IV, 0)
	d, err := BLAKE3.Digest(root(nil, joinTrees(row[:last-1], lowest)))
	if err != nil { // it is a sum
		panic(fmt.Sprintf("digest of a tree: %v", err))
	}
	return d, true
}
