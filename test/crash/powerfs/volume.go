package powerfs

import (
	"maps"
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

	lost lostError
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
