// Package uploadsession reconciles UploadSessions: it admits a session when
// there is room, shows how it stands, records how it ended, keeps a deleted
// one until its staged bytes are freed, and deletes a finished one in time.
//
// The operator never ends a session that it has admitted while the replica may
// be alive: only the replica knows whether a chunk is in flight or the object
// is published already. It waits for the result that the dataplane writes.
//
// A reconcile gathers all reads into an observation (observe.go), decides
// purely (standing.go says how the session stands, plan.go what to write) and
// then writes (apply.go). Only observe.go reads, only apply.go writes, and a
// plan sees neither a client nor a clock.
package uploadsession
