package powerfs

import (
	"time"

	"golang.org/x/sys/unix"
)

// call is one operation that was asked for.
type call struct {
	op   Op
	id   uint64 // of the inode
	name string // in it; empty where the inode itself is meant
	// do carries it out.
	do func(v *volume, n *inode) error
	// failed is what the model makes of a fault; nil for nothing.
	failed func(v *volume, n *inode, why unix.Errno)
	// ignored replaces do where it is ignored.
	ignored func()
	// cancel, once closed, ends the wait in a fault; nil for never.
	cancel <-chan struct{}
}

// do carries out an operation on the inode, or on the name in it, unless a
// fault is in its way.
func (f *FS) do(op Op, id uint64, name string, do func(v *volume, n *inode) error) error {
	return f.carryOut(call{op: op, id: id, name: name, do: do})
}

func (f *FS) carryOut(c call) error {
	where, dead, err := f.find(c)
	if err != nil {
		return err
	}
	e := f.faults.of(c.op, where)
	if e.delay > 0 {
		select {
		case <-time.After(e.delay):
		case <-dead:
		case <-c.cancel:
			return unix.EINTR
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.volume.inodes[c.id]
	switch {
	case f.left != nil:
		return f.hang()
	case e.failure != 0:
		if c.failed != nil {
			c.failed(f.volume, n, e.failure)
		}
		return e.failure
	case e.ignored && c.ignored != nil:
		c.ignored()
		f.changed()
		return nil
	}
	err = c.do(f.volume, n)
	if e.repeat && err == nil {
		f.changed()
		err = c.do(f.volume, n)
	}
	if c.op.changes() && err == nil {
		f.changed()
	}
	return err
}

// find returns the path that a call is about.
func (f *FS) find(c call) (where string, dead <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.volume.inodes[c.id]
	switch {
	case f.left != nil:
		return "", nil, f.hang()
	case n == nil:
		return "", nil, unix.ESTALE
	case c.name != "":
		return n.child(c.name), f.dead, nil
	}
	return n.path(), f.dead, nil
}

// hang waits until nobody waits any more for the answer of a disk that has no
// power. The caller holds f.mu, as it does on return.
func (f *FS) hang() error {
	over := f.over
	f.mu.Unlock()
	<-over
	f.mu.Lock()
	return unix.EIO
}

// changed counts a change, and cuts the power where it is time for that.
func (f *FS) changed() {
	f.counts.Changes++
	if f.cutAfter > 0 {
		f.cutAfter--
		if f.cutAfter == 0 {
			f.die()
		}
	}
}

// changes reports whether the operation changes what is seen or what is sure.
func (o Op) changes() bool {
	switch o {
	case Lookup, Getattr, Open, Read, Opendir, Readdir, Getxattr, Statfs:
		return false
	default:
		return true
	}
}

// sync carries out a sync of one kind, for a descriptor that has heard of the
// failures up to since; nil for syncfs, of which nobody tells whose it is. Who is killed
// while a fault makes it wait dies at once, and it is not done.
func (f *FS) sync(cancel <-chan struct{}, op Op, id uint64, since *int) error {
	kinds := map[Op]struct {
		count  *int
		do     func(v *volume, n *inode)
		failed func(v *volume, n *inode, why unix.Errno)
	}{
		Fdatasync: {&f.counts.Fdatasync, func(_ *volume, n *inode) { n.syncBytes() }, func(_ *volume, n *inode, why unix.Errno) { n.failSync(why) }},
		Fsync:     {&f.counts.Fsync, func(_ *volume, n *inode) { n.sync() }, func(_ *volume, n *inode, why unix.Errno) { n.failSync(why) }},
		FsyncDir:  {&f.counts.FsyncDir, (*volume).syncNames, (*volume).failSyncNames},
		Syncfs:    {&f.counts.Syncfs, func(v *volume, _ *inode) { v.syncAll() }, func(v *volume, _ *inode, why unix.Errno) { v.failAll(why) }},
	}
	kind := kinds[op]
	return f.carryOut(call{
		op: op, id: id, cancel: cancel,
		do: func(v *volume, n *inode) error {
			*kind.count++
			kind.do(v, n)
			if since == nil {
				return nil
			}
			return n.lost.check(since)
		},
		ignored: func() { *kind.count++ },
		failed: func(v *volume, n *inode, why unix.Errno) {
			kind.failed(v, n, why)
			if since != nil {
				_ = n.lost.check(since) // it hears of it right now
			}
		},
	})
}
