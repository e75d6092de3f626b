// Package uploadstore reconciles UploadStores: it tells from the Leases of the
// dataplane's replicas whether a store is Ready, where it is and what its
// volume holds, and from the sessions how much of it is reserved.
//
// A reconcile gathers all reads into an observation (observe.go), decides
// purely (plan.go) and then writes (apply.go). Only observe.go reads, only
// apply.go writes, and plan.go sees neither a client nor a clock.
package uploadstore
