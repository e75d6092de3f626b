// Package session is the core of the dataplane: sessions of bytes that arrive
// in chunks, in any order and in parallel, and are kept durably until somebody
// finishes, aborts or expires the session.
//
// The room holds the identity of a session (ID, Spec), what is known of it now
// (Meta, State), which chunks are held (Ledger, Slot), where bytes are kept
// (ByteSink, Publisher: interfaces only), what time it is (Clock) and the
// operations on all of these (Service).
//
// What may not enter: anything but the standard library, and any knowledge of
// uploads, digests of objects, HTTP, Kubernetes or files. Owner, Key, Payload
// and Outcome are opaque here: they are carried and compared, never read.
package session
