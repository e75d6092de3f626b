package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Several replicas share a volume. Each has an area of its own below the
// staging directory, with its own lock, and touches no other's while that one
// is held. What they share is the staging directory's own lock, which keeps out
// versions that knew of one replica only, and the lock on names.

// areaName is where a replica keeps what it stages. It has a dot, so that it is no session's.
func areaName(replica string) string { return replica + areaSuffix }

// replicaOf returns whose area a name is; false where it is none.
func replicaOf(name string) (string, bool) {
	replica, cut := strings.CutSuffix(name, areaSuffix)
	return replica, cut && checkReplica(replica) == nil
}

// checkReplica returns nil for a name that a replica can have: what can name a session can.
func checkReplica(replica string) error {
	if _, err := session.ParseID(replica); err != nil {
		return fmt.Errorf("%w: replica %q must have 1 to 64 characters of a-z, 0-9 and '-', and not begin with '-'", session.ErrInvalid, replica)
	}
	return nil
}

// openArea opens the staging directory and the replica's own area in it, and takes the locks.
func (s *Sink) openArea() error {
	var err error
	if s.reserved, err = enter(s.root, stagingName); err != nil {
		return refusal("the staging directory can't be opened", err)
	}
	if s.fence, err = acquire(s.reserved, unix.LOCK_SH, processNote(s.replica)); err != nil {
		return err
	}
	if _, err := makeDirectory(s.reserved, areaName(s.replica), stagingMode); err != nil {
		return refusal("the replica's own directory can't be made", err)
	}
	if s.staging, err = enter(s.reserved, areaName(s.replica)); err != nil {
		return refusal("the replica's own directory can't be opened", err)
	}
	if s.lock, err = acquirePatiently(s.staging, processNote(s.replica)); err != nil {
		return err
	}
	if err := s.makeNames(); err != nil && !isFull(err) {
		return refusal("the lock on names can't be made", err)
	}
	return nil
}

// unmake takes back, as far as it can, what Open made on a volume that it then
// refused. Nothing is taken from another replica: a directory that has
// anything in it stays, and so does a lock that somebody else holds.
func (s *Sink) unmake() {
	if s.lock != nil {
		_ = s.staging.Remove(lockName)
	}
	if s.staging != nil {
		_ = s.reserved.Remove(areaName(s.replica))
	}
	if s.fence != nil && onDescriptor(s.fence, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }) == nil {
		_ = s.reserved.Remove(lockName)
		_ = s.reserved.Remove(namesName)
	}
	_ = s.root.Remove(stagingName)
}

// adopt takes over what a version left that kept the sessions of its one
// replica in the staging directory itself. Its process is gone, or this one
// would not have the fence, and can't come back while this one lives. Each
// session is moved in one step, and whoever is cut short goes on where it was.
func (s *Sink) adopt() error {
	names, err := namesIn(s.reserved)
	if err != nil {
		return err
	}
	moved := false
	for _, name := range names {
		if name == probeName || isLeftover(name) {
			if err := s.reserved.RemoveAll(name); err != nil {
				return err
			}
			continue
		}
		if _, err := session.ParseID(name); err != nil {
			continue
		}
		switch _, err := s.staging.Lstat(name); {
		case err == nil:
			continue // both versions have it: Recover tells
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		// Another replica may be at it too, and have been faster.
		if err := renameBetween(s.reserved, name, s.staging, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		moved = true
	}
	if !moved {
		return nil
	}
	// In this order: a session whose old name is gone for good has its new one.
	return errors.Join(syncDirectory(s.staging), syncDirectory(s.reserved))
}

// twice lists the sessions that the former layout has as well as this one,
// which no upgrade leaves.
func (s *Sink) twice() ([]string, error) {
	names, err := namesIn(s.reserved)
	return slices.DeleteFunc(names, func(name string) bool {
		if _, err := session.ParseID(name); err != nil {
			return true
		}
		_, err := s.staging.Lstat(name)
		return err != nil
	}), err
}

// namesIn lists a directory in order.
func namesIn(dir *os.Root) ([]string, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer release(d)
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
