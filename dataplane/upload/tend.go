package upload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// TendInterval is how often Run tends to the uploads.
const TendInterval = time.Second

// Run tends to the uploads until the context is done.
func (s *Service) Run(ctx context.Context) {
	for {
		if err := s.Tend(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("tending to uploads failed in part, will try again", "error", err)
		}
		select {
		case <-s.clock.After(TendInterval):
		case <-ctx.Done():
			return
		}
	}
}

// Tend ends what has run into a timeout, settles what ended while the volume
// failed, and tries again to complete what could not be completed. Doing it
// again does nothing.
func (s *Service) Tend(ctx context.Context) error {
	expired, err := s.core.Expire(ctx, session.Everyone, expiry)
	errs := []error{err}
	for _, m := range expired {
		s.ended(m)
	}
	for m := range s.core.All(session.Everyone) {
		switch {
		case m.State.Ended() && !m.Settled:
			if err := s.core.Settle(ctx, m.ID); err != nil {
				errs = append(errs, err)
				continue
			}
			if st, err := s.statusByID(m.ID); err == nil {
				s.changed(st.Grant.Name)
			}
		case s.mayRetry(m.ID):
			s.completeIfDue(m.ID)
		}
	}
	return errors.Join(errs...)
}

// mayRetry reports whether completion has not failed just now.
func (s *Service) mayRetry(id session.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.clock.Now().Before(s.retries[id])
}

// expiry says how an upload ends that ran into a timeout.
func expiry(m session.Meta, cause session.Cause) []byte {
	if cause == session.Deadline {
		return Result{Reason: DeadlineExceeded, Message: fmt.Sprintf(
			"the upload was not complete by its deadline %s; create another session with a longer activeDeadlineSeconds",
			m.Spec.Deadline.UTC().Format(time.RFC3339))}.encode()
	}
	return Result{Reason: IdleTimeout, Message: fmt.Sprintf(
		"no byte arrived for %s; create another session, or one with a longer idleTimeoutSeconds",
		m.Spec.IdleTimeout)}.encode()
}
