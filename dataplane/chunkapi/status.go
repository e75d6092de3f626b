package chunkapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// State is how an upload stands.
type State string

// The states. An upload that is Queued, Active, Suspended or Completing has not ended.
const (
	StateQueued     State = "Queued" // it waits for admission; only who creates a session is told
	StateActive     State = "Active"
	StateSuspended  State = "Suspended"
	StateCompleting State = "Completing" // its bytes are being verified and published
	StatePublished  State = "Published"
	StateFailed     State = "Failed"
	StateAborted    State = "Aborted"
	StateExpired    State = "Expired"
)

// Status is what a client is told of an upload.
type Status struct {
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	UID       session.ID `json:"uid"`
	State     State      `json:"state"`
	// Key is where the object appears, or has appeared.
	Key            string `json:"key"`
	SizeBytes      int64  `json:"sizeBytes"`
	ChunkSizeBytes int64  `json:"chunkSizeBytes"`
	TotalChunks    int    `json:"totalChunks"`
	ReceivedChunks int    `json:"receivedChunks"`
	ReceivedBytes  int64  `json:"receivedBytes"`
	// LastActivityTime is when the last chunk was accepted.
	LastActivityTime *time.Time `json:"lastActivityTime,omitempty"`
	// ExpirationTime is when the upload expires at the earliest if no further byte arrives.
	ExpirationTime *time.Time `json:"expirationTime,omitempty"`
	// Missing holds the first ranges of chunks that are missing, at most session.MaxReportedRanges.
	Missing []Range `json:"missing"`
	// MissingChunks is how many are missing in all.
	MissingChunks int `json:"missingChunks"`
	// Waiting is what the upload waits for while it is Queued.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Result is how the upload ended.
	Result *Result `json:"result,omitempty"`
}

// Waiting is why a session is not admitted yet, in the words of its condition
// Admitted; empty where nobody has looked at it yet.
type Waiting struct {
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Range is a run of chunks, both ends counted.
type Range struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// Result is how an upload ended.
type Result struct {
	Reason        upload.Reason `json:"reason"`
	Message       string        `json:"message,omitempty"`
	Digest        upload.Digest `json:"digest,omitempty"`
	PublishedTime *time.Time    `json:"publishedTime,omitempty"`
}

func (a *api) getStatus(w http.ResponseWriter, r *http.Request, name upload.Name) error {
	st, err := a.uploads.Status(r.Context(), name)
	if err != nil {
		return err
	}
	return a.writeStatus(w, http.StatusOK, st.Meta.ID)
}

func (a *api) writeStatus(w http.ResponseWriter, code int, id session.ID) error {
	s, err := a.liveStatus(id)
	if err != nil {
		return err
	}
	sendStatus(w, code, s)
	return nil
}

// liveStatus is the status of an upload that this replica holds.
func (a *api) liveStatus(id session.ID) (Status, error) {
	st, missing, err := a.uploads.Missing(id, session.MaxReportedRanges)
	if err != nil {
		return Status{}, err
	}
	missingChunks := st.Meta.Spec.Chunks() - st.Meta.HeldChunks
	if st.Result != nil && st.Result.HasObject() {
		missingChunks = 0 // of what was adopted nothing was received, and nothing is to be sent
	}
	return Status{
		Namespace: st.Grant.Name.Namespace, Name: st.Grant.Name.Name, UID: st.Meta.ID,
		State: stateOf(st.Meta), Key: st.Grant.Key,
		SizeBytes: st.Grant.Size, ChunkSizeBytes: st.Grant.ChunkSize,
		TotalChunks: st.Meta.Spec.Chunks(), ReceivedChunks: st.Meta.HeldChunks, ReceivedBytes: st.Meta.HeldBytes,
		LastActivityTime: timeOrNil(st.Meta.LastActivity), ExpirationTime: timeOrNil(expiration(st.Meta)),
		Missing: rangesOf(missing), MissingChunks: missingChunks, Result: resultOf(st.Result),
	}, nil
}

func sendStatus(w http.ResponseWriter, code int, s Status) {
	h := w.Header()
	h.Set("Slipway-State", string(s.State))
	h.Set("Slipway-Size-Bytes", strconv.FormatInt(s.SizeBytes, 10))
	h.Set("Slipway-Chunk-Size-Bytes", strconv.FormatInt(s.ChunkSizeBytes, 10))
	h.Set("Slipway-Total-Chunks", strconv.Itoa(s.TotalChunks))
	h.Set("Slipway-Received-Chunks", strconv.Itoa(s.ReceivedChunks))
	h.Set("Slipway-Received-Bytes", strconv.FormatInt(s.ReceivedBytes, 10))
	writeJSON(w, code, s)
}

func stateOf(m session.Meta) State {
	switch m.State {
	case session.Sealed:
		return StateCompleting
	case session.Finished:
		return StatePublished
	case session.Failed:
		return StateFailed
	case session.Aborted:
		return StateAborted
	case session.Expired:
		return StateExpired
	}
	if m.Paused {
		return StateSuspended
	}
	return StateActive
}

// expiration is when an upload expires if no further byte arrives; zero where
// it does not.
func expiration(m session.Meta) time.Time {
	if m.State.Ended() {
		return time.Time{}
	}
	at := m.Spec.Deadline
	if m.Spec.IdleTimeout > 0 && !m.Paused {
		idleFrom := m.Created
		if m.LastActivity.After(idleFrom) {
			idleFrom = m.LastActivity
		}
		if idle := idleFrom.Add(m.Spec.IdleTimeout); at.IsZero() || idle.Before(at) {
			at = idle
		}
	}
	return at
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func rangesOf(ranges []session.Range) []Range {
	rs := make([]Range, 0, len(ranges))
	for _, r := range ranges {
		rs = append(rs, Range(r))
	}
	return rs
}

func resultOf(r *upload.Result) *Result {
	if r == nil {
		return nil
	}
	return &Result{Reason: r.Reason, Message: r.Message, Digest: r.Digest, PublishedTime: timeOrNil(r.Published)}
}
