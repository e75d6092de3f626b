package upload

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Reason is why an upload ended, as the control plane names it.
type Reason string

// The reasons.
const (
	Published        Reason = "Published"
	Adopted          Reason = "Adopted" // the object was under its key already
	Cancelled        Reason = "Cancelled"
	Deleted          Reason = "Deleted"
	ClientAborted    Reason = "Aborted"
	IdleTimeout      Reason = "IdleTimeout"
	DeadlineExceeded Reason = "DeadlineExceeded"
	DigestMismatch   Reason = "DigestMismatch"
	KeyExists        Reason = "KeyExists"
	KeyUnusable      Reason = "KeyUnusable"
)

// Result is how an upload ended.
type Result struct {
	// Reason is why; Published and Adopted are the only good ones.
	Reason Reason `json:"reason"`
	// Message is why and what to do next, for people.
	Message string `json:"message,omitempty"`
	// Digest is the verified digest of the published object.
	Digest Digest `json:"digest,omitempty"`
	// Published is when the object appeared under its key, or was adopted.
	Published time.Time `json:"published,omitzero"`
	// ModTime is when the object's bytes were last written. Objects of one time are not the same: see Identity.
	ModTime time.Time `json:"modTime,omitzero"`
	// Identity is the object's, see session.Publisher. Of earlier versions' it proves nothing, and
	// the first of them recorded none.
	Identity string `json:"identity,omitempty"`
}

// HasObject reports whether the upload ended with an object under its key.
func (r Result) HasObject() bool { return r.Reason == Published || r.Reason == Adopted }

func (r Result) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil { // strings and times always marshal
		panic(fmt.Sprintf("marshal result: %v", err))
	}
	return b
}

// Status is what is known of an upload at one moment.
type Status struct {
	// Grant is what was granted.
	Grant Grant
	// Meta is what the core knows.
	Meta session.Meta
	// Result is how it ended; nil while it is active.
	Result *Result
}

func (s *Service) statusOf(m session.Meta) (Status, error) {
	g, err := s.grantOf(m)
	if err != nil {
		return Status{}, err
	}
	return statusWith(g, m)
}

// statusWith reads the result of an upload whose grant is known.
func statusWith(g Grant, m session.Meta) (Status, error) {
	st := Status{Grant: g, Meta: m}
	if m.State.Ended() {
		st.Result = &Result{}
		if err := json.Unmarshal(m.Outcome, st.Result); err != nil {
			return Status{}, fmt.Errorf("outcome of session %s: %w", m.ID, err)
		}
	}
	return st, nil
}
