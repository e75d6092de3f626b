package session

import (
	"errors"
	"fmt"
)

// Errors of this package and of every ByteSink and Publisher. They come back
// wrapped; ask with errors.Is.
var (
	// ErrInvalid means that an argument breaks a documented bound. Nothing was changed.
	ErrInvalid = errors.New("invalid argument")
	// ErrNotFound means that there is no such session, chunk or object.
	ErrNotFound = errors.New("not found")
	// ErrExists means that a session with that ID, or something under that name, exists.
	ErrExists = errors.New("already exists")
	// ErrConflict means that what is held differs from what was sent; what is held stays.
	ErrConflict = errors.New("conflicts with what is held")
	// ErrMismatch means that the bytes which arrived fail one of their checks; none of them count.
	ErrMismatch = errors.New("bytes do not match their check")
	// ErrLength means that a chunk is not as long as its place in the session demands.
	ErrLength = errors.New("wrong chunk length")
	// ErrBody means that the body of a chunk could not be read to its end; none of it counts.
	ErrBody = errors.New("chunk body ended early")
	// ErrSuperseded means that a later request for the same chunk took over from this one,
	// because this one had stopped making progress.
	ErrSuperseded = errors.New("superseded by a later request for the same chunk")
	// ErrIncomplete means that chunks are missing; it comes as *IncompleteError.
	ErrIncomplete = errors.New("chunks are missing")
	// ErrBegun means that a session can't be skipped: chunks of it are held, or arriving.
	ErrBegun = errors.New("session has begun to take chunks")
	// ErrPaused means that the session takes no chunks for now.
	ErrPaused = errors.New("session is paused")
	// ErrSealed means that the session is being finished, so that it can neither be aborted nor expired.
	ErrSealed = errors.New("session is being finished")
	// ErrDeadline means that the session takes no chunks any more, because its deadline has passed:
	// it is about to expire.
	ErrDeadline = errors.New("session is past its deadline")
	// ErrEnded means that the session has ended; it comes as *EndedError.
	ErrEnded = errors.New("session has ended")
	// ErrNoSpace means that the volume has no room (or the quota of its filesystem none).
	ErrNoSpace = errors.New("no space on the volume")
	// ErrUnusableName means that nothing can be published under the name, because of the name
	// or of what stands in its way: never of what may pass.
	ErrUnusableName = errors.New("nothing can be published under this name")
	// ErrVolume means that the place where bytes are kept could not be read as a whole, so that
	// nobody knows which sessions it holds.
	ErrVolume = errors.New("volume can't be recovered")
	// ErrUnsupported means that the place where bytes are kept can't keep the promises.
	ErrUnsupported = errors.New("volume can't keep the promises")
)

// IncompleteError says which chunks are missing. It is an ErrIncomplete.
type IncompleteError struct {
	// Missing holds the first ranges of missing chunks, in order, at most MaxReportedRanges.
	Missing []Range
	// Chunks is how many chunks are missing in all.
	Chunks int
}

// MaxReportedRanges bounds the ranges in an IncompleteError.
const MaxReportedRanges = 100

// Error says how many chunks are missing and names the first.
func (e *IncompleteError) Error() string {
	if len(e.Missing) == 0 {
		return ErrIncomplete.Error()
	}
	return fmt.Sprintf("%d %s, the first is chunk %d", e.Chunks, ErrIncomplete, e.Missing[0].First)
}

// Is makes the error an ErrIncomplete.
func (e *IncompleteError) Is(target error) bool { return target == ErrIncomplete }

// EndedError says how a session ended. It is an ErrEnded.
type EndedError struct {
	// Meta is what is known of the session; its State is an ended one.
	Meta Meta
}

// Error says how the session ended.
func (e *EndedError) Error() string { return fmt.Sprintf("%s: %s", ErrEnded, e.Meta.State) }

// Is makes the error an ErrEnded.
func (e *EndedError) Is(target error) bool { return target == ErrEnded }
