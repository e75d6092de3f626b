package chunkapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// DefaultMaxReaders is how many requests read content at once. Each of them takes little but its connection, of which
// some are left for others.
const DefaultMaxReaders = 1024

// read takes a place among those who read what is published, by a session or a store of that name; done gives it back.
func (a *api) read(w http.ResponseWriter, r *http.Request, name upload.Name) (done func(), err error) {
	client, _ := w.(*reply)
	pace, ok := a.readers.Take(r.Context(), callerOf(r).User+" "+name.String(), client.cutOff)
	if !ok {
		return nil, refuse(CodeBusy, "%d requests are reading content", a.readers.Len())
	}
	client.pace = pace
	return func() { a.readers.Free(pace) }, nil
}

func (a *api) getContent(w http.ResponseWriter, r *http.Request, name upload.Name) error {
	done, err := a.read(w, r, name)
	if err != nil {
		return err
	}
	defer done()
	object, st, err := a.uploads.Open(r.Context(), name)
	if err != nil {
		return err
	}
	defer func() { _ = object.Close() }() // it was only read
	a.serveObject(w, r, object, st.Result.Digest, fmt.Sprintf("%q", st.Result.Digest))
	return nil
}

// serveObject sends an object, or the part of it that is asked for. Its digest is empty where it is not known.
func (a *api) serveObject(w http.ResponseWriter, r *http.Request, object session.Object, digest upload.Digest, tag string) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "private, no-cache") // another object may be there at the next time
	h.Set("ETag", tag)
	if digest != "" {
		h.Set(reprDigestHeader, formatDigest(digest))
	}
	dropEmptyRanges(r.Header, object.Size())
	dropDatedRange(r.Header)
	http.ServeContent(&contentReply{ResponseWriter: w, fail: func(status int) {
		a.failContent(w, r, status)
	}}, r, "", object.ModTime(), object)
}

// dropEmptyRanges drops the ranges of the last no bytes, which nothing
// satisfies (RFC 9110, section 14.1.2): http.ServeContent would serve none, as
// a range that ends before it begins. Where no other is left it is one beyond the end.
func dropEmptyRanges(h http.Header, size int64) {
	ranges, ok := strings.CutPrefix(h.Get("Range"), "bytes=")
	if !ok {
		return
	}
	all := strings.Split(ranges, ",")
	some := slices.DeleteFunc(slices.Clone(all), func(s string) bool {
		length, isSuffix := strings.CutPrefix(strings.TrimSpace(s), "-")
		return isSuffix && length != "" && strings.Trim(strings.TrimSpace(length), "0") == ""
	})
	switch {
	case len(some) == len(all):
		return
	case len(some) == 0:
		some = []string{fmt.Sprintf("%d-", size)}
	}
	h.Set("Range", "bytes="+strings.Join(some, ","))
}

// dropDatedRange drops the range of who goes by a time whether the object is the
// same. Times are in seconds, and objects of one second are not the same (RFC 9110, section 13.1.5).
func dropDatedRange(h http.Header) {
	if validator := h.Get("If-Range"); validator != "" && !strings.HasPrefix(validator, `"`) {
		h.Del("Range")
	}
}

// failContent says as a problem what http.ServeContent says in its own words.
func (a *api) failContent(w http.ResponseWriter, r *http.Request, status int) {
	w.Header().Del(reprDigestHeader) // it is not about the problem
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		a.fail(w, r, refuse(CodeInvalidRange, ""))
	case http.StatusPreconditionFailed:
		a.fail(w, r, refuse(CodePreconditionFailed, ""))
	default:
		a.fail(w, r, fmt.Errorf("serving an object failed with status %d", status))
	}
}

// contentReply is the response that http.ServeContent writes to, but for its errors.
type contentReply struct {
	http.ResponseWriter
	fail   func(status int)
	failed bool
}

// WriteHeader sends the header, or fails.
func (w *contentReply) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.failed = true
	w.fail(status)
}

// Write writes what is no error.
func (w *contentReply) Write(p []byte) (int, error) {
	if w.failed {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}
