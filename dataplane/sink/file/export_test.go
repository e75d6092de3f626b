package file

import "github.com/slipway-dev/slipway/dataplane/session"

// Abandon releases the lock and nothing else, as the death of the process would.
func (s *Sink) Abandon() error { return s.lock.Close() }

// Break makes the sink remember that a sync of the session failed.
func (s *Sink) Break(id session.ID, err error) { _ = s.fail(id, err) }

// DecodeRecord and EncodeRecord are the codec of stored records.
var (
	DecodeRecord = decodeRecord
	EncodeRecord = encodeRecord
)
