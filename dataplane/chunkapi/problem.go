package chunkapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strconv"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Code says what is wrong, for programs. It is stable.
type Code string

// The codes.
const (
	CodeInvalidName           Code = "invalid-name"
	CodeInvalidIdempotencyKey Code = "invalid-idempotency-key"
	CodeMalformedSpec         Code = "malformed-spec"
	CodeInvalidTicketRequest  Code = "invalid-ticket-request"
	CodeUnauthenticated       Code = "unauthenticated"
	CodeForbidden             Code = "forbidden"
	CodeRejected              Code = "rejected"
	CodeSessionDeleting       Code = "session-deleting"
	CodeUnsupportedMediaType  Code = "unsupported-media-type"
	CodeInvalidSpec           Code = "invalid-spec"
	CodeIdempotencyKeyReused  Code = "idempotency-key-reused"
	CodeInvalidChunkIndex     Code = "invalid-chunk-index"
	CodeWrongChunkLength      Code = "wrong-chunk-length"
	CodeInvalidDigest         Code = "invalid-digest"
	CodeUnsupportedDigest     Code = "unsupported-digest"
	CodeUnsupportedField      Code = "unsupported-field"
	CodeWrongPlace            Code = "wrong-place"
	CodeIncompleteBody        Code = "incomplete-body"
	CodeNotFound              Code = "not-found"
	CodeUnknownSession        Code = "unknown-session"
	CodeNotPublished          Code = "not-published"
	CodeKeptApart             Code = "kept-apart"
	CodeInvalidKey            Code = "invalid-key"
	CodeInvalidQuery          Code = "invalid-query"
	CodeUnknownObject         Code = "unknown-object"
	CodeNotOurs               Code = "not-ours"
	CodeObjectChanges         Code = "object-changes"
	CodeMethodNotAllowed      Code = "method-not-allowed"
	CodeRequestTimeout        Code = "request-timeout"
	CodeChunkConflict         Code = "chunk-conflict"
	CodeSuperseded            Code = "superseded"
	CodeIncomplete            Code = "incomplete"
	CodeKeyExists             Code = "key-exists"
	CodeAlreadyEnded          Code = "already-ended"
	CodeSessionEnded          Code = "session-ended"
	CodeTicketEnded           Code = "ticket-ended"
	CodeObjectReplaced        Code = "object-replaced"
	CodeLengthRequired        Code = "length-required"
	CodePreconditionFailed    Code = "precondition-failed"
	CodeChunkTooLarge         Code = "chunk-too-large"
	CodeBodyTooLarge          Code = "body-too-large"
	CodeUnsupportedEncoding   Code = "unsupported-encoding"
	CodeInvalidRange          Code = "invalid-range"
	CodeMisdirected           Code = "misdirected"
	CodeDigestMismatch        Code = "digest-mismatch"
	CodeNotAdmitted           Code = "not-admitted"
	CodeSuspended             Code = "suspended"
	CodeComparing             Code = "comparing"
	CodeTooManyChunks         Code = "too-many-chunks"
	CodeBusy                  Code = "busy"
	CodeTooSlow               Code = "too-slow"
	CodeCompleting            Code = "completing"
	CodeUnavailable           Code = "unavailable"
	CodeReplicaAway           Code = "replica-away"
	CodeVolumeFull            Code = "volume-full"
	CodeInternal              Code = "internal"
	// Those of replies that come before a handler.
	CodeMalformedRequest          Code = "malformed-request"
	CodeTLSRequired               Code = "tls-required"
	CodeExpectationFailed         Code = "expectation-failed"
	CodeHeaderTooLarge            Code = "header-too-large"
	CodeUnsupportedTransferCoding Code = "unsupported-transfer-coding"
	CodeUnsupportedVersion        Code = "unsupported-version"
)

// typePrefix and a code make the type of a problem.
const typePrefix = "urn:slipway:problem:"

// How a client may say who it is (RFC 6750, RFC 7617). A browser that follows a link
// sends its ticket only once it was asked for a password.
const (
	challenge       = `Bearer realm="slipway"`
	ticketChallenge = `Basic realm="slipway", charset="UTF-8"`
)

// Problem is the body of every error, as RFC 9457 has it.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what is wrong with this request.
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"`
	Code     Code   `json:"code"`
	// Next says what to do about it.
	Next string `json:"next"`
	Members
}

// Members are what some problems have besides.
type Members struct {
	// Missing and MissingChunks are those of Status, where chunks are missing.
	Missing       []Range `json:"missing,omitempty"`
	MissingChunks int     `json:"missingChunks,omitempty"`
	// Result is how the upload ended, where it has.
	Result *Result `json:"result,omitempty"`
	// ExpectedBytes is how long the chunk has to be, where it is not.
	ExpectedBytes *int64 `json:"expectedBytes,omitempty"`
	// Causes are what is wrong with a spec, where that is known.
	Causes []Cause `json:"causes,omitempty"`
	// TotalChunks is how many chunks there are, where the index is none of them.
	TotalChunks *int `json:"totalChunks,omitempty"`
}

// Cause is one thing that is wrong with a spec.
type Cause struct {
	// Field is the path of the field in the spec; empty for the whole.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// kind is one row of the table.
type kind struct {
	code   Code
	status int
	title  string
	next   string
	// retryAfter is the Retry-After header in seconds, where trying again helps; the least of
	// what is told where it depends on how many wait.
	retryAfter int
	// when are the errors that a problem of this kind comes from: an error that is all of them.
	when []error
	// end is the end of an upload that makes problems of this kind of all later requests.
	end upload.Reason
	// says is whether the text of such an error is meant for clients; other texts could tell
	// of what is inside, and are not sent.
	says bool
}

// kinds is the table of problems. An error is of the first kind that it fits.
func kinds() []kind {
	return []kind{
		{
			code: CodeInvalidName, status: http.StatusBadRequest, title: "Namespace or name is invalid",
			next: "Use the namespace and name of an UploadSession.",
		},
		{
			code: CodeInvalidIdempotencyKey, status: http.StatusBadRequest, title: "Idempotency key is invalid",
			next: "Send one Idempotency-Key: a string in double quotes of 1 to 255 printable ASCII characters.",
		},
		{
			code: CodeMalformedSpec, status: http.StatusBadRequest, title: "The spec is malformed", when: []error{upload.ErrMalformedSpec}, says: true,
			next: "Send the spec of an UploadSession as JSON, each field at most once.",
		},
		{
			code: CodeInvalidTicketRequest, status: http.StatusBadRequest, title: "The request for a ticket is invalid",
			next: "Send {\"verbs\": [...], \"expirationSeconds\": ...} as JSON, both optional, or no body.",
		},
		{ // one answer, whatever is wrong
			code: CodeUnauthenticated, status: http.StatusUnauthorized, title: "Credentials are missing or not valid", when: []error{auth.ErrUnauthenticated},
			next: "Send Authorization: Bearer with a ServiceAccount token that is not expired and is for this store (audience uploads.slipway.dev/NAMESPACE/STORE), or with a ticket for this session.",
		},
		{
			code: CodeForbidden, status: http.StatusForbidden, title: "The caller may not do this", when: []error{auth.ErrForbidden}, says: true,
			next: "Ask whoever runs the namespace for a Role with the verb and resource that the detail names.",
		},
		{
			code: CodeForbidden, status: http.StatusForbidden, title: "The session may not be created", when: []error{upload.ErrForbidden}, says: true,
			next: "Do what the detail asks for, or ask whoever runs the cluster.",
		},
		{
			code: CodeRejected, status: http.StatusForbidden, title: "The session was rejected", when: []error{upload.ErrRejected},
			next: "Change what the result says, then create another session, with another Idempotency-Key.",
		},
		{
			code: CodeInvalidChunkIndex, status: http.StatusBadRequest, title: "Chunk index is invalid",
			next: "Number the chunks from 0; GET the session for totalChunks.",
		},
		{
			code: CodeWrongChunkLength, status: http.StatusBadRequest, title: "Chunk is too short", when: []error{session.ErrLength}, says: true,
			next: "Send expectedBytes: chunkSizeBytes of the session, or what is left for the last chunk.",
		},
		{
			code: CodeInvalidDigest, status: http.StatusBadRequest, title: "Digest field is malformed",
			next: "Send the digest as RFC 9530 says, or none.",
		},
		{
			code: CodeUnsupportedDigest, status: http.StatusBadRequest, title: "Digest algorithm is not supported",
			next: "Send a digest of an algorithm that the Want field of this answer lists, or none.",
		},
		{
			code: CodeUnsupportedField, status: http.StatusBadRequest, title: "Header field is not supported",
			next: "Leave the field out, and send a digest as Content-Digest with a chunk or as Repr-Digest with complete.",
		},
		{
			code: CodeWrongPlace, status: http.StatusBadRequest, title: "Content-Range is not the place of the chunk",
			next: "Send the bytes of that place with the index of their chunk, or leave Content-Range out.",
		},
		{
			code: CodeRequestTimeout, status: http.StatusRequestTimeout, title: "No byte arrived for too long",
			when: []error{session.ErrBody, os.ErrDeadlineExceeded},
			next: "Send the request again; none of it counted.",
		},
		{
			code: CodeTooSlow, status: http.StatusServiceUnavailable, title: "Too slow while others waited", when: []error{session.ErrBody, errTooSlow},
			retryAfter: 5, next: "Send the request again after Retry-After; none of it counted. Send fewer chunks at once, so that each is faster.",
		},
		{ // the core says so itself where both had a slot
			code: CodeSuperseded, status: http.StatusConflict, title: "A later request took over this chunk",
			when: []error{session.ErrBody, errInterrupted},
			next: "Nothing, if the later request is yours; otherwise GET the session and send what is missing.",
		},
		{
			code: CodeIncompleteBody, status: http.StatusBadRequest, title: "Body ended early", when: []error{session.ErrBody},
			next: "Send the request again; none of it counted.",
		},
		{
			code: CodeNotFound, status: http.StatusNotFound, title: "No such resource",
			next: "Use the paths of the chunk protocol, below /v1/namespaces/{namespace}/uploadsessions/{name}.",
		},
		{
			code: CodeUnknownSession, status: http.StatusNotFound, title: "No such upload session", when: []error{upload.ErrUnknown},
			next: "Check namespace and name, or create the UploadSession.",
		},
		{ // the session went while the request was under way
			code: CodeUnknownSession, status: http.StatusNotFound, title: "No such upload session", when: []error{session.ErrNotFound},
			next: "Check namespace and name, or create the UploadSession.",
		},
		{
			code: CodeInvalidKey, status: http.StatusBadRequest, title: "The key is not one that an object can have",
			next: "Send the key as spec.key has it, with its slashes, and what is no letter or digit percent-encoded.",
		},
		{
			code: CodeInvalidQuery, status: http.StatusBadRequest, title: "The query of the listing is invalid",
			next: "Send prefix, delimiter, limit and continue, each at most once; continue as it came, with the same prefix and delimiter.",
		},
		{
			code: CodeUnknownObject, status: http.StatusNotFound, title: "No object is under the key", when: []error{upload.ErrNoObject},
			next: "Check the key; to put an object there, create an UploadSession.",
		},
		{
			code: CodeNotOurs, status: http.StatusConflict, title: "The object was not published by a session", when: []error{upload.ErrNotOurs},
			next: "Remove it from the volume by other means, or replace it by a session with conflictPolicy Replace, if it may go.",
		},
		{
			code: CodeObjectChanges, status: http.StatusServiceUnavailable, title: "The object is being replaced", when: []error{upload.ErrObjectChanges},
			retryAfter: 1, next: "Try again.",
		},
		{
			code: CodeNotPublished, status: http.StatusNotFound, title: "No object was published", when: []error{upload.ErrNotPublished},
			next: "GET the session to see how far it is, or how it ended.",
		},
		{
			code: CodeKeptApart, status: http.StatusForbidden, title: "The object was adopted, and may be somebody else's", when: []error{upload.ErrKeptApart},
			next: "Read it by its key, which needs the right to get uploadstores/objects.",
		},
		{
			code: CodeMethodNotAllowed, status: http.StatusMethodNotAllowed, title: "Method is not allowed here",
			next: "Use a method of the Allow header.",
		},
		{
			code: CodeChunkConflict, status: http.StatusConflict, title: "Other bytes are held for this chunk", when: []error{session.ErrConflict}, says: true,
			next: "Make sure that this is the file the upload began with; to upload another one, create another session.",
		},
		{
			code: CodeSuperseded, status: http.StatusConflict, title: "A later request took over this chunk", when: []error{session.ErrSuperseded},
			next: "Nothing, if the later request is yours; otherwise GET the session and send what is missing.",
		},
		{
			code: CodeIncomplete, status: http.StatusConflict, title: "Chunks are missing", when: []error{session.ErrIncomplete}, says: true,
			next: "Send the missing chunks, then complete again.",
		},
		{
			code: CodeKeyExists, status: http.StatusConflict, title: "An object exists under the key", end: upload.KeyExists,
			next: "Create another session with another key, or with conflictPolicy Replace or Adopt.",
		},
		{
			code: CodeAlreadyEnded, status: http.StatusConflict, title: "Upload session has ended already",
			next: "Nothing: the result says how it ended.",
		},
		{
			code: CodeSessionDeleting, status: http.StatusConflict, title: "The session of this key is being deleted", when: []error{upload.ErrDeleting}, says: true,
			retryAfter: 5, next: "Try again when it is gone, which creates another session.",
		},
		{
			code: CodeSessionEnded, status: http.StatusGone, title: "Upload session has ended",
			next: "Create another session; the result says why this one ended.",
		},
		{
			code: CodeSessionEnded, status: http.StatusGone, title: "Upload session is past its deadline", when: []error{session.ErrDeadline},
			next: "Create another session with a longer activeDeadlineSeconds.",
		},
		{
			code: CodeTicketEnded, status: http.StatusGone, title: "The ticket ended with its session",
			next: "The result says how the session ended; to read what it published, ask for another ticket.",
		},
		{
			code: CodeObjectReplaced, status: http.StatusGone, title: "The object was replaced or removed", when: []error{upload.ErrReplaced},
			next: "Nothing is left to send: the session was published. Read what is under the key through the session that published that.",
		},
		{
			code: CodeLengthRequired, status: http.StatusLengthRequired, title: "Content-Length is required",
			next: "Send the chunk with its Content-Length, not with chunked transfer encoding.",
		},
		{
			code: CodePreconditionFailed, status: http.StatusPreconditionFailed, title: "Precondition failed",
			next: "HEAD the content for its ETag.",
		},
		{
			code: CodeChunkTooLarge, status: http.StatusRequestEntityTooLarge, title: "Chunk is too large",
			next: "Send expectedBytes: chunkSizeBytes of the session, or what is left for the last chunk.",
		},
		{
			code: CodeBodyTooLarge, status: http.StatusRequestEntityTooLarge, title: "Body is too large",
			next: "Send a smaller body; only to create a session or a ticket is one needed.",
		},
		{
			code: CodeUnsupportedEncoding, status: http.StatusUnsupportedMediaType, title: "The coding of the body is not supported",
			next: "Send the bytes of the object as they are.",
		},
		{
			code: CodeUnsupportedMediaType, status: http.StatusUnsupportedMediaType, title: "Content-Type is not supported",
			next: "Send the body with Content-Type application/json.",
		},
		{
			code: CodeInvalidRange, status: http.StatusRequestedRangeNotSatisfiable, title: "Range is not within the object",
			next: "Ask for a range within the size that Content-Range tells.",
		},
		{
			code: CodeMisdirected, status: http.StatusMisdirectedRequest, title: "Another replica holds this session", when: []error{upload.ErrElsewhere}, says: true,
			next: "Use status.admission.endpoint of the UploadSession.",
		},
		{
			code: CodeMisdirected, status: http.StatusMisdirectedRequest, title: "This dataplane serves another store", when: []error{upload.ErrOtherStore}, says: true,
			next: "Create the session through a dataplane of its store, or with kubectl.",
		},
		{
			code: CodeInvalidSpec, status: http.StatusUnprocessableEntity, title: "The spec is invalid", when: []error{upload.ErrInvalidSpec}, says: true,
			next: "Change the fields that the causes name; kubectl explain upl.spec says what they may hold.",
		},
		{
			code: CodeIdempotencyKeyReused, status: http.StatusUnprocessableEntity, title: "The idempotency key belongs to another spec", when: []error{upload.ErrKeyReused}, says: true,
			next: "Send another Idempotency-Key for another upload, or the same spec for the same one.",
		},
		{
			code: CodeDigestMismatch, status: http.StatusUnprocessableEntity, title: "Bytes do not match the digest", when: []error{session.ErrMismatch}, says: true,
			next: "Compute the digest again from the bytes that you send, and send both again.",
		},
		{
			code: CodeDigestMismatch, status: http.StatusUnprocessableEntity, title: "The object did not match its digest", end: upload.DigestMismatch,
			next: "Create another session and send all bytes again.",
		},
		{
			code: CodeNotAdmitted, status: http.StatusLocked, title: "Upload session is not admitted yet", when: []error{upload.ErrNotReady}, says: true,
			retryAfter: 1, next: "Try again, or wait for the UploadSession's condition AcceptingChunks.",
		},
		{
			code: CodeSuspended, status: http.StatusLocked, title: "Upload session is suspended", when: []error{session.ErrPaused},
			retryAfter: 5, next: "Set spec.desiredState of the UploadSession to Active, then try again.",
		},
		{
			code: CodeComparing, status: http.StatusLocked, title: "The object under the key is being compared", when: []error{upload.ErrComparing},
			retryAfter: 5, next: "Try again: where the object is the one that spec.digest asks for, the session ends without a byte.",
		},
		{
			code: CodeTooManyChunks, status: http.StatusTooManyRequests, title: "Too many chunks of this session at once",
			retryAfter: 1, next: "Send fewer chunks of this session at once; try again after Retry-After.",
		},
		{
			code: CodeBusy, status: http.StatusServiceUnavailable, title: "Too much is going on",
			retryAfter: 1, next: "Try again after Retry-After.",
		},
		{
			code: CodeCompleting, status: http.StatusServiceUnavailable, title: "Upload session is ending", when: []error{session.ErrSealed},
			retryAfter: 1, next: "Try again to learn how it ended.",
		},
		{
			code: CodeUnavailable, status: http.StatusServiceUnavailable, title: "The API server can't be asked now", when: []error{upload.ErrUnavailable},
			retryAfter: 1, next: "Try again.",
		},
		{
			code: CodeUnavailable, status: http.StatusServiceUnavailable, title: "Credentials can't be checked now", when: []error{auth.ErrUnavailable},
			retryAfter: 1, next: "Try again.",
		},
		{ // whoever looked sees another session by now
			code: CodeUnavailable, status: http.StatusServiceUnavailable, title: "Session is being replaced", when: []error{upload.ErrNameTaken},
			retryAfter: 1, next: "Try again.",
		},
		{
			code: CodeUnavailable, status: http.StatusServiceUnavailable, title: "The dataplane is stopping", when: []error{errStopping},
			retryAfter: 1, next: "Try again; nothing of the chunk was read.",
		},
		{ // who waits is not told by its own context
			code: CodeUnavailable, status: http.StatusServiceUnavailable, title: "Interrupted, perhaps by a shutdown", when: []error{context.Canceled},
			retryAfter: 1, next: "Try again; what was acknowledged is kept.",
		},
		{ // what is known of it is not for clients
			code: CodeReplicaAway, status: http.StatusServiceUnavailable, title: "The replica that holds the session can't be reached now", when: []error{upload.ErrAway},
			retryAfter: 2, next: "Try again; what was acknowledged is kept until the replica is back.",
		},
		{
			code: CodeVolumeFull, status: http.StatusInsufficientStorage, title: "The volume is full", when: []error{session.ErrNoSpace},
			next: "Free space on the store's volume, or upload to another store, then try again.",
		},
		{
			code: CodeInternal, status: http.StatusInternalServerError, title: "Something went wrong here",
			next: "Try again; if it persists, look for this answer's X-Request-Id in the dataplane's log.",
		},
		{
			code: CodeMalformedRequest, status: http.StatusBadRequest, title: "The request is not valid HTTP",
			next: "Send the request again with one Host, at most one Content-Length, and no invalid characters in its header.",
		},
		{
			code: CodeTLSRequired, status: http.StatusBadRequest, title: "This port speaks HTTPS only",
			next: "Use an https:// URL.",
		},
		{
			code: CodeExpectationFailed, status: http.StatusExpectationFailed, title: "The expectation is not known",
			next: "Send Expect: 100-continue, or no Expect.",
		},
		{
			code: CodeHeaderTooLarge, status: http.StatusRequestHeaderFieldsTooLarge, title: "The header is too large",
			next: "Send a header of at most 32 KiB.",
		},
		{
			code: CodeUnsupportedTransferCoding, status: http.StatusNotImplemented, title: "The transfer coding is not supported",
			next: "Send the body with a Content-Length, without Transfer-Encoding.",
		},
		{
			code: CodeUnsupportedVersion, status: http.StatusHTTPVersionNotSupported, title: "The version of HTTP is not supported",
			next: "Speak HTTP/1.1, or HTTP/2 where TLS agrees on it.",
		},
	}
}

// refusal is an error that comes with its kind.
type refusal struct {
	kind    kind
	detail  string
	members Members
	header  http.Header
}

// refuse makes a refusal; the detail may be empty.
func refuse(code Code, detail string, args ...any) *refusal {
	return &refusal{kind: kindWith(code), detail: fmt.Sprintf(detail, args...)}
}

// Error is the code and the detail.
func (e *refusal) Error() string { return string(e.kind.code) + ": " + e.detail }

// fail answers with the problem that err is.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	a.audit(w, r, err)
	if errors.Is(err, auth.ErrUnauthenticated) { // RFC 9110 section 15.5.2
		w.Header().Add("WWW-Authenticate", challenge)
		if a.tickets != nil {
			w.Header().Add("WWW-Authenticate", ticketChallenge)
		}
	}
	err = a.explain(err)
	if no, ok := errors.AsType[*refusal](err); ok {
		maps.Copy(w.Header(), no.header)
		writeProblem(w, r, no.kind, no.detail, no.members)
		return
	}
	k := kindOf(err)
	if k.status >= http.StatusInternalServerError {
		a.log.WarnContext(r.Context(), "request failed", "error", err, "code", k.code,
			"session", sessionOf(r), "method", r.Method, "path", r.URL.Path, "requestID", w.Header().Get(requestIDHeader))
	}
	detail := ""
	if k.says {
		detail = err.Error()
	}
	writeProblem(w, r, k, detail, Members{})
}

// explain makes a refusal of an error that says more than its text.
func (a *api) explain(err error) error {
	if incomplete, ok := errors.AsType[*session.IncompleteError](err); ok {
		no := refuse(CodeIncomplete, "%s", incomplete)
		no.members.Missing, no.members.MissingChunks = rangesOf(incomplete.Missing), incomplete.Chunks
		return no
	}
	if invalid, ok := errors.AsType[*upload.InvalidError](err); ok {
		no := refuse(CodeInvalidSpec, "%s", invalid)
		for _, c := range invalid.Causes {
			no.members.Causes = append(no.members.Causes, Cause(c))
		}
		return no
	}
	if rejected, ok := errors.AsType[*upload.RejectedError](err); ok {
		no := refuse(CodeRejected, "%s", rejected)
		no.members.Result = resultOf(&rejected.Result)
		return no
	}
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		st, err := a.uploads.Known(ended.Meta.ID)
		if err != nil || st.Result == nil {
			// It ended before this replica ever held it; only the directory knows how.
			return refuse(CodeSessionEnded, "")
		}
		if !st.Meta.Recorded {
			return refuse(CodeCompleting, "") // the end is not durable yet
		}
		return refuseEnded(kindOfEnd(st.Result.Reason), st)
	}
	return err
}

// refuseEnded says how an upload ended.
func refuseEnded(k kind, st upload.Status) *refusal {
	return &refusal{kind: k, detail: st.Result.Message, members: Members{Result: resultOf(st.Result)}}
}

// kindOfEnd is what a request gets that comes after the end.
func kindOfEnd(reason upload.Reason) kind {
	for _, k := range kinds() {
		if k.end != "" && k.end == reason {
			return k
		}
	}
	return kindWith(CodeSessionEnded)
}

// kindOf returns the kind of an error, CodeInternal's where it fits no other.
func kindOf(err error) kind {
	for _, k := range kinds() {
		if k.fits(err) {
			return k
		}
	}
	return kindWith(CodeInternal)
}

func (k kind) fits(err error) bool {
	for _, e := range k.when {
		if !errors.Is(err, e) {
			return false
		}
	}
	return len(k.when) > 0
}

// kindWith returns the first kind with a code.
func kindWith(code Code) kind {
	for _, k := range kinds() {
		if k.code == code {
			return k
		}
	}
	panic(fmt.Sprintf("no problem has code %q", code))
}

func writeProblem(w http.ResponseWriter, r *http.Request, k kind, detail string, members Members) {
	noteProblem(w, k)
	if k.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(k.retryAfter))
	}
	p := k.problem(detail)
	p.Instance, p.Members = r.URL.EscapedPath(), members
	write(w, k.status, problemType, p)
}

// problemType is the media type of a Problem.
const problemType = "application/problem+json"

// problem is one of this kind.
func (k kind) problem(detail string) Problem {
	return Problem{
		Type: typePrefix + string(k.code), Title: k.title, Status: k.status, Detail: detail, Code: k.code, Next: k.next,
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) { write(w, status, "application/json", v) }

func write(w http.ResponseWriter, status int, contentType string, v any) {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(v); err != nil { // plain structs always encode
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// A client that does not take its answer asks again.
	_, _ = w.Write(body.Bytes())
}
