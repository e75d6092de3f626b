package file

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// aloneAtMost is how many syncs may run at once, each of what it concerns, before they may be grouped, as choice has
// it: one syncfs then serves all who wait. A single large file would wait for the bytes of all others; many small ones
// gain more than that.
const aloneAtMost = 4

// syncer makes things durable, each for itself or many at once. Its methods
// may be called concurrently.
//
// A sync of the whole filesystem that failed does not tell whose bytes or names are lost: a neighbour's, perhaps. After
// one the whole is synced no more, since that tells nobody of what was lost before: everybody syncs for themselves.
//
// A file is its session's alone, which remembers that a sync of it failed. A directory is shared, and the kernel tells
// of a loss in it once, to whoever opens it later: where a sync of one fails every method returns an error until the
// volume is opened anew.
type syncer struct {
	volume *os.File // its root; nil where a sync of the whole filesystem may be an empty promise
	lock   *os.File // any file on the volume

	crowd   crowd
	whole   rounds
	syncfs  func() error   // of the whole filesystem
	doubt   atomic.Bool    // a sync of the whole failed
	turns   [64]sync.Mutex // of a directory, by its inode
	failure atomic.Pointer[error]
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
	s.crowd.opened = time.Now()
	s.whole.await = s.crowd.await
	return s, nil
}

func (s *syncer) close() error {
	if s.volume == nil {
		return nil
	}
	return s.volume.Close()
}

// do makes durable what the caller wrote to files and directories of its own: by own, which makes just that durable,
// or by a sync of the whole filesystem that others share. Where that fails own tells whether the caller's is among
// what is lost; where it is not worth waiting for, own is all. own must not call do.
func (s *syncer) do(own func() error) error {
	if err := s.failed(); err != nil {
		return err
	}
	if s.volume == nil {
		return own()
	}
	shared := s.crowd.arrive() && s.whole.join(s.syncWhole) == nil
	defer s.crowd.leave(!shared)
	if shared {
		return nil
	}
	return own()
}

// names makes durable the names in a directory that the caller may share with others.
func (s *syncer) names(dir *os.Root) error {
	return s.do(func() error { return s.ownNames(dir) })
}

// ownNames is what names does for the caller alone. It must be called within do.
func (s *syncer) ownNames(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer release(f)
	var is unix.Stat_t
	if err := onDescriptor(f, func(fd int) error { return unix.Fstat(fd, &is) }); err != nil {
		return err
	}
	turn := &s.turns[is.Ino%uint64(len(s.turns))]
	turn.Lock()
	defer turn.Unlock()
	if err := s.failed(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return s.fail(err)
	}
	return nil
}

// errDoubt means that a sync of the whole filesystem tells nothing any more.
var errDoubt = errors.New("an earlier sync of the whole filesystem failed")

// syncWhole makes durable all that is on the filesystem, for so many who wait. After one that failed there is none:
// also those who wait for the next one may have lost what the last one did not write.
func (s *syncer) syncWhole(served int) error {
	if s.doubt.Load() {
		return errDoubt
	}
	if !s.crowd.begin(served) {
		return errSlow
	}
	defer s.crowd.end()
	s.syncs.Add(1)
	err := s.syncfs()
	if err != nil {
		s.doubt.Store(true)
	}
	return cmp.Or(err, s.failed())
}

func (s *syncer) syncFilesystem() error {
	if err := onDescriptor(s.volume, unix.Syncfs); err != nil {
		return &fs.PathError{Op: "syncfs", Path: s.volume.Name(), Err: err}
	}
	// ext4 without a journal has the disk empty its cache before it writes the last inodes.
	return syncBytes(s.lock)
}

// fail has the volume failed by a sync that failed, and returns its error.
func (s *syncer) fail(err error) error {
	s.failure.CompareAndSwap(nil, &err)
	return err
}

// failed returns why nothing is promised any more: something of the volume was lost, and it can't be told how much.
func (s *syncer) failed() error {
	if failure := s.failure.Load(); failure != nil {
		return fmt.Errorf("an earlier sync of the volume failed, nothing can be trusted until it is opened anew: %w", *failure)
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
