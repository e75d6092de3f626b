package powerfs

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// syncBytes is fdatasync.
func (n *inode) syncBytes() { n.content.sync() }

// sync is fsync of a file.
func (n *inode) sync() {
	n.content.sync()
	n.syncAttributes()
}

func (n *inode) syncAttributes() {
	if len(n.unsure) == 0 {
		return // what is in limbo stays there
	}
	n.sure, n.unsure, n.limbo = n.attributes, nil, nil
}

// failSync is a sync of a file that fails: what it was about is not tried again.
func (n *inode) failSync(why unix.Errno) {
	if len(n.unsure) > 0 || n.content.isUnsure() {
		n.lost.set(why)
	}
	n.content.failSync()
	n.limbo = append(n.limbo, n.unsure...)
	n.unsure = nil
}

// syncNames is fsync of a directory.
func (v *volume) syncNames(dir *inode) {
	v.apply(v.upTo(dir))
	dir.syncAttributes()
}

// failSyncNames is fsync of a directory that fails: its changes are not tried again.
func (v *volume) failSyncNames(dir *inode, why unix.Errno) { v.lose(v.upTo(dir), why) }

// upTo returns what a sync of a directory must make sure: its pending
// operations, and whatever comes before one of them in another directory.
func (v *volume) upTo(dir *inode) []*operation {
	if v.order == Journal {
		return v.pending()
	}
	chosen := map[*operation]bool{}
	var choose func(dir *inode, last int)
	choose = func(dir *inode, last int) {
		for _, op := range dir.pending {
			if op.number > last {
				return
			}
			if chosen[op] {
				continue
			}
			chosen[op] = true
			for _, c := range op.changes {
				choose(c.in, op.number)
			}
		}
	}
	choose(dir, math.MaxInt)
	return inOrder(chosen)
}

// pending returns every operation that is not sure.
func (v *volume) pending() []*operation {
	all := map[*operation]bool{}
	for _, n := range v.inodes {
		for _, op := range n.pending {
			all[op] = true
		}
	}
	return inOrder(all)
}

func inOrder(ops map[*operation]bool) []*operation {
	return slices.SortedFunc(maps.Keys(ops), func(a, b *operation) int { return cmp.Compare(a.number, b.number) })
}

// apply makes operations sure.
func (v *volume) apply(ops []*operation) {
	for _, op := range ops {
		for _, c := range op.changes {
			delete(c.in.sureNames, c.name)
			if c.is != nil {
				c.in.sureNames[c.name] = c.is
			}
		}
	}
	v.forget(ops)
}

// lose makes sure that operations never become sure.
func (v *volume) lose(ops []*operation, why unix.Errno) {
	for _, op := range ops {
		for _, c := range op.changes {
			c.in.lost.set(why)
		}
	}
	v.forget(ops)
}

func (v *volume) forget(ops []*operation) {
	gone, in := map[*operation]bool{}, map[*inode]bool{}
	for _, op := range ops {
		gone[op] = true
		for _, c := range op.changes {
			in[c.in] = true
		}
	}
	for dir := range in {
		dir.pending = slices.DeleteFunc(dir.pending, func(op *operation) bool { return gone[op] })
	}
}

// syncAll is syncfs.
func (v *volume) syncAll() {
	for _, n := range v.inodes {
		if n.isDir {
			n.syncAttributes()
		} else {
			n.sync()
		}
	}
	v.apply(v.pending())
}

// failAll is syncfs that fails.
func (v *volume) failAll(why unix.Errno) {
	for _, n := range v.inodes {
		if !n.isDir {
			n.failSync(why)
		}
	}
	v.lose(v.pending(), why)
}

// failWriteback has the bytes of every file that are not sure never be sure as they are. It reports how many
// files had any.
func (v *volume) failWriteback(why unix.Errno) (files int) {
	for _, n := range v.inodes {
		if n.isDir || len(n.content.unsure) == 0 {
			continue
		}
		n.lost.set(why)
		n.content.failPages()
		files++
	}
	return files
}
