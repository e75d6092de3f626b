package session_test

import (
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// A clock that is set, forward or back, ends no session and holds up no end.
func TestAStepOfTheClockIsNoTimeThatPasses(t *testing.T) {
	for _, step := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			r := newRig(t)
			deadline := r.clock.Now().Add(time.Hour)
			r.begin("idle", session.Spec{Size: 40, ChunkSize: 10, IdleTimeout: time.Hour})
			r.begin("deadline", session.Spec{Size: 40, ChunkSize: 10, Deadline: deadline})
			r.mustPut("idle", 0, content(0, 10))

			r.clock.Step(step)
			r.expectExpired("after the step")
			for _, id := range []session.ID{"idle", "deadline"} {
				r.mustPut(id, 1, content(1, 10))
			}
			if err := r.SetTimeouts(r.ctx, "deadline", 0, deadline); err != nil { // as it is
				t.Fatal(err)
			}
			if m := r.get("idle"); !m.LastActivity.Equal(r.clock.Now()) {
				t.Errorf("the last activity is shown as of %s, not of %s", m.LastActivity, r.clock.Now())
			}
			r.clock.Advance(time.Hour - 1)
			r.expectExpired("too early")
			r.clock.Advance(1)
			r.expectExpired("in time", "deadline Deadline", "idle Idle")
			if m := r.get("idle"); !m.Ended.Equal(r.clock.Now()) {
				t.Errorf("the end is shown as of %s, not of %s", m.Ended, r.clock.Now())
			}
		})
	}
}

// What a restart counts from is what the volume says, by the clock as it is then.
func TestADeadlineIsTakenByTheClockAtARestart(t *testing.T) {
	r := newRig(t)
	r.begin("a", session.Spec{Size: 40, ChunkSize: 10, Deadline: r.clock.Now().Add(time.Hour)})
	r.clock.Step(2 * time.Hour)
	r.expectExpired("before the restart")
	r.crash()
	r.expectExpired("after it", "a Deadline")
}

func TestARetryTakesOverInTimeWhateverTheClockIsSetTo(t *testing.T) {
	for _, step := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			r, body, first := stalled(t)
			r.clock.Step(step)
			retry := r.putting("a", incoming(0, content(2, chunkLength)))
			r.clock.awaitAfters(t, 1)
			select {
			case <-body.cut:
				t.Error("the first was interrupted by the step")
			default:
			}
			r.clock.Advance(takeOverAfter)
			expect(t, "the first", receive(t, "its end", first).err, session.ErrSuperseded)
			if got := receive(t, "the retry", retry); got.err != nil || !got.added {
				t.Errorf("the retry: %+v", got)
			}
		})
	}
}
