// Package forward sends requests on to the replica that holds their upload, so
// that a client may speak to any replica of a store.
//
// Bytes go through as they come, both ways, and are never buffered whole. A
// request is sent to a live replica of the same store only, over TLS that is
// verified with what clients of the store trust, with the caller's own
// credentials: the owner asks for itself who calls and what they may do.
//
// What may not enter: who the owner is (that is the control plane's to say, and
// asked through Replicas), who may call, and the meaning of requests and replies.
package forward
