package chunkapi

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/slipway-dev/slipway/dataplane/fair"
	"github.com/slipway-dev/slipway/dataplane/session"
)

// checkJSON looks at the header of a request whose body is to be JSON of at
// most limit bytes, before any of it is read, and returns what it says of the body. What is its name.
func checkJSON(r *http.Request, what string, limit int64) (stated, error) {
	said, err := readStated(r, ofJSON)
	if err != nil {
		return said, err
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return said, refuse(CodeUnsupportedMediaType, "the Content-Type is %q", r.Header.Get("Content-Type"))
	}
	if r.ContentLength > limit {
		return said, refuse(CodeBodyTooLarge, "a %s has at most %d bytes", what, limit)
	}
	return said, nil
}

// pacedBody is the body of a request that holds a slot.
type pacedBody struct {
	io.ReadCloser
	pace *fair.Member
}

// Read reads.
func (b *pacedBody) Read(p []byte) (int, error) {
	b.pace.Await()
	n, err := b.ReadCloser.Read(p)
	b.pace.Moved(n)
	return n, err
}

// readJSON reads the body, for which a client has as long as it may be idle. Pace is that of the slot which is
// held meanwhile, or nil.
func readJSON(
	w http.ResponseWriter, r *http.Request, what string, limit int64, said stated, pace *fair.Member,
) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, &pacedBody{r.Body, pace}, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, refuse(CodeBodyTooLarge, "a %s has at most %d bytes", what, limit)
	}
	if err != nil {
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // what comes next on it is not a request
		}
		return nil, fmt.Errorf("%w: %w", session.ErrBody, err)
	}
	return body, said.checkBody(body)
}
