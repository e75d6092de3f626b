package file

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Identify looks at the staged data, which is what Publish gives a name.
func (s *Sink) Identify(ctx context.Context, id session.ID) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	identity, err := s.identify(id)
	return identity, failure("identify the object of session "+string(id), err)
}

func (s *Sink) identify(id session.ID) (string, error) {
	h, err := s.open(id)
	if err != nil {
		return "", err
	}
	defer s.handles.giveBack(h)
	if _, err := s.mark(h.data, id); err != nil { // one that an earlier version staged has none yet
		return "", err
	}
	info, err := h.data.Stat()
	if err != nil {
		return "", err
	}
	is, err := identityOf(h.data, info)
	return is.String(), err
}

// Withdraw looks at the file under the name and unlinks it in one step as far
// as the replicas that share the volume are concerned: what another session
// publishes there comes before, and stays, or after. Who changes the volume past
// them may come in between. The directories above stay.
func (s *Sink) Withdraw(ctx context.Context, name, identity string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := session.CheckName(name); err != nil {
		return false, err
	}
	if err := s.durable.failed(); err != nil {
		return false, err
	}
	removed, err := s.withdraw(ctx, name, identity)
	return removed, failure("withdraw object "+name, err)
}

func (s *Sink) withdraw(ctx context.Context, name, identity string) (bool, error) {
	in, base, err := s.parent(name, nil)
	if isNoParent(err) {
		return false, s.syncAbove(name)
	}
	if err != nil {
		return false, err
	}
	defer release(in)
	removed, err := s.unlinkObject(ctx, in, base, identity)
	if err != nil {
		return false, err
	}
	// Also where nothing was removed: an earlier call may have been cut short before it came to this.
	return removed, s.durable.names(in)
}

// syncAbove makes durable that there is no directory for a name: an object in
// it may have been removed by a call that was cut short.
func (s *Sink) syncAbove(name string) error {
	in, _, err := s.parent(name, func(dir *os.Root, _ string) error {
		return s.durable.names(dir)
	})
	if isNoParent(err) {
		return nil
	}
	if err == nil {
		release(in) // somebody made it just now
	}
	return err
}

// unlinkObject removes what is under the element where that has the identity.
func (s *Sink) unlinkObject(ctx context.Context, in *os.Root, base, identity string) (bool, error) {
	unlock, err := s.lockNames(ctx, unix.LOCK_EX)
	if err != nil {
		return false, err
	}
	f, removed, err := unlinkIfIs(in, base, identity)
	unlock()
	if f != nil {
		release(f) // which frees the bytes, and takes a while where they are many
	}
	return removed, err
}

func unlinkIfIs(in *os.Root, base, identity string) (*os.File, bool, error) {
	f, info, err := openRegular(in, base, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotRegular) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	is, err := identityOf(f, info)
	if err != nil || is.like(identity) != session.Same {
		return f, false, err
	}
	return f, true, removeFile(in, base)
}
