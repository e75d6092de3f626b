package powerfs

import (
	"math/rand/v2"
	"sync"

	"golang.org/x/sys/unix"
)

// Options are what a filesystem is like.
type Options struct {
	// Seed decides what a cut keeps.
	Seed uint64
	// Order is what is sure about the changes of names that nothing has synced.
	Order Order
	// Capacity is the size of the volume in bytes that Statfs tells; 0 is 1 GiB. It is not enforced.
	Capacity int64
}

// Counts says what was asked of a filesystem since it was first mounted.
type Counts struct {
	// Syncs of each kind that were carried out, or said to be.
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

// Inject puts a fault to work. Faults outlive a cut.
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

// FailWriteback is what a disk does that fails while the system writes out its page cache of itself: all bytes
// that nothing has synced go on being seen and are not on the disk, and no sync tries them again. Who
// has such a file open, or opens it next, hears of it once. It reports how many files lost bytes. Names
// and attributes are as they were: a filesystem with a journal ends where it can't write those.
func (f *FS) FailWriteback() (files int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left != nil {
		return 0
	}
	return f.volume.failWriteback(unix.EIO)
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
