package powerfs

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Lie is a set of the syncs that say they are done and do nothing.
type Lie int

// The lies.
const (
	NoFdatasync Lie = 1 << iota
	NoFsync
	NoFsyncDir
	NoSyncfs
	NoSync = NoFdatasync | NoFsync | NoFsyncDir | NoSyncfs
)

// String names the syncs that are ignored.
func (l Lie) String() string {
	var names []string
	for _, one := range []struct {
		lie  Lie
		name string
	}{{NoFdatasync, "fdatasync"}, {NoFsync, "fsync of files"}, {NoFsyncDir, "fsync of directories"}, {NoSyncfs, "syncfs"}} {
		if l&one.lie != 0 {
			names = append(names, one.name)
		}
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// Options are what a filesystem is like.
type Options struct {
	// Seed decides what a cut keeps.
	Seed uint64
	// Order is what is sure about the changes of names that nothing has synced.
	Order Order
	// Lie is which syncs are ignored.
	Lie Lie
	// Capacity is the size of the volume in bytes that Statfs tells; 0 is 1 GiB. It is not enforced.
	Capacity int64
}

// Counts says what was asked of a filesystem since it was first mounted.
type Counts struct {
	Fdatasync, Fsync, FsyncDir, Syncfs int
	// Changes counts the operations that change anything, syncs among them.
	Changes int
	Cuts    int
}

// FS is a filesystem. Its methods may be called concurrently, but for Cut,
// Remount and Unmount.
type FS struct {
	dir        string
	options    Options
	faults     faults
	connection *connection // nil while it is not mounted

	mu     sync.Mutex
	volume *volume
	random *rand.Rand
	counts Counts
	// dead is closed when the power is cut; left is what is on the disk from then on. Who asks for
	// anything gets no answer until over is closed.
	dead     chan struct{}
	left     *volume
	over     chan struct{}
	cutAfter int // changes that are left before the power is cut; 0 for never
}

func newFS(dir string, o Options) *FS {
	if o.Capacity == 0 {
		o.Capacity = 1 << 30
	}
	return &FS{
		dir: dir, options: o, volume: newVolume(o.Order), random: rand.New(rand.NewPCG(o.Seed, 0)),
		dead: make(chan struct{}), over: make(chan struct{}),
	}
}

// Inject makes operations fail from now on. Faults outlive a cut.
func (f *FS) Inject(fault Fault) *Injected { return f.faults.add(fault) }

// Counts returns what was asked so far.
func (f *FS) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts
}

// CutAfter cuts the power after so many more changes, in the middle of whatever
// is going on, and closes what it returns. Nothing gets an answer any more until
// Cut, which has to follow: whoever waits for one can be killed meanwhile.
func (f *FS) CutAfter(changes int) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutAfter = max(changes, 1)
	return f.dead
}

// Fail is CutAfter, now.
func (f *FS) Fail() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.die()
}

// Dead reports whether the power is cut.
func (f *FS) Dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left != nil
}

// die cuts the power. The caller holds f.mu.
func (f *FS) die() {
	if f.left != nil {
		return
	}
	f.counts.Cuts++
	f.left = f.volume.cut(f.random)
	close(f.dead)
}

// revive has the disk found as the cut left it.
func (f *FS) revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.volume, f.left, f.cutAfter = f.left, nil, 0
	f.dead, f.over = make(chan struct{}), make(chan struct{})
}

// do carries out an operation on the inode, or on the name in it, unless a
// fault is in its way.
func (f *FS) do(op Op, id uint64, name string, do func(v *volume, n *inode) error) error {
	return f.doUnless(nil, op, id, name, do, func(*volume, *inode) {})
}

// doUnless is do, but for what waits in a fault when cancel is closed. failed is
// what the model makes of a fault.
func (f *FS) doUnless(cancel <-chan struct{}, op Op, id uint64, name string, do func(v *volume, n *inode) error, failed func(v *volume, n *inode)) error {
	f.mu.Lock()
	n, dead, over := f.volume.inodes[id], f.dead, f.over
	if f.left != nil {
		f.mu.Unlock()
		<-over
		return unix.EIO
	}
	if n == nil {
		f.mu.Unlock()
		return unix.ESTALE
	}
	where := n.path()
	if name != "" {
		where = n.child(name)
	}
	f.mu.Unlock()

	delay, failure := f.faults.of(op, where)
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-dead:
		case <-cancel:
			return unix.EINTR
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left != nil {
		f.mu.Unlock()
		<-over
		f.mu.Lock()
		return unix.EIO
	}
	if failure != nil {
		failed(f.volume, n)
		return failure
	}
	err := do(f.volume, n)
	if op.changes() && err == nil {
		f.counts.Changes++
		if f.cutAfter > 0 {
			f.cutAfter--
			if f.cutAfter == 0 {
				f.die()
			}
		}
	}
	return err
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

// sync carries out a sync of one kind, unless it is ignored. Who is killed while
// a fault makes it wait dies at once, and it is not done.
func (f *FS) sync(cancel <-chan struct{}, op Op, id uint64) error {
	kinds := map[Op]struct {
		lie    Lie
		count  *int
		do     func(v *volume, n *inode)
		failed func(v *volume, n *inode)
	}{
		Fdatasync: {NoFdatasync, &f.counts.Fdatasync, func(_ *volume, n *inode) { n.syncBytes() }, func(_ *volume, n *inode) { n.failSync() }},
		Fsync:     {NoFsync, &f.counts.Fsync, func(_ *volume, n *inode) { n.sync() }, func(_ *volume, n *inode) { n.failSync() }},
		FsyncDir:  {NoFsyncDir, &f.counts.FsyncDir, (*volume).syncNames, (*volume).failSyncNames},
		Syncfs:    {NoSyncfs, &f.counts.Syncfs, func(v *volume, _ *inode) { v.syncAll() }, func(v *volume, _ *inode) { v.failAll() }},
	}
	kind := kinds[op]
	return f.doUnless(cancel, op, id, "", func(v *volume, n *inode) error {
		*kind.count++
		if f.options.Lie&kind.lie == 0 {
			kind.do(v, n)
		}
		return nil
	}, kind.failed)
}
