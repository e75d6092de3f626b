package upload

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Name is what clients call an upload by. Namespaces keep the names of
// different tenants apart.
type Name struct {
	Namespace, Name string
}

// String is the name as people read it.
func (n Name) String() string { return n.Namespace + "/" + n.Name }

// Grant is what the control plane lets a client upload, and on what terms. All
// but the timeouts and Suspended is fixed for one ID.
type Grant struct {
	// ID is the session's; a name that is used again comes with another.
	ID session.ID
	// Name is what clients call it by.
	Name Name
	// Key is where the object will appear; session.CheckName accepts it.
	Key string
	// Size is the exact size of the object, ChunkSize that of every chunk but the last, in bytes.
	Size, ChunkSize int64
	// Digest is what the object must have; empty where that is not known beforehand.
	Digest Digest
	// Algorithm is that of the object's digest; empty for that of Digest, or SHA256 where
	// neither is given.
	Algorithm Algorithm
	// Replace replaces what is under the key; otherwise that is a failure.
	Replace bool
	// Adopt takes what is under the key for the object where it has the size and the Digest, which is
	// given then; otherwise that is a failure. With Replace it counts for nothing.
	Adopt bool
	// Explicit waits for Complete; otherwise the last chunk starts completion.
	Explicit bool
	// Attributes are kept with the object.
	Attributes map[string]string
	// Reclaim removes the object when the control plane has given the session up, see
	// Service.Reclaim; otherwise it stays.
	Reclaim bool
	// IdleTimeout and Deadline end the upload, see session.Spec.
	IdleTimeout time.Duration
	Deadline    time.Time
	// Suspended uploads keep what they hold and take no chunks.
	Suspended bool
	// Users are the only ones whom the upload is for, by their names; nil where it is for whomever the
	// control plane lets in. It never changes.
	Users []string
}

// terms is what of a grant the core carries as its payload.
type terms struct {
	Key    string `json:"key"`
	Digest Digest `json:"digest,omitempty"`
	// Algorithm is left out where it is SHA256, as in every payload that was stored before
	// there was another: the terms of a session are compared byte by byte.
	Algorithm  Algorithm         `json:"algorithm,omitempty"`
	Replace    bool              `json:"replace,omitempty"`
	Explicit   bool              `json:"explicit,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Reclaim    bool              `json:"reclaim,omitempty"`
	Users      []string          `json:"users,omitempty"`
	Adopt      bool              `json:"adopt,omitempty"`
}

// spec makes the core's spec of a grant. The namespace owns the session and
// its name is the key by which the pending one is found again.
func (g Grant) spec() (session.Spec, error) {
	if err := session.CheckName(g.Key); err != nil {
		return session.Spec{}, err
	}
	if g.Adopt && g.Digest == "" {
		return session.Spec{}, fmt.Errorf("%w: nothing is adopted without a digest", session.ErrInvalid)
	}
	algorithm, err := g.algorithm()
	if err != nil {
		return session.Spec{}, err
	}
	if algorithm == SHA256 {
		algorithm = ""
	}
	payload, err := json.Marshal(terms{g.Key, g.Digest, algorithm, g.Replace, g.Explicit, g.Attributes, g.Reclaim, g.Users, g.Adopt})
	if err != nil {
		return session.Spec{}, fmt.Errorf("%w: %w", session.ErrInvalid, err)
	}
	return session.Spec{
		Owner: g.Name.Namespace, Key: g.Name.Name,
		Size: g.Size, ChunkSize: g.ChunkSize,
		IdleTimeout: g.IdleTimeout, Deadline: g.Deadline,
		Payload: payload,
	}, nil
}

// algorithm is that of the object's digest. session.ErrInvalid where it is not
// known, or not that of the digest which the object must have.
func (g Grant) algorithm() (Algorithm, error) {
	algorithm := cmp.Or(g.Algorithm, g.Digest.Algorithm(), SHA256)
	if !algorithm.known() {
		return "", fmt.Errorf("%w: there is no digest algorithm %q", session.ErrInvalid, algorithm)
	}
	if g.Digest == "" {
		return algorithm, nil
	}
	if _, err := ParseDigest(string(g.Digest)); err != nil {
		return "", err
	}
	if algorithm != g.Digest.Algorithm() {
		return "", fmt.Errorf("%w: digest %q is not of algorithm %s", session.ErrInvalid, g.Digest, algorithm)
	}
	return algorithm, nil
}

// grantOf reads the grant back from what the core carries.
func (s *Service) grantOf(m session.Meta) (Grant, error) {
	t, err := s.termsOf(m)
	if err != nil {
		return Grant{}, err
	}
	return t.grant(m), nil
}

// grant is what was granted on these terms.
func (t *terms) grant(m session.Meta) Grant {
	return Grant{
		ID: m.ID, Name: Name{Namespace: m.Spec.Owner, Name: m.Spec.Key},
		Key: t.Key, Size: m.Spec.Size, ChunkSize: m.Spec.ChunkSize,
		Digest: t.Digest, Algorithm: cmp.Or(t.Algorithm, SHA256), Replace: t.Replace, Explicit: t.Explicit, Attributes: t.Attributes, Reclaim: t.Reclaim,
		IdleTimeout: m.Spec.IdleTimeout, Deadline: m.Spec.Deadline, Suspended: m.Paused, Users: t.Users, Adopt: t.Adopt,
	}
}

// termsOf decodes the payload of a session once: it never changes, and is
// looked at several times for each request.
func (s *Service) termsOf(m session.Meta) (*terms, error) {
	if t, ok := s.terms.Load(m.ID); ok {
		return t.(*terms), nil //nolint:errcheck // nothing else is stored
	}
	t := &terms{}
	if err := json.Unmarshal(m.Spec.Payload, t); err != nil {
		return nil, fmt.Errorf("payload of session %s: %w", m.ID, err)
	}
	s.terms.Store(m.ID, t)
	if _, err := s.core.Get(m.ID); err != nil {
		s.terms.Delete(m.ID) // it was forgotten meanwhile
	}
	return t, nil
}
