// Package admission decides who may start now. A Ledger holds what matters of
// every session, quota, store and heartbeat; a session is admitted when every
// rule lets it pass, and gets a replica and the room it needs.
//
// # The order
//
// Sessions of a namespace go in order of creation, through up to three doors,
// the narrowest first: the limits for its owner, those of its store (the
// volume's room among them), those of the whole namespace. At each limit there
// is one line. The first session that a limit has no room for is its head: it
// blocks that limit, and what it needs of the other limits of this door and of
// those it has passed is kept for it. It keeps nothing of the doors that it has
// not reached.
//
// So nobody starves: the oldest session is the head wherever it waits, nobody
// takes what it waits for nor what is kept for it, and with every session that
// ends it comes nearer. And nobody is held up for a line that is not theirs: an
// owner at their own limit holds up no other owner, a full store no other store.
// A strict order of the whole namespace would do that; letting through whatever
// fits, as a backfill does, would let small sessions pass a large one for ever.
//
// A session that a limit could not hold even if nobody else were there stands in
// no line: only a change of the limit helps it, and nobody waits behind it.
//
// # The room
//
// The package is pure. A decision is a function of what was observed and the
// time; a client, a clock, a context or a lock may not enter.
package admission
