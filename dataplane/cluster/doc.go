// Package cluster is the adapter between UploadSessions and the uploads of one
// dataplane replica: sessions come in by a watch (and by a live look-up, once,
// before a client hears that there is no such session), progress and results
// go out by server-side apply, a Lease says that the replica is alive, and a
// sweep removes what belongs to no session any more.
//
// The volume is the truth and the UploadSession is its shadow: nothing here is
// needed for a byte to be taken, kept or published, and what the API server
// misses while it is away it is told later, once. Everything is level-triggered:
// doing it again does nothing.
//
// This is the only room of the dataplane that speaks Kubernetes. What may not
// enter: HTTP of clients, files, and any decision about who may upload; that is
// the operator's, and comes here as status.admission.
package cluster
