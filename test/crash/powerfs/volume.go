package powerfs

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// rootID is the inode of the root directory.
const rootID = 1

// Order is what is sure about the changes of names that nothing has synced.
type Order int

const (
	// PerDirectory keeps the first so many of each directory. A rename between two directories
	// is seen in both or in none.
	PerDirectory Order = iota
	// Journal keeps the first so many of the whole volume, and a sync of one directory is a sync
	// of all: what ext4 and xfs do, and kinder.
	Journal
)

// volume is the model: what the system sees, and what the disk has for sure.
// One caller at a time.
type volume struct {
	order  Order
	inodes map[uint64]*inode
	lastID uint64
	lastOp int
}

// inode is a file or a directory.
type inode struct {
	id    uint64
	isDir bool
	links int
	// Where it was last given a name, for faults to be matched.
	parent *inode
	name   string

	attributes attributes
	sure       attributes
	// unsure holds what the attributes have been since they were made sure, the last as they
	// are; limbo what a sync failed to make sure of them.
	unsure, limbo []attributes

	content content

	names     map[string]*inode
	sureNames map[string]*inode
	pending   []*operation // that are not sure, in order
}

// attributes are what is known of a file besides its bytes and size.
type attributes struct {
	mode     uint32
	modified time.Time
	extended map[string]string // replaced, never changed
}

// operation is one atomic change of names.
type operation struct {
	number  int
	changes []change
}

// change is what an operation does to one name: nil where it takes it away.
type change struct {
	in   *inode
	name string
	is   *inode
}

func newVolume(order Order) *volume {
	v := &volume{order: order, inodes: map[uint64]*inode{}}
	root := v.newInode(unix.S_IFDIR|0o755, time.Unix(0, 0))
	root.links = 2
	return v
}

func (v *volume) root() *inode { return v.inodes[rootID] }

// newInode makes an inode without a name. It is as sure as its first name is.
func (v *volume) newInode(mode uint32, now time.Time) *inode {
	v.lastID++
	n := &inode{id: v.lastID, isDir: mode&unix.S_IFMT == unix.S_IFDIR, attributes: attributes{mode: mode, modified: now}}
	n.sure = n.attributes
	if n.isDir {
		n.names, n.sureNames = map[string]*inode{}, map[string]*inode{}
	} else {
		n.content = newContent()
	}
	v.inodes[n.id] = n
	return n
}

// commit makes the system see an operation, which is not sure yet.
func (v *volume) commit(now time.Time, changes ...change) {
	v.lastOp++
	op := &operation{number: v.lastOp, changes: changes}
	for _, c := range changes {
		if was := c.in.names[c.name]; was != nil {
			was.links--
			if was.isDir {
				c.in.links--
			}
		}
		delete(c.in.names, c.name)
		if c.is != nil {
			c.in.names[c.name] = c.is
			c.is.links++
			if c.is.isDir {
				c.in.links++
			}
			c.is.parent, c.is.name = c.in, c.name
		}
		c.in.change(func(a *attributes) { a.modified = now })
		if last := len(c.in.pending) - 1; last < 0 || c.in.pending[last] != op {
			c.in.pending = append(c.in.pending, op)
		}
	}
}

// make gives a new file or directory a name.
func (v *volume) make(in *inode, name string, mode uint32, now time.Time) (*inode, error) {
	if in.names[name] != nil {
		return nil, unix.EEXIST
	}
	n := v.newInode(mode, now)
	if n.isDir {
		n.links = 1 // its own "."
	}
	v.commit(now, change{in, name, n})
	return n, nil
}

// link gives a file another name.
func (v *volume) link(n, in *inode, name string, now time.Time) error {
	switch {
	case in.names[name] != nil:
		return unix.EEXIST
	case n.isDir:
		return unix.EPERM
	case n.links == 0:
		return unix.ENOENT
	}
	v.commit(now, change{in, name, n})
	return nil
}

// unlink takes a name from a file.
func (v *volume) unlink(in *inode, name string, now time.Time) error {
	switch n := in.names[name]; {
	case n == nil:
		return unix.ENOENT
	case n.isDir:
		return unix.EISDIR
	}
	v.commit(now, change{in, name, nil})
	return nil
}

// rmdir takes the name from an empty directory.
func (v *volume) rmdir(in *inode, name string, now time.Time) error {
	switch n := in.names[name]; {
	case n == nil:
		return unix.ENOENT
	case !n.isDir:
		return unix.ENOTDIR
	case len(n.names) > 0:
		return unix.ENOTEMPTY
	}
	v.commit(now, change{in, name, nil})
	return nil
}

// rename moves a name, over another unless that is forbidden, in one step.
func (v *volume) rename(from *inode, old string, to *inode, name string, mayReplace bool, now time.Time) error {
	n, there := from.names[old], to.names[name]
	switch {
	case n == nil:
		return unix.ENOENT
	case there == n:
		return nil // two names of one file: POSIX leaves both
	case there == nil:
	case !mayReplace:
		return unix.EEXIST
	case n.isDir && !there.isDir:
		return unix.ENOTDIR
	case !n.isDir && there.isDir:
		return unix.EISDIR
	case len(there.names) > 0:
		return unix.ENOTEMPTY
	}
	v.commit(now, change{from, old, nil}, change{to, name, n})
	return nil
}

// change changes the attributes, not surely.
func (n *inode) change(do func(*attributes)) {
	before := n.attributes
	do(&n.attributes)
	if last := len(n.unsure) - 1; last >= 0 && before.mode == n.attributes.mode && maps.Equal(before.extended, n.attributes.extended) {
		n.unsure[last] = n.attributes // a time alone
		return
	}
	n.unsure = append(n.unsure, n.attributes)
}

// setExtended sets an extended attribute, or removes it where value is nil.
func (n *inode) setExtended(name string, value *string) {
	n.change(func(a *attributes) {
		a.extended = maps.Clone(a.extended)
		if value == nil {
			delete(a.extended, name)
			return
		}
		if a.extended == nil {
			a.extended = map[string]string{}
		}
		a.extended[name] = *value
	})
}

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
func (n *inode) failSync() {
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
func (v *volume) failSyncNames(dir *inode) { v.forget(v.upTo(dir)) }

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
func (v *volume) failAll() {
	for _, n := range v.inodes {
		if !n.isDir {
			n.failSync()
		}
	}
	v.forget(v.pending())
}

// used is how many bytes the files have room for.
func (v *volume) used() int64 {
	var sum int64
	for _, n := range v.inodes {
		if n.links > 0 && !n.isDir {
			sum += n.content.size
		}
	}
	return sum
}

// path is where the inode was last given a name, from the root.
func (n *inode) path() string {
	switch {
	case n.parent == nil:
		return "."
	case n.parent.parent == nil:
		return n.name
	}
	return n.parent.path() + "/" + n.name
}

// child is the path of a name in a directory.
func (n *inode) child(name string) string {
	if n.parent == nil {
		return name
	}
	return n.path() + "/" + name
}
