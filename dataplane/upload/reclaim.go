package upload

import (
	"context"
	"fmt"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Reclaim removes the object that an upload published from under its key,
// durably, where its grant wants that. What was put there since, by another
// upload or by anybody else, stays. Whoever calls knows that the control plane
// has given the session up. Reclaiming what is gone already, or was never
// published, does nothing. session.ErrNotFound, session.ErrInvalid where the
// upload has not ended.
func (s *Service) Reclaim(ctx context.Context, id session.ID) error {
	// An upload whose end is not durable would be published again after a crash.
	if err := s.core.Settle(ctx, id); err != nil {
		return err
	}
	st, err := s.statusByID(id)
	if err != nil {
		return err
	}
	return s.reclaim(ctx, st)
}

// reclaim is Reclaim of an upload that has ended and is settled.
func (s *Service) reclaim(ctx context.Context, st Status) error {
	if !st.Grant.Reclaim || st.Result.Reason != Published {
		return nil
	}
	identity, err := s.identify(ctx, st)
	if err != nil {
		return fmt.Errorf("reclaim the object of session %s: %w", st.Meta.ID, err)
	}
	removed, err := s.publisher.Withdraw(ctx, st.Grant.Key, identity)
	if err != nil {
		return fmt.Errorf("reclaim the object of session %s: %w", st.Meta.ID, err)
	}
	if removed {
		s.log.Info("object reclaimed", "session", st.Grant.Name.String(), "uid", st.Meta.ID, "key", st.Grant.Key)
		s.changed(st.Grant.Name) // the volume has more room
	}
	return nil
}
