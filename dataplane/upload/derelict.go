package upload

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Derelict is an upload that a replica left on the volume which nobody runs.
type Derelict struct {
	// Replica is whose it is.
	Replica string
	Status
}

// SweepDerelicts removes the uploads of replicas that nobody runs for which
// orphan returns true, and their objects where their grants want that (see
// Reclaim): the caller knows that the control plane has given them up. It
// tells of each that was removed. Where replicas don't share the volume there are none.
func (s *Service) SweepDerelicts(ctx context.Context, orphan func(context.Context, Derelict) (bool, error)) error {
	if s.derelicts == nil {
		return nil
	}
	return s.derelicts.SweepDerelicts(ctx, func(ctx context.Context, d session.Derelict) (bool, error) {
		left, err := derelictOf(d)
		if err != nil {
			return false, err
		}
		if yes, err := orphan(ctx, left); !yes || err != nil {
			return false, err
		}
		if left.Result != nil {
			if err := s.reclaim(ctx, left.Status); err != nil {
				return false, err
			}
			s.dropVerdict(left.Meta.ID)
		}
		return true, nil
	})
}

// derelictOf reads what the volume has of an upload.
func derelictOf(d session.Derelict) (Derelict, error) {
	m := session.Meta{ID: d.ID, Spec: d.Spec, State: d.State, Created: d.Created, Outcome: d.Outcome}
	var t terms
	if err := json.Unmarshal(m.Spec.Payload, &t); err != nil {
		return Derelict{}, fmt.Errorf("payload of session %s: %w", m.ID, err)
	}
	st, err := statusWith(t.grant(m), m)
	return Derelict{Replica: d.Replica, Status: st}, err
}
