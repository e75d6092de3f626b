package rig

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
)

// requestBound is how long a request may take while the dataplane lives:
// longer than it waits for anything but a client.
const requestBound = 45 * time.Second

// errHung means that a request had no reply within requestBound.
var errHung = fmt.Errorf("no reply within %s", requestBound)

// Reply is what came back for one request.
type Reply struct {
	// Status is the HTTP status; 0 where no reply came.
	Status int
	// Code is the problem's; empty where the reply is none.
	Code chunkapi.Code
	// Body is the body as far as it could be read.
	Body []byte
	// Header is the reply's.
	Header http.Header
	// Err is why no whole reply came.
	Err error
}

// OK reports whether the reply is a 2xx.
func (r Reply) OK() bool { return r.Status/100 == 2 }

// String is the reply as a history shows it.
func (r Reply) String() string {
	switch {
	case r.Status == 0:
		return fmt.Sprintf("no reply (%v)", r.Err)
	case r.Code != "":
		return fmt.Sprintf("%d %s", r.Status, r.Code)
	}
	return fmt.Sprint(r.Status)
}

// Live is the live status in the reply.
func (r Reply) Live() (chunkapi.Status, error) {
	var st chunkapi.Status
	if r.Err != nil {
		return st, r.Err
	}
	if !r.OK() {
		return st, errors.New(r.String())
	}
	err := json.Unmarshal(r.Body, &st)
	return st, err
}

// Stored is what a reply says of a chunk that was taken.
func (r Reply) Stored() (stored chunkapi.Stored) {
	_ = json.Unmarshal(r.Body, &stored) // a body that was cut off says what it says
	return stored
}

// Problem is the problem in the reply.
func (r Reply) Problem() chunkapi.Problem {
	var p chunkapi.Problem
	_ = json.Unmarshal(r.Body, &p) // a body that was cut off says what it says
	return p
}

// Client speaks the chunk protocol to one address.
type Client struct {
	world *World
	base  func() string // URL
	http  *http.Client
}

// Client is one that makes a new connection to the address for each request.
func (w *World) Client(address string) *Client {
	return &Client{
		world: w, base: func() string { return "http://" + address },
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// Path is where a session is, on any dataplane of the world.
func (w *World) Path(s *Session) string {
	return "/v1/namespaces/" + w.Namespace + "/uploadsessions/" + s.Name
}

// Request is one request about a session.
type Request struct {
	Method string
	// Path comes after the session's.
	Path   string
	Header map[string]string
	// Body has Length bytes, or fails before; nil for none.
	Body   io.Reader
	Length int64
	// Headed is called the moment the status of the reply was read; it may be nil.
	Headed func(status int)
}

// Do sends a request about a session.
func (c *Client) Do(ctx context.Context, s *Session, r Request) Reply {
	ctx, cancel := context.WithTimeoutCause(ctx, requestBound, errHung)
	defer cancel()
	reply := c.do(ctx, s, r)
	if reply.Err != nil && errors.Is(context.Cause(ctx), errHung) {
		reply.Err = errHung
	}
	return reply
}

func (c *Client) do(ctx context.Context, s *Session, r Request) Reply {
	request, err := http.NewRequestWithContext(ctx, r.Method, c.base()+c.world.Path(s)+r.Path, r.Body)
	if err != nil {
		return Reply{Err: err}
	}
	request.ContentLength = r.Length
	for name, value := range r.Header {
		request.Header.Set(name, value)
	}
	s.oracle.Requests.Add(1)
	response, err := c.http.Do(request)
	if err != nil {
		return Reply{Err: err}
	}
	if r.Headed != nil {
		r.Headed(response.StatusCode)
	}
	defer func() { _ = response.Body.Close() }() // it was read
	reply := Reply{Status: response.StatusCode, Header: response.Header}
	reply.Body, reply.Err = io.ReadAll(response.Body)
	if !reply.OK() {
		reply.Code = reply.Problem().Code
	}
	return reply
}

// Put sends a chunk of this content with its right digest, or none, and tells
// the oracle before and after. With every other chunk it waits for the result.
func (c *Client) Put(ctx context.Context, s *Session, index int, content []byte, digest bool) Reply {
	header := map[string]string{}
	if digest {
		header["Content-Digest"] = ContentDigest(content)
	}
	if (s.seed>>1+uint64(index))%2 == 0 {
		header["Prefer"] = "wait=10"
	}
	s.Sending(index, content)
	return c.Do(ctx, s, Request{
		Method: http.MethodPut, Path: ChunkPath(index), Header: header, Body: bytes.NewReader(content), Length: int64(len(content)),
		Headed: func(status int) {
			if status/100 == 2 {
				s.Acknowledged(index, content)
			}
		},
	})
}

// Status asks for the live status.
func (c *Client) Status(ctx context.Context, s *Session) (chunkapi.Status, Reply) {
	reply := c.Do(ctx, s, Request{Method: http.MethodGet})
	st, err := reply.Live()
	if err != nil {
		reply.Err = err
	}
	return st, reply
}

// ChunkPath is where a chunk is sent to, after the session's path.
func ChunkPath(index int) string { return fmt.Sprintf("/chunks/%d", index) }

// ContentDigest is the field value for these bytes.
func ContentDigest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}
