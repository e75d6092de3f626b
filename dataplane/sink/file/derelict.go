package file

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/slipway-dev/slipway/dataplane/session"
)

var _ session.Derelicts = (*Sink)(nil)

// SweepDerelicts goes through the areas of the other replicas that no process
// has open. It reads them without their locks first: a replica is kept from
// starting only while something of it is removed, and waits for that.
func (s *Sink) SweepDerelicts(ctx context.Context, orphan func(context.Context, session.Derelict) (bool, error)) error {
	names, err := namesIn(s.reserved)
	if err != nil {
		return failure("list the replicas on the volume", err)
	}
	var errs []error
	for _, name := range names {
		replica, ok := replicaOf(name)
		if !ok || replica == s.replica {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.sweepArea(ctx, replica, orphan); err != nil && !errors.Is(err, ErrLocked) {
			errs = append(errs, failure("sweep what replica "+replica+" left", err))
		}
	}
	return errors.Join(errs...)
}

// sweepArea sweeps what one other replica left. ErrLocked where a process has it open.
func (s *Sink) sweepArea(ctx context.Context, replica string, orphan func(context.Context, session.Derelict) (bool, error)) error {
	area, err := enter(s.reserved, areaName(replica))
	if err != nil {
		return err
	}
	defer release(area)
	if err := s.whileDerelict(area, func() error { return nil }); err != nil {
		return err
	}
	names, err := namesIn(area)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		isOrphan := func() (bool, error) {
			if isLeftover(name) {
				return true, nil
			}
			return orphaned(ctx, area, replica, name, orphan)
		}
		yes, err := isOrphan()
		if yes && err == nil {
			err = s.whileDerelict(area, func() error {
				// The replica may have started, and ended, since.
				if yes, err := isOrphan(); !yes || err != nil {
					return err
				}
				return s.removeFrom(area, name)
			})
		}
		if errors.Is(err, ErrLocked) {
			return err // it has started
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// whileDerelict does something while no process can have an area open.
// ErrLocked where one has.
func (s *Sink) whileDerelict(area *os.Root, do func() error) error {
	letGo, err := acquireToSweep(area, sweepNote+processNote(s.replica))
	if err != nil {
		return err
	}
	return errors.Join(do(), letGo())
}

// orphaned asks about one name in an area. What can't be read is left to whoever looks into it.
func orphaned(ctx context.Context, area *os.Root, replica, name string, orphan func(context.Context, session.Derelict) (bool, error)) (bool, error) {
	id, err := session.ParseID(name)
	if err != nil {
		return false, nil
	}
	dir, err := enter(area, name)
	if err != nil {
		return false, err
	}
	defer release(dir)
	record, err := readRecord(dir, id)
	if err != nil {
		return false, err
	}
	return orphan(ctx, session.Derelict{Record: record, Replica: replica})
}

// removeFrom removes a session, or what is left of one, from an area whose lock is held.
func (s *Sink) removeFrom(area *os.Root, name string) error {
	if !isLeftover(name) {
		gone := name + goneSuffix
		if err := area.RemoveAll(gone); err != nil {
			return err
		}
		if err := rename(area, name, gone); err != nil {
			return err
		}
		if err := s.durable.names(area); err != nil {
			return err
		}
		name = gone
	}
	return area.RemoveAll(name)
}
