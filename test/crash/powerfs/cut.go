package powerfs

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
)

// mood is how much of what is not sure a cut tends to keep of one file. Disks
// lose things together, and chance alone would seldom lose or keep all.
type mood int

const (
	losing mood = iota
	keeping
	mixed
	moods
)

// cut returns the volume that is found when the power is back.
func (v *volume) cut(random *rand.Rand) *volume {
	v.apply(v.surviving(random))
	left := &volume{order: v.order, inodes: map[uint64]*inode{}, lastID: v.lastID}
	left.keep(v.root(), random)
	return left
}

// surviving chooses which changes of names survive.
func (v *volume) surviving(random *rand.Rand) []*operation {
	all := v.pending()
	if v.order == Journal {
		return all[:mood(random.IntN(int(moods))).length(random, len(all))]
	}
	// The first that is lost, of each directory.
	lost := map[*inode]int{}
	for _, id := range sorted(v.inodes) {
		n := v.inodes[id]
		if kept := mood(random.IntN(int(moods))).length(random, len(n.pending)); kept < len(n.pending) {
			lost[n] = n.pending[kept].number
		}
	}
	// An operation on two directories that is lost in one is lost in the other, with all after it.
	for settled := false; !settled; {
		settled = true
		for _, op := range all {
			if op.survives(lost) {
				continue
			}
			for _, c := range op.changes {
				if first, ok := lost[c.in]; !ok || first > op.number {
					lost[c.in], settled = op.number, false
				}
			}
		}
	}
	return slices.DeleteFunc(all, func(op *operation) bool { return !op.survives(lost) })
}

func (op *operation) survives(lost map[*inode]int) bool {
	return !slices.ContainsFunc(op.changes, func(c change) bool {
		first, ok := lost[c.in]
		return ok && first <= op.number
	})
}

// keep takes over what survives of an inode of another volume and of all below it.
func (v *volume) keep(n *inode, random *rand.Rand) *inode {
	if known := v.inodes[n.id]; known != nil {
		known.links++ // another name of the same file
		return known
	}
	m := mood(random.IntN(int(moods)))
	kept := &inode{id: n.id, isDir: n.isDir, links: 1}
	kept.sure = n.sure
	if open := append(slices.Clone(n.limbo), n.unsure...); len(open) > 0 {
		kept.sure = m.attributes(random, n.sure, open)
	}
	kept.attributes = kept.sure
	v.inodes[n.id] = kept
	if !n.isDir {
		kept.content = n.content.survive(m, random)
		return kept
	}
	kept.links = 2
	kept.names, kept.sureNames = map[string]*inode{}, map[string]*inode{}
	for _, name := range sorted(n.sureNames) {
		below := v.keep(n.sureNames[name], random)
		below.parent, below.name = kept, name
		kept.names[name], kept.sureNames[name] = below, below
		if below.isDir {
			kept.links++
		}
	}
	return kept
}

// length is how many of n things in a row survive.
func (m mood) length(random *rand.Rand, n int) int {
	switch m {
	case losing:
		return 0
	case keeping:
		return n
	}
	return random.IntN(n + 1)
}

// pick is one of the states that something had.
func (m mood) pick(random *rand.Rand, sure int64, open []int64) int64 {
	if kept := m.length(random, len(open)); kept > 0 {
		return open[kept-1]
	}
	return sure
}

func (m mood) attributes(random *rand.Rand, sure attributes, open []attributes) attributes {
	if kept := m.length(random, len(open)); kept > 0 {
		return open[kept-1]
	}
	return sure
}

// page is what the disk has of a page: any of the states that it had, or a mix of two.
func (m mood) page(random *rand.Rand, sure page, open []page) page {
	if m == losing {
		return sure
	}
	newest := open[len(open)-1]
	if m == keeping {
		return newest
	}
	older, newer := sure, open[random.IntN(len(open))]
	if random.IntN(2) == 0 {
		older = open[random.IntN(len(open))]
	}
	switch random.IntN(4) {
	case 0:
		return sure
	case 1:
		return newest
	case 2:
		end := random.IntN(pageSize + 1)
		return tear(older, newer, func(offset int) bool { return offset < end })
	}
	sectors := random.Uint64()
	return tear(older, newer, func(offset int) bool { return sectors>>(offset/sectorSize)&1 == 1 })
}

// tear mixes two states of a page.
func tear(older, newer page, isNewer func(offset int) bool) page {
	torn := make(page, pageSize)
	copy(torn, older)
	for offset := range torn {
		if isNewer(offset) {
			torn[offset] = 0
			if newer != nil {
				torn[offset] = newer[offset]
			}
		}
	}
	return torn
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
