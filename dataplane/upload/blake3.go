package upload

import (
	"encoding/binary"
	"hash"
	"math/bits"

	"lukechampine.com/blake3/guts"
)

// group is how many bytes BLAKE3 is computed of at once: what the widest
// vectors hold. A leaf of its tree is guts.ChunkSize (1 KiB) long.
const group = guts.MaxSIMD * guts.ChunkSize

// blake3 is the BLAKE3 of a run of bytes in an object: of the whole, as a
// hash.Hash, or of a subtree. A subtree begins at a multiple of its full
// length, which is a power of two and at least a leaf; only the last of an
// object may be shorter.
type blake3 struct {
	leaf   uint64      // where the run begins in the object, in leaves
	groups uint64      // in the stack: one tree for each bit that is set
	stack  [][8]uint32 // chaining values of whole trees, the largest first
	last   [group]byte // is not in the stack before more is known to follow, because it may hold the root
	n      int         // bytes in last
}

func newBlake3(offset int64) *blake3 { return &blake3{leaf: uint64(offset) / guts.ChunkSize} }

// Write never fails.
func (b *blake3) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		if b.n == group {
			b.push(&b.last)
			b.n = 0
		}
		for b.n == 0 && len(p) > group {
			b.push((*[group]byte)(p))
			p = p[group:]
		}
		n := copy(b.last[b.n:], p)
		b.n += n
		p = p[n:]
	}
	return written, nil
}

// push adds a group to the stack, and joins the trees that are as large as each other.
func (b *blake3) push(p *[group]byte) {
	value := guts.ChainingValue(guts.CompressBuffer(p, group, &guts.IV, b.leaf+b.groups*guts.MaxSIMD, 0))
	b.stack = pushTree(b.stack, b.groups, value)
	b.groups++
}

// pushTree adds the value of a tree to a stack that holds so many of its size.
func pushTree(stack [][8]uint32, held uint64, value [8]uint32) [][8]uint32 {
	for range bits.TrailingZeros64(^held) {
		top := len(stack) - 1
		value = guts.ChainingValue(guts.ParentNode(stack[top], value, &guts.IV, 0))
		stack = stack[:top]
	}
	return append(stack, value)
}

// joinTrees returns the node on top of a stack and of what follows it.
func joinTrees(stack [][8]uint32, last guts.Node) guts.Node {
	for top := len(stack) - 1; top >= 0; top-- {
		last = guts.ParentNode(stack[top], guts.ChainingValue(last), &guts.IV, 0)
	}
	return last
}

// node is the node on top of the run.
func (b *blake3) node() guts.Node {
	last := b.last // so that summing up twice is possible at once
	return joinTrees(b.stack, guts.CompressBuffer(&last, b.n, &guts.IV, b.leaf+b.groups*guts.MaxSIMD, 0))
}

// value is the chaining value of the run as a subtree. It is not empty.
func (b *blake3) value() [8]uint32 { return guts.ChainingValue(b.node()) }

// root appends the sum of the object that has this node on top.
func root(to []byte, n guts.Node) []byte {
	n.Flags |= guts.FlagRoot
	words := guts.CompressNode(n)
	for _, word := range words[:sumSize/4] {
		to = binary.LittleEndian.AppendUint32(to, word)
	}
	return to
}

// Sum appends the sum of the whole object, of which this is the run.
func (b *blake3) Sum(to []byte) []byte { return root(to, b.node()) }

// Clone never fails.
func (b *blake3) Clone() (hash.Cloner, error) {
	clone := *b
	clone.stack = append([][8]uint32(nil), b.stack...)
	return &clone, nil
}

// Reset makes the run empty.
func (b *blake3) Reset() { *b = blake3{leaf: b.leaf} }

// Size is 32 bytes.
func (*blake3) Size() int { return sumSize }

// BlockSize is 64 bytes.
func (*blake3) BlockSize() int { return guts.BlockSize }
