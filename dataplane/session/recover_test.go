package session_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// halfReadable is a sink whose Recover yields a session and then fails.
type halfReadable struct {
	session.ByteSink
	failed session.ID
}

func (s halfReadable) Recover(context.Context) iter.Seq2[session.Recovered, error] {
	return func(yield func(session.Recovered, error) bool) {
		spec := session.Spec{Size: 10, ChunkSize: 10}
		_ = yield(session.Recovered{Record: session.Record{ID: "whole", Spec: spec}, Held: make([]bool, 1), HasBytes: true}, nil) &&
			yield(session.Recovered{Record: session.Record{ID: s.failed}}, errBroken)
	}
}

// A session that can't be read is its own affair; a volume that can't be read may hold any number of others.
func TestAVolumeThatCantBeReadIsToldApart(t *testing.T) {
	for id, ofVolume := range map[session.ID]bool{"": true, "damaged": false} {
		s := session.NewService(session.Config{Sink: halfReadable{failed: id}, Checksum: newHash})
		err := s.Recover(t.Context())
		expect(t, "what went wrong", err, errBroken)
		if got := errors.Is(err, session.ErrVolume); got != ofVolume {
			t.Errorf("an error of session %q is one of the volume: %v", id, got)
		}
		if _, err := s.Get("whole"); err != nil {
			t.Errorf("what could be read: %v", err)
		}
	}
}
