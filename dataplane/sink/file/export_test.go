package file

import (
	"context"
	"errors"
	"os"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Abandon releases the locks and nothing else, as the death of the process would.
func (s *Sink) Abandon() error { return errors.Join(s.lock.Close(), s.fence.Close()) }

// Break makes the sink remember that a sync of the session failed.
func (s *Sink) Break(id session.ID, err error) { _ = s.fail(id, err) }

// SyncPublished syncs data as that of an object that was just given its name at the root of the volume.
func (s *Sink) SyncPublished(id session.ID, data *os.File) error {
	return s.syncPublished(id, data, s.root)
}

// Doubt makes the sink remember that a sync of the session's record failed.
func (s *Sink) Doubt(id session.ID) { s.unsure.Store(id, nil) }

// SyncWholeBy has a function sync the whole filesystem.
func (s *Sink) SyncWholeBy(syncfs func() error) { s.durable.syncfs = syncfs }

// KeepNoMarks makes the sink behave as on a filesystem without extended attributes.
func (s *Sink) KeepNoMarks() { s.unmarked = true }

// Crowd makes the sink believe that many syncs are always running.
func (s *Sink) Crowd() {
	s.durable.crowd.mu.Lock()
	defer s.durable.crowd.mu.Unlock()
	s.durable.crowd.running += 2 * aloneAtMost
}

// Do makes something durable as the sink does.
func (s *Sink) Do(own func() error) error { return s.durable.do(own) }

// AloneAtMost is how many syncs run at once before they are grouped.
const AloneAtMost = aloneAtMost

// WholeSyncs is how often the whole filesystem was synced.
func (s *Sink) WholeSyncs() int64 { return s.durable.syncs.Load() }

// MaxIdleHandles is how many sessions are kept open that nobody uses.
func (*Sink) MaxIdleHandles() int { return maxIdleHandles }

// Rounds lets tests share syncs.
type Rounds struct{ rounds }

// Join is rounds.join.
func (r *Rounds) Join(makeDurable func() error) error {
	return r.join(func(int) error { return makeDurable() })
}

// AwaitBy has a function wait for the sync that runs.
func (r *Rounds) AwaitBy(await func(running <-chan struct{}) error) { r.await = await }

// SyncsWhole tells whether syncfs can be relied on.
func SyncsWhole(dir *os.File) (bool, error) { return syncsWhole(dir) }

// LinkBetween is linkBetween.
func LinkBetween(from *os.Root, old string, to *os.Root, name string) error {
	return linkBetween(from, old, to, name)
}

// TellsOfLostWrites tells whether syncfs of a kernel fails where a write was lost.
func TellsOfLostWrites(release string) bool { return tellsOfLostWrites(release) }

// DecodeRecord and EncodeRecord are the codec of stored records.
var (
	DecodeRecord = decodeRecord
	EncodeRecord = encodeRecord
)

// ListWithin is List that keeps, opens and reads no more than it is let.
func (s *Sink) ListWithin(ctx context.Context, q session.ListQuery, names, looks, reads int) (session.Listing, error) {
	return s.listWithin(ctx, q, listBounds{names: names, looks: looks, reads: reads})
}
