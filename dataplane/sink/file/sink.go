package file

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// What is below the root of a volume. A name in a replica's area that has no
// dot is a session's; all others are the sink's own, and no ID has a dot.
const (
	stagingName = session.ReservedElement

	areaSuffix = ".replica" // of the directory in which a replica stages
	lockName   = ".lock"
	sweepName  = ".sweep" // the lock on that lock, of those who take it to sweep
	namesName  = ".names" // the lock on public names, of all replicas
	probeName  = ".probe"
	newSuffix  = ".new"  // a session that Create has not finished
	goneSuffix = ".gone" // a session that Remove has not finished

	dataName   = "data"
	ledgerName = "ledger"
	recordName = "record"
	spareName  = "record.new" // a record on its way to replace one that is too short for it
	tickName   = "tick"       // tells the time of the volume where data has no mark
	objectName = "object"     // a second link to data, on its way to replace an object
)

// What the sink makes is its own until it is published.
const (
	stagingMode   = 0o700
	stagedMode    = 0o600
	directoryMode = 0o755 // of parents of published names; the umask applies
	objectMode    = 0o644 // of published objects, whatever the umask
)

var (
	_ session.ByteSink  = (*Sink)(nil)
	_ session.Publisher = (*Sink)(nil)
)

// Sink keeps sessions on one volume. It is a session.ByteSink and a
// session.Publisher, and keeps their promises about durability, concurrency and
// errors. No goroutine outlives a call. The descriptors that do are the lock's,
// those of the directories, and those of at most 128 sessions that were used last.
//
// When the kernel once could not bring a session's bytes or ledger to stable
// storage, Commit and Publish fail for that session until it is removed or the
// volume is opened anew: the kernel may have dropped the bytes and calls the
// next sync a success. When it once could not bring a directory to stable storage
// that sessions share, everything fails that makes anything durable: see Failed.
type Sink struct {
	replica  string
	root     *os.Root // the volume
	reserved *os.Root // its staging directory, which all replicas share
	fence    *os.File // the lock on that, which keeps out who knows of one replica only
	staging  *os.Root // the replica's own directory in it
	lock     *os.File // the lock on that; both are held while the files are open

	handles handles
	durable *syncer
	// unmarked is whether data gets no mark, as on a filesystem that keeps none.
	unmarked bool
	guards   guards
	broken   sync.Map // session.ID -> the error of the sync that failed
	unsure   sync.Map // session.ID of those whose record's sync failed
}

// Options say which part of a volume a Sink has.
type Options struct {
	// Replica is whose sessions these are. Of all that share the volume, each has a name of its
	// own, and the same one whenever it starts; what can name a session can name a replica.
	Replica string
	// Adopt takes over sessions that a version left which knew of one replica only. Of the
	// replicas that share a volume one does: the one whose name that replica had.
	Adopt bool
	// TrustSyncfs says that syncfs on the volume's filesystem makes all of it durable or fails, which holds of ext4 and
	// XFS since Linux 5.8 and is known of no other. Many syncs at the same time may then be one.
	TrustSyncfs bool
}

// Open opens the volume whose root is an existing directory, as one of the
// replicas that share it, for this process alone until Close or the process's
// end, and verifies that it can keep the promises: that files and directories can
// be made and synced, and that links and renames do what they should.
//
// ErrLocked where another Sink is that replica, in this process or another;
// session.ErrUnsupported with the reason where the volume can't keep the promises, and
// then nothing is left on it. A full volume can be opened, or it could never be
// freed; one so full that not even the replica's own directory can be made is
// session.ErrNoSpace.
func Open(root string, o Options) (*Sink, error) {
	if err := checkReplica(o.Replica); err != nil {
		return nil, err
	}
	s, err := open(root, o)
	if err != nil {
		return nil, fmt.Errorf("open volume %s as replica %s: %w", root, o.Replica, err)
	}
	return s, nil
}

func open(root string, o Options) (_ *Sink, err error) {
	volume, err := os.OpenRoot(root)
	if err != nil {
		return nil, refusal("the directory can't be opened", err)
	}
	s := &Sink{replica: o.Replica, root: volume}
	made, err := makeDirectory(volume, stagingName, stagingMode)
	defer func() {
		if err != nil && made {
			s.unmake()
		}
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err != nil {
		return nil, refusal("the staging directory can't be made", err)
	}
	if err := s.openArea(); err != nil {
		return nil, err
	}
	if err := probe(volume, s.staging); err != nil {
		return nil, err
	}
	if s.durable, err = newSyncer(volume, s.lock, o.TrustSyncfs); err != nil {
		return nil, refusal("its filesystem can't be told", err)
	}
	if o.Adopt {
		if err := s.adopt(); err != nil {
			return nil, failure("take over the sessions of an earlier version", err)
		}
	}
	return s, nil
}

// Close lets go of the volume. No other method may be running or be called
// afterwards. It makes nothing durable: whatever is to be durable is already.
func (s *Sink) Close() error {
	errs := []error{s.handles.closeIdle()}
	if s.durable != nil {
		errs = append(errs, s.durable.close())
	}
	for _, d := range []*os.Root{s.staging, s.reserved, s.root} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	for _, f := range []*os.File{s.lock, s.fence} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Failed returns why nothing can be made durable any more until the volume is
// opened anew, by a process that starts: nil as long as the volume is well. It
// may be called at any time, and waits for nothing.
func (s *Sink) Failed() error {
	return s.durable.failed()
}

// Space tells how much room the filesystem of the volume has. Free is what an
// unprivileged process can still reserve.
func (s *Sink) Space(ctx context.Context) (session.Space, error) {
	if err := ctx.Err(); err != nil {
		return session.Space{}, err
	}
	space, err := space(s.root)
	return space, failure("space on the volume", err)
}

func space(volume *os.Root) (session.Space, error) {
	dir, err := volume.Open(".")
	if err != nil {
		return session.Space{}, err
	}
	defer release(dir)
	var st unix.Statfs_t
	if err := onDescriptor(dir, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return session.Space{}, err
	}
	unit := uint64(max(st.Frsize, 1))
	return session.Space{Total: bytesOf(st.Blocks, unit), Free: bytesOf(st.Bavail, unit)}, nil
}

// bytesOf is blocks times unit; network filesystems tell of more than an int64 holds.
func bytesOf(blocks, unit uint64) int64 {
	if blocks > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return int64(blocks * unit)
}

// directory returns the directory of a session, also of one whose data was
// freed; done gives it back. ErrNotFound where there is none.
func (s *Sink) directory(id session.ID) (dir *os.Root, done func(), err error) {
	if h := s.handles.use(id); h != nil {
		return h.dir, func() { s.handles.giveBack(h) }, nil
	}
	dir, err = s.session(id)
	return dir, func() { release(dir) }, err
}

// session opens the directory of a session. ErrNotFound where there is none.
func (s *Sink) session(id session.ID) (*os.Root, error) {
	if _, err := session.ParseID(string(id)); err != nil {
		return nil, err
	}
	return enter(s.staging, string(id))
}

// fail remembers that bytes of a session may be lost and returns what says so.
func (s *Sink) fail(id session.ID, err error) error {
	s.broken.LoadOrStore(id, err)
	return err
}

// failed returns the error of a sync of the session's bytes that failed before.
func (s *Sink) failed(id session.ID) error {
	kept, _ := s.broken.Load(id)
	err, ok := kept.(error)
	if !ok {
		return nil
	}
	return fmt.Errorf("an earlier sync failed, what is staged can't be trusted until the volume is opened anew: %w", err)
}
