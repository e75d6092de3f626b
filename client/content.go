package client

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// ErrUnverified is returned where the digest of what was read is of an algorithm that this client does not compute.
var ErrUnverified = errors.New("the digest cannot be computed here")

// ErrDigest is returned where what was read does not have the object's digest.
var ErrDigest = errors.New("what was read does not have the digest of the object")

// Content is what is known of a published object without reading it.
type Content struct {
	SizeBytes int64
	// Digest is the verified one of the whole object, such as "sha256:9f86...".
	Digest string
	// etag tells this object from any other that is under the key later.
	etag string
}

// Stat asks for the size and the digest of the published object. Where there is none it returns a *Problem with
// CodeNotPublished, CodeSessionEnded or CodeObjectReplaced.
func (s *Session) Stat(ctx context.Context) (*Content, error) {
	c := &Content{}
	op := s.operation(newPatience(s.client.patience))
	err := op.run(ctx, func(ctx context.Context, _ int) error {
		// A reply to HEAD has no problem to read: ask for the first byte instead.
		got, err := s.client.call(ctx, request{
			method: http.MethodGet, url: s.contentURL(), header: http.Header{"Range": {"bytes=0-0"}},
		})
		if p := (*Problem)(nil); errors.As(err, &p) && p.Status == http.StatusRequestedRangeNotSatisfiable {
			got, err = s.client.call(ctx, request{method: http.MethodGet, url: s.contentURL()}) // it is empty
		}
		if err != nil {
			return err
		}
		return c.read(got)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (s *Session) contentURL() string { return s.URL() + "/content" }

// read takes what a reply tells of the object.
func (c *Content) read(got reply) error {
	if err := c.readSize(got); err != nil {
		return err
	}
	digest, err := parseReprDigest(got.header.Get("Repr-Digest"))
	c.Digest = digest
	return err
}

// readSize takes the size of the object and what tells it from another.
func (c *Content) readSize(got reply) error {
	c.etag = got.header.Get("ETag")
	c.SizeBytes = got.length
	if r := got.header.Get("Content-Range"); r != "" {
		_, total, _ := strings.Cut(r, "/")
		size, err := strconv.ParseInt(total, 10, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("the reply's Content-Range is %q", r)
		}
		c.SizeBytes = size
	}
	if c.etag == "" || c.SizeBytes < 0 {
		return errors.New("the reply lacks an ETag or a size")
	}
	return nil
}

// parseReprDigest is the opposite of reprDigest, for the one member that a dataplane sends.
func parseReprDigest(field string) (string, error) {
	name, value, ok := strings.Cut(field, "=")
	value, isBytes := strings.CutPrefix(value, ":")
	value, ends := strings.CutSuffix(value, ":")
	sum, err := base64.StdEncoding.DecodeString(value)
	if !ok || !isBytes || !ends || err != nil || len(sum) == 0 {
		return "", fmt.Errorf("the reply's Repr-Digest is %q", field)
	}
	if name == "sha-256" {
		name = "sha256"
	}
	return name + ":" + hex.EncodeToString(sum), nil
}

// readRange has the bytes of the object from first to last (both counted) written with write, which gets consecutive
// parts. After a failure it goes on with what is left.
func (s *Session) readRange(
	ctx context.Context, c *Content, first, last int64, op operation, write func([]byte) error,
) error {
	return s.client.readRange(ctx, s.contentURL, c, first, last, op, write)
}

// readRange reads from where url says at each attempt.
func (c *Client) readRange(
	ctx context.Context, url func() string, of *Content, first, last int64, op operation, write func([]byte) error,
) error {
	buffer := make([]byte, 256<<10)
	at := first
	return op.run(ctx, func(ctx context.Context, _ int) error {
		header := http.Header{"If-Match": {of.etag}}
		if first > 0 || last < of.SizeBytes-1 || at > first {
			header.Set("Range", fmt.Sprintf("bytes=%d-%d", at, last))
		}
		response, watch, err := c.start(ctx, request{method: http.MethodGet, url: url(), header: header})
		if err != nil {
			return err
		}
		defer watch.stop()
		defer func() { _ = response.Body.Close() }() // it was only read
		if response.StatusCode >= http.StatusMultipleChoices {
			body, _ := io.ReadAll(io.LimitReader(watch.reading(response.Body), maxReply))
			return problemOf(response, body)
		}
		if header.Get("Range") != "" && response.StatusCode != http.StatusPartialContent {
			return final(errors.New("the reply to a range is the whole: something in between drops Range"))
		}
		body := watch.reading(response.Body)
		for at <= last {
			n, err := body.Read(buffer[:min(int64(len(buffer)), last-at+1)])
			if n > 0 {
				if err := write(buffer[:n]); err != nil {
					return final(err)
				}
				at += int64(n)
				op.patience.moved()
			}
			if err != nil && at <= last {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return watch.explain(err)
			}
		}
		return nil
	})
}

// Copy writes the published object to w from front to back, and verifies it. Where it returns an error, what was
// written is not to be used. It goes on by itself where a connection breaks.
func (s *Session) Copy(ctx context.Context, w io.Writer) (*Content, error) {
	c, err := s.Stat(ctx)
	if err != nil {
		return nil, err
	}
	sum, err := s.client.hashOf(c.Digest)
	if err != nil {
		return nil, err
	}
	if c.SizeBytes > 0 {
		op := s.operation(newPatience(s.client.patience))
		err := s.readRange(ctx, c, 0, c.SizeBytes-1, op, func(p []byte) error {
			_, _ = sum.Write(p) // never fails
			_, err := w.Write(p)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return c, sum.matches(c.Digest)
}
