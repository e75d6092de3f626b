// Package uploadquota reconciles UploadQuotas: it shows how much of a quota is
// taken. That is counted from the sessions and written with a delay, so that a
// thousand sessions are few writes; nobody reads it, and admission least of all.
//
// A reconcile gathers all reads into an observation (observe.go), decides
// purely (plan.go) and then writes (apply.go). Only observe.go reads, only
// apply.go writes, and plan.go sees neither a client nor a clock.
package uploadquota
