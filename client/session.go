package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// ErrEnded is returned where a session has ended without an object; errors.As finds a *Problem or an *EndedError that
// says how.
var ErrEnded = errors.New("the session has ended without an object")

// EndedError says how a session ended without an object.
type EndedError struct{ Status Status }

// Error says how.
func (e *EndedError) Error() string {
	if r := e.Status.Result; r != nil {
		return fmt.Sprintf("session %s is %s: %s: %s", e.Status.Name, e.Status.State, r.Reason, r.Message)
	}
	return fmt.Sprintf("session %s is %s", e.Status.Name, e.Status.State)
}

// Is reports whether target is ErrEnded.
func (e *EndedError) Is(target error) bool { return target == ErrEnded }

// Session is one session at its dataplane. It may be used concurrently.
type Session struct {
	client *Client
	name   string

	mu       sync.Mutex
	endpoint *url.URL
}

// Name is the name of the UploadSession.
func (s *Session) Name() string { return s.name }

// URL is where the session is served, as far as is known.
func (s *Session) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endpoint.JoinPath("v1/namespaces", s.client.namespace, "uploadsessions", s.name).String()
}

// Create makes a session, or finds the one that an earlier call of the same caller made with the same key, and waits
// until it is admitted. key is 1 to 255 printable ASCII characters; where it is empty a new session is made, once,
// however often the request has to be repeated. waiting is called with the status each time that the session still
// waits for admission; it may be nil. A session that has ended already is returned with its status, and no error.
//
// On return the session is an UploadSession in the cluster.
func (c *Client) Create(ctx context.Context, key string, spec Spec, waiting func(Status)) (*Session, *Status, error) {
	if key == "" {
		key = rand.Text()
	}
	body, err := json.Marshal(spec)
	if err != nil {
		return nil, nil, err
	}
	r := request{
		method: http.MethodPost, body: body,
		url:    c.endpoint.JoinPath("v1/namespaces", c.namespace, "uploadsessions").String(),
		header: http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {quoted(key)}},
	}
	op := operation{client: c, patience: newPatience(c.patience)}
	for {
		var status Status
		var got reply
		err := op.run(ctx, func(ctx context.Context, _ int) error {
			var err error
			if got, err = c.call(ctx, r); err != nil {
				return err
			}
			status = Status{}
			return decode(got.body, &status)
		})
		if err != nil {
			return nil, nil, err
		}
		if status.State != StateQueued {
			// Not where Location says: that replica may be out of reach from here, and each one forwards requests.
			s, err := c.Open(status.Name)
			return s, &status, err
		}
		if waiting != nil {
			waiting(status)
		}
		op.patience.moved()
		if err := c.wait(ctx, max(got.retryAfter(), time.Second)); err != nil {
			return nil, nil, err
		}
	}
}

// quoted is the key as the structured field that Idempotency-Key is.
func quoted(key string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
}

// Status asks how far the session is.
func (s *Session) Status(ctx context.Context) (*Status, error) {
	return s.status(ctx, s.operation(newPatience(s.client.patience)))
}

func (s *Session) operation(p *patience) operation {
	return operation{client: s.client, patience: p, elsewhere: s.resolve}
}

func (s *Session) status(ctx context.Context, op operation) (*Status, error) {
	st := &Status{}
	err := op.run(ctx, func(ctx context.Context, _ int) error {
		got, err := s.client.call(ctx, request{method: http.MethodGet, url: s.URL()})
		if err != nil {
			return err
		}
		*st = Status{}
		return decode(got.body, st)
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}

// resolve asks where the session is served now.
func (s *Session) resolve(ctx context.Context) {
	if s.client.resolve == nil {
		return
	}
	where, err := s.client.resolve(ctx, s.name)
	if err != nil {
		return // the old place may still come back
	}
	u, err := parseEndpoint(where)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoint = u
}

// Follow asks for the status every interval (at least 100 milliseconds) until the session has ended, and calls told
// with each. It returns the last one.
func (s *Session) Follow(ctx context.Context, interval time.Duration, told func(Status)) (*Status, error) {
	for {
		st, err := s.Status(ctx)
		if err != nil {
			return nil, err
		}
		if told != nil {
			told(*st)
		}
		if st.State.Ended() {
			return st, nil
		}
		if err := s.client.wait(ctx, max(interval, 100*time.Millisecond)); err != nil {
			return nil, err
		}
	}
}

// Complete asks for the object to be verified and published, and waits for that. digest, such as "sha256:9f86...", is
// compared with the object's; it may be empty. On return the object is published durably. A session that lacks chunks
// returns a *Problem with CodeIncomplete.
func (s *Session) Complete(ctx context.Context, digest string) (*Status, error) {
	return s.complete(ctx, digest, s.operation(newPatience(s.client.patience)))
}

func (s *Session) complete(ctx context.Context, digest string, op operation) (*Status, error) {
	header := http.Header{}
	if digest != "" {
		field, err := reprDigest(digest)
		if err != nil {
			return nil, err
		}
		header.Set("Repr-Digest", field)
	}
	for {
		var st Status
		var got reply
		err := op.run(ctx, func(ctx context.Context, _ int) error {
			var err error
			got, err = s.client.call(ctx, request{method: http.MethodPost, url: s.URL() + "/complete", header: header})
			if p := (*Problem)(nil); errors.As(err, &p) && p.Code == CodeDigestMismatch {
				return final(err) // of the object, which another request does not change
			}
			if err != nil {
				return err
			}
			st = Status{}
			return decode(got.body, &st)
		})
		switch {
		case err != nil:
			return nil, err
		case got.status == http.StatusOK:
			return &st, nil
		}
		op.patience.moved() // it is being verified
		if err := s.client.wait(ctx, max(got.retryAfter(), 100*time.Millisecond)); err != nil {
			return nil, err
		}
	}
}

// Abort ends the session; its bytes are removed. It succeeds as well where the session was aborted before.
func (s *Session) Abort(ctx context.Context) error {
	op := s.operation(newPatience(s.client.patience))
	return op.run(ctx, func(ctx context.Context, _ int) error {
		_, err := s.client.call(ctx, request{method: http.MethodDelete, url: s.URL()})
		return err
	})
}

// reprDigest is a digest of the API as the field Repr-Digest of RFC 9530.
func reprDigest(digest string) (string, error) {
	algorithm, sum, ok := strings.Cut(digest, ":")
	b, err := hex.DecodeString(sum)
	if !ok || err != nil || len(b) == 0 {
		return "", fmt.Errorf("%q is not an algorithm and a digest in hexadecimal, as in sha256:9f86", digest)
	}
	if algorithm == "sha256" {
		algorithm = "sha-256"
	}
	return algorithm + "=:" + base64.StdEncoding.EncodeToString(b) + ":", nil
}

// decode reads a reply; one that is no JSON came from something else than a dataplane.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the reply is not a dataplane's: %w", err)
	}
	return nil
}
