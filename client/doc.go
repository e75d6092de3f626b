// Package client uploads objects to a Slipway dataplane and reads them back. It speaks the chunk protocol
// (docs/protocol.md) and imports the standard library only.
//
// A Client knows one dataplane and who calls. Create makes a session, or finds the one that an earlier call with the
// same idempotency key made; Open names a session that exists. Session.Send sends what the dataplane does not hold
// yet, in parallel, and publishes the object. Session.Download reads it back.
//
// Everything resumes. The dataplane knows which chunks it holds, so a new process that calls Create and Send with the
// same arguments goes on where the last one stopped. Send reads its source once: the digest of the whole is computed
// while the chunks are sent.
//
// Requests that fail are sent again, with growing and random pauses, as long as something moves: see Config.Patience.
//
// Out of scope: Kubernetes. How a caller comes by an endpoint, a certificate bundle and a token is for others.
package client
