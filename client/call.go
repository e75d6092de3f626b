package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// maxReply bounds what is read of a reply that is not content.
const maxReply = 4 << 20

// ErrStalled is returned of a request for which no byte moved for too long.
var ErrStalled = errors.New("no byte has moved for too long")

// request is one exchange with the dataplane.
type request struct {
	method string
	url    string
	header http.Header
	// body is sent again from its start with each attempt; nil for none.
	body []byte
	// sent is called with the bytes of the body as they leave; it may be nil.
	sent func(n int)
	// expect waits for the dataplane's leave before the body is sent.
	expect bool
}

// reply is one that was read to its end.
type reply struct {
	status int
	header http.Header
	// length is what the reply says of the size of its body, -1 where it says nothing.
	length int64
	body   []byte
}

// retryAfter is how long the reply asks to wait; 0 where it does not.
func (r reply) retryAfter() time.Duration { return retryAfter(r.header) }

// call makes the request once and reads the whole reply. One of 300 and above comes back as a *Problem.
func (c *Client) call(ctx context.Context, r request) (reply, error) {
	response, watch, err := c.start(ctx, r)
	if err != nil {
		return reply{}, err
	}
	defer watch.stop()
	body, err := io.ReadAll(io.LimitReader(watch.reading(response.Body), maxReply))
	if closed := response.Body.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return reply{}, watch.explain(err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return reply{}, problemOf(response, body)
	}
	return reply{response.StatusCode, response.Header, response.ContentLength, body}, nil
}

// start makes the request and returns the reply with its body unread, and what watches it, which is to be stopped. A
// 401 is answered with another token once, where the credentials have one.
func (c *Client) start(ctx context.Context, r request) (*http.Response, *watch, error) {
	token, err := c.credentials.Token(ctx, "")
	if err != nil {
		return nil, nil, final(err)
	}
	response, watch, err := c.once(ctx, r, token)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, watch, err
	}
	renewed, err := c.credentials.Token(ctx, token)
	if err != nil || renewed == token {
		return response, watch, nil //nolint:nilerr // the dataplane's own 401 says more
	}
	_ = response.Body.Close()
	watch.stop()
	return c.once(ctx, r, renewed)
}

func (c *Client) once(ctx context.Context, r request, token string) (*http.Response, *watch, error) {
	w, ctx := newWatch(ctx, stallAfter)
	var body io.Reader = http.NoBody
	if r.body != nil {
		body = w.sending(bytes.NewReader(r.body), r.sent)
	}
	request, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		w.stop()
		return nil, nil, final(err)
	}
	request.ContentLength = int64(len(r.body))
	for name, values := range r.header {
		request.Header[name] = values
	}
	request.Header.Set("User-Agent", "slipway-client")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if r.expect {
		request.Header.Set("Expect", "100-continue")
	}
	response, err := c.http.Do(request)
	if err != nil {
		defer w.stop()
		return nil, nil, w.explain(err)
	}
	return response, w, nil
}

// problemOf is the problem that a reply tells; one that is made up where the reply is somebody else's.
func problemOf(response *http.Response, body []byte) *Problem {
	p := &Problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Code == "" {
		p = &Problem{Title: fmt.Sprintf("%s, from something that is not a Slipway dataplane", response.Status)}
	}
	p.Status = response.StatusCode
	p.RequestID = response.Header.Get("X-Request-Id")
	p.RetryAfter = retryAfter(response.Header)
	return p
}

// retryAfter is the header of that name in seconds, which is what a dataplane sends; at most an hour.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 3600)) * time.Second
}

// watch ends a request for which no byte moves: a connection whose other end is gone says nothing by itself.
type watch struct {
	after  time.Duration
	cancel context.CancelCauseFunc
	ctx    context.Context
	mu     sync.Mutex
	timer  *time.Timer
}

func newWatch(parent context.Context, after time.Duration) (*watch, context.Context) {
	ctx, cancel := context.WithCancelCause(parent)
	w := &watch{after: after, cancel: cancel, ctx: ctx}
	w.timer = time.AfterFunc(after, func() { cancel(ErrStalled) })
	return w, ctx
}

func (w *watch) moved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() == nil {
		w.timer.Reset(w.after)
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.cancel(nil)
}

// explain says ErrStalled where that is why a request failed; what the caller's own context ended stays that.
func (w *watch) explain(err error) error {
	if errors.Is(context.Cause(w.ctx), ErrStalled) {
		return ErrStalled
	}
	return err
}

func (w *watch) sending(r io.Reader, sent func(int)) io.Reader { return &moving{r, w, sent} }
func (w *watch) reading(r io.Reader) io.Reader                 { return &moving{r, w, nil} }

// moving tells a watch of each read.
type moving struct {
	io.Reader
	watch *watch
	moved func(int)
}

// Read reads, and tells.
func (m *moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 {
		m.watch.moved()
		if m.moved != nil {
			m.moved(n)
		}
	}
	return n, err
}
