package rig

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const (
	// patience is how long something may take that happens by itself. It is more than the
	// longest pause between two attempts of the dataplane's, and the machine's cores are shared.
	patience = time.Minute
	// pollInterval is how often it is looked for.
	pollInterval = 20 * time.Millisecond
	// checkers is how many sessions are checked at once.
	checkers = 4
)

// Check checks every promise against a dataplane that has just been started:
// what was acknowledged is held with its bytes, and what is held was sent. An
// error is the first violation.
func (l *Load) Check(ctx context.Context) error {
	l.forEach(l.Oracle.Sessions(), func(s *Session) { l.checkSession(ctx, s) })
	l.checkReclaimed()
	return errors.Join(l.Oracle.Err(), ctx.Err())
}

func (l *Load) forEach(sessions []*Session, do func(*Session)) {
	queue := make(chan *Session, len(sessions))
	for _, s := range sessions {
		queue <- s
	}
	close(queue)
	var running sync.WaitGroup
	defer running.Wait()
	for range checkers {
		running.Go(func() {
			for s := range queue {
				do(s)
			}
		})
	}
}

// recheck is how rarely a chunk is sent again that was found held after an
// earlier restart.
const recheck = 6

func (l *Load) checkSession(ctx context.Context, s *Session) {
	promises := s.Promises()
	st, reply := l.Dataplane.Status(ctx, s)
	if reply.Err != nil {
		if l.Tolerates == nil || !l.Tolerates(reply) {
			l.Oracle.Violate(s, "no status after a restart: %s %v", reply, reply.Err)
		}
		return
	}
	s.CheckStatus(promises, st, ByStatus)
	s.note("after a restart: %s, %d of %d chunks", st.State, st.ReceivedChunks, st.TotalChunks)
	if st.Result != nil && st.Result.Reason != upload.Published {
		return
	}
	missing := s.missing(st)
	for index := range missing {
		if missing[index] || !s.due(index) {
			continue
		}
		l.checkHeld(ctx, s, index)
	}
}

// checkHeld sends a chunk again that is held: it is the one that was acknowledged, or
// where none was, one that was sent, and no other.
func (l *Load) checkHeld(ctx context.Context, s *Session, index int) {
	variant, acked := s.AckedVariant(index)
	reply := l.Send(ctx, s, index, variant, false)
	if !acked && s.Contested && reply.Code == chunkapi.CodeChunkConflict {
		reply = l.Send(ctx, s, index, 1, false)
	}
	switch {
	case reply.Status == http.StatusCreated:
		l.Oracle.Violate(s, "chunk %d was shown as held, and is stored anew", index)
	case reply.Code == chunkapi.CodeChunkConflict:
		l.Oracle.Violate(s, "chunk %d is held with bytes that were never sent to be held", index)
	case acked && reply.OK():
		l.SendOther(ctx, s, index)
	}
}

// due reports whether a chunk that is held is to be sent again now.
func (s *Session) due(index int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.chunks[index]
	if !c.hasAcked {
		return true
	}
	first := !c.checked
	c.checked = true
	return first || time.Now().UnixNano()/1000%recheck == 0
}

// await asks again and again until it is so, there is an error, or it has
// taken too long.
func (l *Load) await(ctx context.Context, what string, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ok, err := is(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, ctx.Err())
		}
	}
}
