package session

import (
	"context"
	"io"
	"iter"
	"time"
)

// ByteSink keeps the bytes, the ledgers and the records of sessions. Every
// sink passes the suite in dataplane/sink/sinktest.
//
// The promise that all else rests on: what a method says is durable has
// reached stable storage when it returns nil, and survives the death of the
// process and the loss of power. A method that returns an error may have done
// anything or nothing of its work, but never harms what was durable before.
//
// Methods may be called concurrently, for one session too, but for this: Free
// and Remove of a session are called when nothing of it is being written; who
// reads it through an open Staged meanwhile goes on or gets an error.
type ByteSink interface {
	// Create makes room for the session that r describes: its bytes, reserved on the volume, a
	// ledger of absent slots, and the record. It is all or nothing, also when it is cut short,
	// and durable on return. ErrExists where the ID exists, ErrNoSpace where the room is not there.
	Create(ctx context.Context, r Record) error

	// Open opens the bytes of a session for one operation. ErrNotFound where the session is not
	// there or its bytes were freed.
	Open(ctx context.Context, id ID) (Staged, error)

	// Slot reads the ledger's slot of a chunk; false where it is absent or torn, or was freed.
	// ErrNotFound where the session is not there.
	Slot(ctx context.Context, id ID, index int) (Slot, bool, error)

	// SaveRecord replaces the record of a session atomically; durable on return. ErrNotFound
	// where the session is not there.
	SaveRecord(ctx context.Context, r Record) error

	// Free frees the bytes of a session and its ledger; only its record stays, which is a few KiB
	// long. Freeing what is freed is no error. A loss of power may bring them back, as Recover then
	// tells of a session that has ended: free them again.
	Free(ctx context.Context, id ID) error

	// Remove removes all of a session. What is published stays. Removing what is not there is
	// no error; what a removal that was cut short leaves is not seen by Recover.
	Remove(ctx context.Context, id ID) error

	// Recover yields every session on the volume and first clears away what an interrupted
	// Create or Remove left. It reads the volume and nothing else. It is called once, before
	// any other method. An error that concerns one session is yielded with its ID and the
	// iteration goes on.
	Recover(ctx context.Context) iter.Seq2[Recovered, error]

	// Space tells how much room the volume has.
	Space(ctx context.Context) (Space, error)
}

// Staged is the open bytes of one session. Its methods may be called
// concurrently for chunks that differ.
type Staged interface {
	io.ReaderAt
	// WriterAt writes without buffering in the process; nothing is durable before Commit.
	// ErrNoSpace where the volume is full.
	io.WriterAt
	// Commit makes durable first the bytes of a chunk, at offset and of the slot's length, and then its
	// slot in the ledger: a slot that is there after a crash has its bytes. Both are durable on return.
	Commit(ctx context.Context, index int, offset int64, slot Slot) error
	// Close lets go of what Open took.
	io.Closer
}

// Record is what is stored of a session besides its bytes and ledger.
type Record struct {
	ID      ID        `json:"id"`
	Spec    Spec      `json:"spec"`
	State   State     `json:"state"`
	Created time.Time `json:"created"`
	Ended   time.Time `json:"ended,omitzero"`
	Outcome []byte    `json:"outcome,omitempty"`
	// Paused is whether the session takes no chunks for now.
	Paused bool `json:"paused,omitempty"`
	// HeldChunks, HeldBytes and LastActivity are those of Meta, of a session that has ended: its
	// ledger is freed. Earlier versions kept the ledger and did not store them.
	HeldChunks   int       `json:"heldChunks,omitempty"`
	HeldBytes    int64     `json:"heldBytes,omitempty"`
	LastActivity time.Time `json:"lastActivity,omitzero"`
}

// Recovered is one session as Recover finds it.
type Recovered struct {
	Record
	// Held tells for each chunk whether its slot is whole; of none once it was freed.
	Held []bool
	// HasBytes is false once the bytes were freed, and with them the ledger.
	HasBytes bool
	// LastCommit is about when the last chunk was committed; zero where none was.
	LastCommit time.Time
}

// Space is the room on a volume in bytes.
type Space struct {
	// Total is the size of the volume.
	Total int64
	// Free is what can be reserved now.
	Free int64
}

// Derelict is a session of a replica that shares the volume and that nobody runs.
type Derelict struct {
	Record
	// Replica is whose it is.
	Replica string
}

// Derelicts is a ByteSink whose volume is shared by several replicas, each with
// sessions of its own that the others don't see.
type Derelicts interface {
	// SweepDerelicts calls orphan for each session of the other replicas that nobody runs, and
	// removes all of it where that returns true. Just before it is removed orphan is called again, and
	// nobody can run the replica until it is gone. What can't be read is an error and
	// stays. What was published stays too, unless orphan withdraws it.
	SweepDerelicts(ctx context.Context, orphan func(context.Context, Derelict) (bool, error)) error
}

// Publisher gives the staged bytes of a session a public name. A ByteSink that
// can publish is a Publisher too. Methods may be called concurrently.
//
// A name is a relative, clean, slash-separated path that CheckName accepts.
type Publisher interface {
	// Publish makes the staged bytes appear under the name, whole and in one atomic step, and
	// keeps the attributes with them as far as the volume can. The staged bytes stay until Free.
	// Durable on return. Publishing again what Published reports is no error and only makes it
	// durable. Without replace, ErrExists where anything is under the name; ErrUnusableName
	// where the name can't be used: a parent is no directory, or the name is one.
	// The bytes are committed, all of them, and must not be written any more.
	Publish(ctx context.Context, id ID, name string, replace bool, attributes map[string]string) error

	// Published reports whether the staged bytes of a session are what is under the name: the
	// truth of the volume, for a publication that was cut short.
	Published(ctx context.Context, id ID, name string) (bool, error)

	// Lookup tells what Publish without replace would meet: nil where the name is free,
	// ErrExists, or ErrUnusableName.
	Lookup(ctx context.Context, name string) error

	// OpenObject opens what is published under the name for reading. What was opened stays as it is
	// when it is replaced or removed meanwhile. ErrNotFound where there is no object.
	OpenObject(ctx context.Context, name string) (Object, error)

	// List tells what OpenObject would open, in the order of the names' bytes, whoever put it there: nothing that is
	// staged, no link, and nothing whose name CheckName refuses. What is there all the while is told of once, from
	// the first part to the last; of what is published, replaced or removed meanwhile, what is true at some time. Memory
	// and work are bounded, however much is published. ErrInvalid where the query is not one that Check accepts.
	List(ctx context.Context, q ListQuery) (Listing, error)

	// Identify returns the identity that the object of a session has once it is published, and
	// which no other object has or will have. ErrNotFound where the session is not there or its
	// bytes were freed.
	Identify(ctx context.Context, id ID) (string, error)

	// Note keeps a text of at most MaxNote bytes with the staged bytes of a session, which are
	// committed, all of them, so that their object has it too; a later note takes its place. It is kept as far as
	// the volume can, which is no error, and is durable once Publish has returned.
	// ErrNotFound where the session is not there or its bytes were freed.
	Note(ctx context.Context, id ID, note string) error

	// Withdraw removes the object under the name where that is the Same, and reports whether
	// it did. Whatever else is there stays, and so does what is published there meanwhile; with
	// nothing there it is no error. What was removed is so durably on return, also by an earlier
	// call that was cut short. Who has the object open goes on reading it.
	Withdraw(ctx context.Context, name, identity string) (bool, error)
}

// Object is an open published object.
type Object interface {
	io.ReadSeekCloser
	// Size is its size in bytes.
	Size() int64
	// ModTime is when its bytes were last written.
	ModTime() time.Time
	// Identity tells it from every other object, see Publisher.Identify.
	Identity() string
	// Like compares it with what was recorded of an object: an identity that Publisher.Identify
	// returned, in this version or an earlier one.
	Like(identity string) Likeness
	// IsPublished reports whether it is what a session published, and no copy of that and nothing that was
	// written to since, as far as the volume keeps what tells that; false where it keeps nothing.
	IsPublished() bool
	// Note is what Publisher.Note kept with it; empty where there is none, and where the object is
	// not what it was when the note was made: a copy, or written to since.
	Note() string
}

// MaxNote bounds the note that is kept with an object, in bytes.
const MaxNote = 256

// Likeness is what an identity tells of an object.
type Likeness int

const (
	// Other is another object.
	Other Likeness = iota
	// Alike is what nothing tells from the object, but the identity is an earlier version's, which
	// does not prove it: two that follow each other closely may have the same.
	Alike
	// Same is the object and no other.
	Same
)
