package chunkapi

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/slipway-dev/slipway/dataplane/fair"
)

// WaitersPerChunk is how many chunk requests may wait for their turn for each
// one that may be served, in all and of one session.
//
// A request that waits costs a goroutine and its connection's buffers, some tens of KiB, which is
// little beside the block of the one that is served; and who comes later than that would hardly
// get its turn within the wait.
const WaitersPerChunk = 16

// maxRetryAfter bounds in seconds what clients are told to wait because of those who wait before them.
const maxRetryAfter = 10

// Why a chunk does not wait for its turn any longer.
var (
	errStopping = errors.New("the server is stopping")
	errLate     = errors.New("waited for long enough")
)

// DefaultShare is how many of so many chunks one session may send at once: three quarters,
// so that a slot is left for a newcomer, who then need not wait for the chunks of one greedy
// session to end.
func DefaultShare(chunks int) int { return max(1, chunks-max(1, chunks/4)) }

func boundsOf(c Config) bounds {
	all := cmp.Or(c.MaxConcurrentChunks, DefaultMaxConcurrentChunks)
	own := min(all, cmp.Or(c.MaxConcurrentChunksPerSession, DefaultShare(all)))
	return bounds{
		slots: all, slotsPerSession: own,
		waiters: all * WaitersPerChunk, waitersPerSession: own * WaitersPerChunk,
	}
}

// awaitTurn waits until it is the turn of a chunk of the session; who gets the
// turn must leave it. Meanwhile no byte of the body is read and no buffer
// taken: what the client sends stays in the kernel, which slows it down, and
// one that asked for 100 Continue sends nothing.
//
// Nor does net/http look at the connection before that. So of a client that
// went away one learns when its turn comes, which then ends with its first
// read, or when it has waited for long enough.
func (a *api) awaitTurn(ctx context.Context, chunk chunkID) (*turn, error) {
	turn, crowd := a.turns.join(chunk.session)
	if crowd != nil {
		return nil, refuseCrowd(crowd, "")
	}
	why := a.untilSettled(ctx, turn, chunk)
	// The slot may have come at the last moment.
	crowd = a.turns.lookUp(turn)
	if crowd == nil && ctx.Err() == nil {
		return turn, nil
	}
	a.turns.leave(turn)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(why, errStopping):
		return nil, &refusal{kind: kindOf(errStopping)}
	case errors.Is(why, errLate):
		return nil, refuseCrowd(crowd, "; this one waited "+a.chunkWait.String())
	}
	return nil, refuseCrowd(crowd, "")
}

// untilSettled returns why there was no longer wait, or nil. A request for the
// same chunk that hangs is ended meanwhile.
func (a *api) untilSettled(ctx context.Context, turn *turn, chunk chunkID) error {
	select {
	case <-turn.settled:
		return nil
	default:
	}
	timeout, hung, crowded := time.NewTimer(a.chunkWait), time.NewTimer(0), time.NewTicker(fair.Every)
	defer timeout.Stop()
	defer hung.Stop()
	defer crowded.Stop()
	for {
		select {
		case <-turn.settled:
			return nil
		case <-hung.C:
			hung.Reset(a.receiving.takeOver(chunk, a.takeOverAfter))
		case <-crowded.C:
			a.senders.GiveWay(string(chunk.session), a.turns.wanted(turn))
		case <-timeout.C:
			return errLate
		case <-ctx.Done():
			return ctx.Err()
		case <-a.stopping:
			return errStopping
		}
	}
}

// refuseCrowd sends a chunk away for a second, and one more for each time that
// all slots have to be given before those who wait have had theirs.
func refuseCrowd(c *crowdError, late string) error {
	code := CodeBusy
	if c.own {
		code = CodeTooManyChunks
	}
	no := refuse(code, "%s%s", c, late)
	no.kind.retryAfter = min(maxRetryAfter, no.kind.retryAfter+c.waiting/max(1, c.taken))
	return no
}
