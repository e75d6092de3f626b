// Package uploadstore reconciles UploadStores: it tells from the Leases of the
// dataplane's replicas whether a store is Ready, where it is and what its
// volume holds, and from the sessions how much of it is reserved. Of a Managed
// store it also keeps the objects that it consists of, which package managed
// describes: how many replicas run, what is amiss, and when the store may go.
//
// A reconcile gathers all reads into an observation (observe*.go), decides
// purely (plan*.go, readiness_run.go, trouble.go) and then writes (apply*.go).
// Only the first read, only the last write, and those between see neither a
// client nor a clock.
package uploadstore
