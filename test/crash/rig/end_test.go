package rig

import (
	"testing"
	"testing/fstest"

	"github.com/slipway-dev/slipway/dataplane/upload"
)

// A session that is deleted before anybody was told of its end may have been published, and its
// rival finds its object. Bytes that are of neither are a violation all the same.
func TestKeysOfSessionsThatWereDeletedUntold(t *testing.T) {
	for name, test := range map[string]struct {
		object     func(deleted, rival *Session) []byte
		violations int
	}{
		"its object":       {func(deleted, _ *Session) []byte { return deleted.Object() }, 0},
		"no object":        {func(deleted, _ *Session) []byte { return deleted.Object()[1:] }, 1},
		"what was refused": {func(_, rival *Session) []byte { return rival.Object() }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			oracle := NewUncountedOracle(1)
			deleted := &Session{Name: "deleted", Key: "k", Size: 10, ChunkSize: 10}
			rival := &Session{Name: "rival", Key: "k", Size: 10, ChunkSize: 10}
			oracle.Add(deleted)
			oracle.Add(rival)
			for _, s := range []*Session{deleted, rival} {
				s.Sending(0, s.Content(0, 0))
			}
			oracle.retire(deleted)
			rival.Ended(upload.KeyExists, "", ByStatus)
			files := fstest.MapFS{"k": {Data: test.object(deleted, rival)}}
			(&Load{Oracle: oracle, Dataplane: &Dataplane{Files: files}}).checkKeys()
			if oracle.violations != test.violations {
				t.Errorf("%d violations, want %d: %v", oracle.violations, test.violations, oracle.Err())
			}
		})
	}
}
