// Package upload is what an upload means on top of the core: a session was
// granted by somebody (Grant), its bytes are verified (Digest) and published
// under a key, once and atomically, and it ends with a Result.
//
// The room holds grants, digests, completion, idempotency and publication.
// What only an upload needs travels through the core as an opaque payload.
//
// What may not enter: HTTP, Kubernetes, and files (those are the sink's).
package upload
