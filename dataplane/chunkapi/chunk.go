package chunkapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Stored tells of a chunk that was taken.
type Stored struct {
	// Index is the chunk's.
	Index int `json:"index"`
	// State is ChunkStored, or ChunkHeld where the same bytes were held already.
	State ChunkState `json:"state"`
	// Result is that of the whole upload, where the client prefers to wait for it and it came in time.
	Result *Result `json:"result,omitempty"`
}

// ChunkState is what became of a chunk.
type ChunkState string

// The states of a chunk.
const (
	ChunkStored ChunkState = "stored"
	ChunkHeld   ChunkState = "held"
)

// putChunk takes a chunk. All that can be known without reading the body is
// checked before, so that a client which waits for 100 Continue need not send it.
func (a *api) putChunk(w http.ResponseWriter, r *http.Request, name upload.Name) error {
	index, err := parseIndex(r.PathValue("index"))
	if err != nil {
		return err
	}
	if r.ContentLength < 0 || r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
		return refuse(CodeLengthRequired, "")
	}
	said, err := readStated(r, ofChunk)
	if err != nil {
		return err
	}
	st, err := a.uploads.Status(r.Context(), name)
	if err != nil {
		return err
	}
	if err := fits(st, index, r.ContentLength); err != nil {
		return err
	}
	if err := said.isAt(index, st.Meta.Spec); err != nil {
		return err
	}
	added, err := a.receiveInTurn(w, r, st, index, said.checks)
	if err != nil {
		return err
	}
	noteChunk(w, added)
	code, stored := http.StatusOK, Stored{Index: index, State: ChunkHeld}
	if added {
		code, stored.State = http.StatusCreated, ChunkStored
	}
	if wait, ok := preferredWait(r.Header); ok {
		if stored.Result, err = a.awaitResult(r.Context(), st.Meta.ID, min(wait, a.completeWait)); err != nil {
			return err
		}
		w.Header().Set("Preference-Applied", "wait")
	}
	writeJSON(w, code, stored)
	return nil
}

// receiveInTurn receives the chunk once it is its turn, and ends the turn before the client is told.
func (a *api) receiveInTurn(w http.ResponseWriter, r *http.Request, st upload.Status, index int, checks []session.Check) (bool, error) {
	chunk := chunkID{st.Meta.ID, index}
	turn, err := a.awaitTurn(r.Context(), chunk)
	if err != nil {
		return false, err
	}
	defer a.turns.leave(turn)
	return a.receive(w, r, st.Grant.Name, chunk, checks)
}

// receive lets the chunk in, as soon as no other request is writing it.
func (a *api) receive(w http.ResponseWriter, r *http.Request, name upload.Name, chunk chunkID, checks []session.Check) (bool, error) {
	// net/http cancels the request's context when the client goes after its last byte, or only
	// says that it will send no more. By then the chunk is worth keeping.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	// Before the first byte is read nobody would notice that the client is gone.
	patience := time.AfterFunc(a.idle, cancel)
	defer patience.Stop()
	var body *incomingBody
	body = newIncomingBody(w, r, a.idle, func() bool {
		a.receiving.begin(chunk, body)
		return patience.Stop()
	})
	body.received = a.metrics.Chunks.Received
	var tooSlow atomic.Bool
	body.pace = a.senders.Join(string(chunk.session), func() {
		tooSlow.Store(true)
		if !body.interrupt(errTooSlow) {
			cancel()
		}
	})
	body.pace.Await() // a slot that waits for another request is one that others can't have either
	defer body.pace.Leave()
	defer func() { a.receiving.end(chunk, body) }()
	added, err := a.uploads.PutChunk(ctx, name, session.Incoming{
		Index: chunk.index, Length: r.ContentLength, Body: body, Interrupt: body.Interrupt, Checks: checks,
	})
	body.release(w, r)
	if err != nil && ctx.Err() != nil && tooSlow.Load() {
		return false, fmt.Errorf("%w: %w", session.ErrBody, errTooSlow)
	}
	if err != nil && ctx.Err() != nil {
		return false, refuse(CodeBusy, "another request has been sending chunk %d for %s", chunk.index, a.idle)
	}
	return added, err
}

// parseIndex reads the index of a chunk as it is in a path: one index, one path.
func parseIndex(s string) (int, error) {
	index, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(index) != s || index < 0 || index >= session.MaxChunks {
		return 0, refuse(CodeInvalidChunkIndex, "the index is not a decimal number from 0 to %d without leading zeros", session.MaxChunks-1)
	}
	return index, nil
}

// fits returns why a chunk of so many bytes has no place in the upload, or nil.
func fits(st upload.Status, index int, length int64) error {
	if st.Result != nil && !st.Result.HasObject() {
		return &session.EndedError{Meta: st.Meta} // whatever the chunk is
	}
	total := st.Meta.Spec.Chunks()
	if total == 0 && index == 0 && length == 0 {
		return nil // see upload.Service.PutChunk
	}
	_, want, err := st.Meta.Spec.Extent(index)
	if err != nil {
		no := refuse(CodeInvalidChunkIndex, "there is no chunk %d, the session has %d", index, total)
		no.members.TotalChunks = &total
		return no
	}
	var no *refusal
	switch {
	case length == want:
		return nil
	case length > want:
		no = refuse(CodeChunkTooLarge, "chunk %d has %d bytes, not %d", index, want, length)
	default:
		no = refuse(CodeWrongChunkLength, "chunk %d has %d bytes, not %d", index, want, length)
	}
	no.members.ExpectedBytes = &want
	return no
}
