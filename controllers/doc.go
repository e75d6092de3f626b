// Package controllers is the operator: the reconcilers of all kinds, each in a
// package of its own, wired to one manager.
//
// Every reconciler gathers all its reads, then plans purely, then does all its
// writes. What several of them need lives in small pure packages beside them:
// admission (who may start now), heartbeat (what a replica's Lease says), managed
// (what a Managed store consists of), hosts (where a store's dataplane is found), display (what kubectl get shows),
// cached (what the manager keeps of each object), retry (when what failed is tried again) and conditions. The
// dataplane may not enter, nor be entered.
package controllers
