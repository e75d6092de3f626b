package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Store is the objects of an UploadStore by their keys, which outlive their sessions. It may be used concurrently. What it
// does needs rights of its own, on uploadstores/objects.
type Store struct {
	client *Client
	name   string
}

// Store returns the objects of the store with a name; nothing is asked yet. The client's endpoint is one of that store.
func (c *Client) Store(name string) *Store { return &Store{client: c, name: name} }

func (s *Store) url(key string) string {
	elements := strings.Split(key, "/")
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	return s.objectsURL() + "/" + strings.Join(elements, "/")
}

// objectsURL is where the objects are listed.
func (s *Store) objectsURL() string {
	return s.client.endpoint.JoinPath("v1/namespaces", s.client.namespace, "uploadstores", s.name, "objects").String()
}

// ObjectInfo is what is known of an object without reading it.
type ObjectInfo struct {
	// Key, ModifiedTime and Published are what List tells; Stat and Copy leave them empty.
	Key string
	// IsPrefix says that this is no object but what several keys begin with, up to a slash. Nothing but Key is set then.
	IsPrefix bool

	SizeBytes int64
	// Digest is such as "sha256:9f86..."; empty where none is recorded.
	Digest string
	// ETag tells this object from any other that is under the key later.
	ETag string
	// ModifiedTime is when its bytes were last written.
	ModifiedTime time.Time
	// Published is whether a session published it and nobody changed it since, as far as the volume keeps what tells that.
	Published bool
}

// Stat asks for the size and the digest of the object under a key. Where there is none it returns a *Problem with
// CodeUnknownObject.
func (s *Store) Stat(ctx context.Context, key string) (*ObjectInfo, error) {
	info := &ObjectInfo{}
	err := s.run(ctx, func(ctx context.Context) error {
		// A reply to HEAD has no problem to read: ask for the first byte instead.
		got, err := s.client.call(ctx, request{method: http.MethodGet, url: s.url(key), header: http.Header{"Range": {"bytes=0-0"}}})
		if p := (*Problem)(nil); errors.As(err, &p) && p.Status == http.StatusRequestedRangeNotSatisfiable {
			got, err = s.client.call(ctx, request{method: http.MethodGet, url: s.url(key)}) // it is empty
		}
		if err != nil {
			return err
		}
		*info, err = infoOf(got)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// infoOf is what a reply tells of an object.
func infoOf(got reply) (ObjectInfo, error) {
	c := Content{}
	read := c.readSize
	if got.header.Get("Repr-Digest") != "" {
		read = c.read
	}
	err := read(got)
	return ObjectInfo{SizeBytes: c.SizeBytes, Digest: c.Digest, ETag: c.etag}, err
}

// Copy writes the object under a key to w from front to back, and verifies it where its digest is recorded; where none is,
// the ObjectInfo has none. Where it returns an error, what was written is not to be used. It goes on by itself
// where a connection breaks, and fails with CodePreconditionFailed where the object is replaced meanwhile.
func (s *Store) Copy(ctx context.Context, key string, w io.Writer) (*ObjectInfo, error) {
	info, err := s.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	var sum digesting
	if info.Digest != "" {
		if sum, err = s.client.hashOf(info.Digest); err != nil {
			return nil, err
		}
	}
	if info.SizeBytes > 0 {
		op := operation{client: s.client, patience: newPatience(s.client.patience)}
		c := &Content{SizeBytes: info.SizeBytes, etag: info.ETag}
		err := s.client.readRange(ctx, func() string { return s.url(key) }, c, 0, info.SizeBytes-1, op, func(p []byte) error {
			if info.Digest != "" {
				_, _ = sum.Write(p) // never fails
			}
			_, err := w.Write(p)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if info.Digest == "" {
		return info, nil
	}
	return info, sum.matches(info.Digest)
}

// Remove removes the object under a key: the one with the ETag, or where that is empty whatever a session published there.
// On return it is gone durably, by this call or an earlier one. It returns a *Problem with CodePreconditionFailed
// where another object is there, and with CodeNotOurs where no session published it.
func (s *Store) Remove(ctx context.Context, key, etag string) error {
	header := http.Header{}
	if etag != "" {
		header.Set("If-Match", etag)
	}
	return s.run(ctx, func(ctx context.Context) error {
		_, err := s.client.call(ctx, request{method: http.MethodDelete, url: s.url(key), header: header})
		if p := (*Problem)(nil); errors.As(err, &p) && p.Code == CodeUnknownObject {
			return nil
		}
		return err
	})
}

func (s *Store) run(ctx context.Context, f func(context.Context) error) error {
	op := operation{client: s.client, patience: newPatience(s.client.patience)}
	return op.run(ctx, func(ctx context.Context, _ int) error { return f(ctx) })
}
