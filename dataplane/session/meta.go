package session

import "time"

// State is how a session stands. The zero State is none.
type State string

const (
	// Open sessions take chunks.
	Open State = "Open"
	// Sealed sessions hold every chunk and are being finished. The state is never stored: after
	// a restart the session is Open again, and whoever finishes sessions looks at it anew.
	Sealed State = "Sealed"
	// Finished sessions ended as they should.
	Finished State = "Finished"
	// Failed sessions could not be finished.
	Failed State = "Failed"
	// Aborted sessions were ended on purpose.
	Aborted State = "Aborted"
	// Expired sessions ran into one of their timeouts.
	Expired State = "Expired"
)

// Ended reports whether a session in this state is over; it never leaves it.
func (s State) Ended() bool { return s != "" && s != Open && s != Sealed }

// Meta is what is known of a session at one moment. It is a copy: it does not
// change, and its slices must not be changed.
type Meta struct {
	ID   ID
	Spec Spec
	// State is how the session stands.
	State State
	// Paused sessions take no chunks, and their idle timeout stands still.
	Paused bool
	// HeldChunks and HeldBytes count what is held durably.
	HeldChunks int
	HeldBytes  int64
	// InFlight is how many chunks are arriving now.
	InFlight int
	// Created is when the session began.
	Created time.Time
	// LastActivity is when the last chunk was accepted; zero before the first.
	LastActivity time.Time
	// Ended is when the session ended; zero before.
	Ended time.Time
	// Recorded is whether the end is durable: no crash undoes it any more.
	Recorded bool
	// Settled is whether the end is durable and the bytes are freed. An ended session that is
	// not settled yet, because the volume failed, is settled by Service.Settle.
	Settled bool
	// Outcome is what the layer above recorded at the end; opaque.
	Outcome []byte
}

// Complete reports whether every chunk is held.
func (m Meta) Complete() bool { return m.HeldChunks == m.Spec.Chunks() }
