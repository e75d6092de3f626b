package chunkapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// Forwarder sends requests on to the replica that holds their upload. It may be
// called concurrently.
type Forwarder interface {
	// Forward has the owner answer a request about an upload. It returns an error only where it
	// wrote nothing. Header fields that w has already stay as they are. upload.ErrAway,
	// upload.ErrUnavailable.
	Forward(w http.ResponseWriter, r *http.Request, name upload.Name, owner string) error
}

// ForwardedHeader marks a request that one replica has sent on to another: it
// goes no further.
const ForwardedHeader = "Slipway-Forwarded"

// DefaultMaxForwarded is how many requests are sent on at once. Their chunks wait for their turn at the
// owner, so there are more than are received at once.
const DefaultMaxForwarded = 512

// forward has the owner answer a request that was found to be another
// replica's; err says so. It is called where nothing was written.
func (a *api) forward(w http.ResponseWriter, r *http.Request, name upload.Name, err error) error {
	elsewhere, ok := errors.AsType[*upload.ElsewhereError](err)
	if !ok || a.forwarder == nil || len(r.Header.Values(ForwardedHeader)) > 0 {
		return err
	}
	body := newIncomingBody(w, r, a.idle, func() bool { return true })
	client, _ := w.(*reply)
	pace, ok := a.forwarding.Take(r.Context(), name.String(), func() {
		body.interrupt(errTooSlow)
		client.cutOff()
	})
	if !ok {
		return refuse(CodeBusy, "%d requests are being sent on to other replicas", a.forwarding.Len())
	}
	defer a.forwarding.Free(pace)
	body.pace, client.pace = pace, pace
	if credentials, _ := r.Context().Value(credentialsKey{}).([]string); len(credentials) > 0 {
		r.Header["Authorization"] = credentials
	}
	r.Header.Set(ForwardedHeader, "1")
	r.Header.Set(requestIDHeader, w.Header().Get(requestIDHeader))
	if r.Body == nil || r.Body == http.NoBody {
		return a.forwarder.Forward(w, r, name, elsewhere.Replica)
	}
	seen, _ := r.Body.(*seenBody)
	if seen != nil && seen.lost {
		return err // it can't be sent again
	}
	defer body.release(w, r)
	out := *r
	out.Body = io.NopCloser(seen.again(body))
	err = a.forwarder.Forward(&forwardedReply{ResponseWriter: w, request: r, body: body}, &out, name, elsewhere.Replica)
	if cause := body.failure(); err != nil && cause != nil {
		return fmt.Errorf("%w: %w", session.ErrBody, cause)
	}
	return err
}

// forwardedReply is what the owner answers. It is the last on its connection
// where the owner did not want the whole body.
type forwardedReply struct {
	http.ResponseWriter
	request *http.Request
	body    *incomingBody
}

// WriteHeader sends the header.
func (w *forwardedReply) WriteHeader(status int) {
	if w.request.ProtoMajor == 1 && w.body.unfinished() {
		w.Header().Set("Connection", "close")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *forwardedReply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// maxSeen bounds what is kept of a body that was read before the owner was known, in bytes: that is
// never a chunk's.
const maxSeen = max(maxTicketRequest, maxCompleteBody) + 1

// seenBody is a small body that can be read again from its beginning.
type seenBody struct {
	io.ReadCloser
	seen bytes.Buffer
	lost bool // more was read than is kept
}

// Read reads on.
func (b *seenBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.seen.Len()+n > maxSeen {
		b.lost = true
	} else {
		b.seen.Write(p[:n])
	}
	return n, err
}

// again is the body from its beginning, where rest is what was not read yet.
func (b *seenBody) again(rest io.Reader) io.Reader {
	if b == nil {
		return rest
	}
	return io.MultiReader(bytes.NewReader(bytes.Clone(b.seen.Bytes())), rest)
}
