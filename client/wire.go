package client

import (
	"fmt"
	"strings"
	"time"
)

// State is how a session stands.
type State string

// The states. A session that is Queued, Active, Suspended or Completing has not ended.
const (
	StateQueued     State = "Queued" // it waits for admission
	StateActive     State = "Active"
	StateSuspended  State = "Suspended"
	StateCompleting State = "Completing" // it is being verified and published
	StatePublished  State = "Published"
	StateFailed     State = "Failed"
	StateAborted    State = "Aborted"
	StateExpired    State = "Expired"
)

// Ended reports whether a session in this state changes no more.
func (s State) Ended() bool {
	switch s {
	case StatePublished, StateFailed, StateAborted, StateExpired:
		return true
	}
	return false
}

// Status is what the dataplane says of a session.
type Status struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	State     State  `json:"state"`
	// Key is where the object appears in the store.
	Key            string `json:"key"`
	SizeBytes      int64  `json:"sizeBytes"`
	ChunkSizeBytes int64  `json:"chunkSizeBytes"`
	TotalChunks    int    `json:"totalChunks"`
	ReceivedChunks int    `json:"receivedChunks"`
	ReceivedBytes  int64  `json:"receivedBytes"`
	// LastActivityTime is when the last chunk was accepted.
	LastActivityTime *time.Time `json:"lastActivityTime,omitempty"`
	// ExpirationTime is when the session expires at the earliest if no further byte arrives.
	ExpirationTime *time.Time `json:"expirationTime,omitempty"`
	// Missing holds the first ranges of chunks that are not held, at most 100, in ascending order.
	Missing []Range `json:"missing"`
	// MissingChunks is how many are not held in all.
	MissingChunks int `json:"missingChunks"`
	// Waiting says what a Queued session waits for.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Result says how the session ended; nil while it has not.
	Result *Result `json:"result,omitempty"`
}

// Range is a run of chunks, both ends counted.
type Range struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// Waiting is why a session is not admitted yet.
type Waiting struct {
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Result is how a session ended.
type Result struct {
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Digest is that of the published object, such as "sha256:9f86...".
	Digest        string     `json:"digest,omitempty"`
	PublishedTime *time.Time `json:"publishedTime,omitempty"`
}

// Spec is what a session is created with: the fields of an UploadSession's spec that a client sets. What is left out
// gets the default of the store.
type Spec struct {
	// Key is where the object appears in the store: a relative path.
	Key string `json:"key"`
	// SizeBytes is the exact size of the object.
	SizeBytes int64 `json:"sizeBytes"`
	// ChunkSizeBytes is the size of each chunk but the last.
	ChunkSizeBytes int64 `json:"chunkSizeBytes,omitempty"`
	// Digest is what the object must have, such as "sha256:9f86..."; empty where it is not known yet.
	Digest string `json:"digest,omitempty"`
	// DigestAlgorithm is sha256 or blake3, where Digest is empty.
	DigestAlgorithm string `json:"digestAlgorithm,omitempty"`
	// ConflictPolicy says what happens where the key exists: Fail, Replace, or Adopt, which takes an object that has
	// SizeBytes and Digest for this session's, so that nothing is sent.
	ConflictPolicy string `json:"conflictPolicy,omitempty"`
	// Completion is Automatic (the last chunk publishes) or Explicit (Complete publishes).
	Completion string `json:"completion,omitempty"`
	// Attributes are kept with the object.
	Attributes map[string]string `json:"attributes,omitempty"`
	// IdleTimeoutSeconds is how long the session may go without a byte.
	IdleTimeoutSeconds *int64 `json:"idleTimeoutSeconds,omitempty"`
	// ActiveDeadlineSeconds is how long the session may take in all.
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`
	// TTLSecondsAfterFinished is how long the resource stays after its end.
	TTLSecondsAfterFinished *int64 `json:"ttlSecondsAfterFinished,omitempty"`
	// ReclaimPolicy says what becomes of the object when the session is deleted: Retain or Delete.
	ReclaimPolicy string `json:"reclaimPolicy,omitempty"`
}

// Code says what is wrong, for programs: see the table in docs/protocol.md. Codes are stable.
type Code string

// The codes that a caller may want to tell apart.
const (
	CodeUnauthenticated    Code = "unauthenticated"
	CodeForbidden          Code = "forbidden"
	CodeRejected           Code = "rejected"
	CodeUnknownSession     Code = "unknown-session"
	CodeNotPublished       Code = "not-published"
	CodeInvalidKey         Code = "invalid-key"
	CodeInvalidQuery       Code = "invalid-query"
	CodeUnknownObject      Code = "unknown-object"
	CodeNotOurs            Code = "not-ours"
	CodeObjectChanges      Code = "object-changes"
	CodeIncompleteBody     Code = "incomplete-body"
	CodeChunkConflict      Code = "chunk-conflict"
	CodeSuperseded         Code = "superseded"
	CodeIncomplete         Code = "incomplete"
	CodeKeyExists          Code = "key-exists"
	CodeSessionDeleting    Code = "session-deleting"
	CodeSessionEnded       Code = "session-ended"
	CodeTicketEnded        Code = "ticket-ended"
	CodeObjectReplaced     Code = "object-replaced"
	CodeMisdirected        Code = "misdirected"
	CodeDigestMismatch     Code = "digest-mismatch"
	CodeNotAdmitted        Code = "not-admitted"
	CodeSuspended          Code = "suspended"
	CodeComparing          Code = "comparing"
	CodeTooManyChunks      Code = "too-many-chunks"
	CodeBusy               Code = "busy"
	CodeTooSlow            Code = "too-slow"
	CodeUnavailable        Code = "unavailable"
	CodeReplicaAway        Code = "replica-away"
	CodeVolumeFull         Code = "volume-full"
	CodeUnsupportedDigest  Code = "unsupported-digest"
	CodeKeyReused          Code = "idempotency-key-reused"
	CodePreconditionFailed Code = "precondition-failed"
)

// Problem is a refusal by the dataplane, as RFC 9457 has it. It is an error: errors.As finds it in what this package
// returns.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what is wrong with this request.
	Detail string `json:"detail,omitempty"`
	// Code is empty where something else than a dataplane answered, such as a proxy.
	Code Code `json:"code"`
	// Next says what to do about it.
	Next          string  `json:"next"`
	Missing       []Range `json:"missing,omitempty"`
	MissingChunks int     `json:"missingChunks,omitempty"`
	// Result is how the session ended, where it has.
	Result *Result `json:"result,omitempty"`
	Causes []Cause `json:"causes,omitempty"`
	// RetryAfter is how long to wait before the same request; 0 where the reply does not say.
	RetryAfter time.Duration `json:"-"`
	// RequestID is what the dataplane's log has beside this request.
	RequestID string `json:"-"`
}

// Cause is one thing that is wrong with a spec.
type Cause struct {
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// Error says what was refused, why, and what to do.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", p.Status)
	if p.Code != "" {
		fmt.Fprintf(&b, " %s", p.Code)
	}
	for _, part := range []string{firstOf(p.Detail, p.Title), p.Next} {
		if part != "" {
			fmt.Fprintf(&b, ": %s", part)
		}
	}
	for _, c := range p.Causes {
		fmt.Fprintf(&b, "; %s: %s", c.Field, c.Message)
	}
	return b.String()
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
