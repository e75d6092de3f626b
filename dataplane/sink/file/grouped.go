package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// aloneAtMost is how many syncs may run at once, each of what it concerns, before
// they are grouped: one syncfs then serves all who wait. A single large file
// would wait for the bytes of all others; many small ones gain more than that.
const aloneAtMost = 4

// syncer makes things durable, each for itself or many at once. Its methods
// may be called concurrently.
//
// A sync of the whole filesystem that failed does not tell whose bytes or names are lost: a neighbour's, perhaps. From
// then on the volume is in doubt: everybody syncs for themselves, since a sync of the whole tells nobody any more of
// what was lost before. Where a sync of one's own has failed, before that or after, something of the volume is lost:
// every method returns an error until the volume is opened anew.
type syncer struct {
	volume *os.File // its root; nil where a sync of the whole filesystem may be an empty promise
	lock   *os.File // any file on the volume

	running atomic.Int64
	whole   rounds
	syncfs  func() error // of the whole filesystem
	lost    atomic.Bool  // a sync of one's own failed
	doubt   atomic.Bool  // a sync of the whole failed
	alone   sync.RWMutex // held by who syncs for themselves; in doubt for writing
	failure atomic.Pointer[syncError]
	syncs   atomic.Int64 // of the whole filesystem that were begun
}

// newSyncer returns the syncer of a volume. lock is any file on it that stays open; trusted
// says that the whole filesystem can be synced, whatever it is.
func newSyncer(volume *os.Root, lock *os.File, trusted bool) (*syncer, error) {
	root, err := volume.Open(".")
	if err != nil {
		return nil, err
	}
	whole, err := syncsWhole(root)
	if err != nil || !whole && !trusted {
		return &syncer{lock: lock}, errors.Join(err, root.Close())
	}
	s := &syncer{volume: root, lock: lock}
	s.syncfs = s.syncFilesystem
	return s, nil
}

func (s *syncer) close() error {
	if s.volume == nil {
		return nil
	}
	return s.volume.Close()
}

// do makes durable what the caller wrote: by own, which makes just that
// durable, or by a sync of the whole filesystem that others share. Where that fails own tells whether the caller's is
// among what is lost. own must not call do.
func (s *syncer) do(own func() error) error {
	if err := s.failed(); err != nil {
		return err
	}
	running := s.running.Add(1)
	defer s.running.Add(-1)
	if s.volume == nil {
		return own()
	}
	if running > aloneAtMost && !s.doubt.Load() && s.whole.join(s.syncWhole) == nil {
		return nil
	}
	return s.byOwn(own)
}

// byOwn makes durable what own does. The kernel tells of a loss in what several share, such as a directory, only once
// to those that open it later. So in doubt they go one after the other, behind all that began before, and nobody
// takes for durable what somebody else heard is lost.
func (s *syncer) byOwn(own func() error) error {
	if s.doubt.Load() {
		s.alone.Lock()
		defer s.alone.Unlock()
		if err := s.failed(); err != nil {
			return err
		}
	} else {
		s.alone.RLock()
		defer s.alone.RUnlock()
	}
	err := own()
	if err != nil {
		s.lost.Store(true)
		if s.doubt.Load() {
			s.failure.CompareAndSwap(nil, &syncError{err})
		}
	}
	return err
}

// syncWhole makes durable all that is on the filesystem. Where it fails the volume is in doubt, or failed.
func (s *syncer) syncWhole() error {
	if err := s.failed(); err != nil {
		return err
	}
	s.syncs.Add(1)
	err := s.syncfs()
	if err == nil {
		return nil
	}
	failure := &syncError{&fs.PathError{Op: "syncfs", Path: s.volume.Name(), Err: err}}
	s.doubt.Store(true) // before the look at lost: whoever stores that looks at this then
	if s.lost.Load() {
		s.failure.CompareAndSwap(nil, failure)
	}
	return failure
}

func (s *syncer) syncFilesystem() error {
	if err := onDescriptor(s.volume, unix.Syncfs); err != nil {
		return err
	}
	// ext4 without a journal has the disk empty its cache before it writes the last inodes.
	return syncBytes(s.lock)
}

// failed returns why nothing is promised any more: something of the volume was lost, and it can't be told how much.
func (s *syncer) failed() error {
	if failure := s.failure.Load(); failure != nil {
		return fmt.Errorf("an earlier sync of the volume failed, nothing can be trusted until it is opened anew: %w", failure)
	}
	return nil
}

// syncsWhole reports whether syncfs on the filesystem of an open directory is known to make all of it durable,
// or to fail. That can't be tried: FUSE calls it a success where the server knows nothing of it, and network
// filesystems do as they like. Of the kernel's own it holds since the release that tells of lost writes.
func syncsWhole(dir *os.File) (bool, error) {
	var (
		kind   unix.Statfs_t
		kernel unix.Utsname
	)
	err := onDescriptor(dir, func(fd int) error { return errors.Join(unix.Fstatfs(fd, &kind), unix.Uname(&kernel)) })
	if err != nil {
		return false, err
	}
	known := kind.Type == unix.EXT4_SUPER_MAGIC || kind.Type == unix.XFS_SUPER_MAGIC
	return known && tellsOfLostWrites(unix.ByteSliceToString(kernel.Release[:])), nil
}

// tellsOfLostWrites reports whether syncfs of the kernel with this release fails where a write was lost: since
// Linux 5.8 (735e4ae5ba28). A release that can't be read is of no such kernel.
func tellsOfLostWrites(release string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 8
}
