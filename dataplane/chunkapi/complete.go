package chunkapi

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// maxCompleteBody bounds the body of a request to complete in bytes. It has no
// meaning, but some clients can't post without one.
const maxCompleteBody = 4 << 10

// completePoll is after how many seconds to ask again while an upload is verified.
const completePoll = "1"

func (a *api) complete(w http.ResponseWriter, r *http.Request, name upload.Name) error {
	said, err := readStated(r, ofComplete)
	if err != nil {
		return err
	}
	if err := a.skipBody(w, r, said); err != nil {
		return err
	}
	// It may have to be asked for, which is no part of the wait below.
	st, err := a.uploads.Status(r.Context(), name)
	if err != nil {
		return err
	}
	want, err := comparedWith(said.whole, st.Grant.Algorithm)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.completeWait)
	defer cancel()
	st, err = a.uploads.Complete(ctx, name, want)
	if err == nil {
		return a.writeStatus(w, http.StatusOK, st.Meta.ID)
	}
	if ctx.Err() == nil || r.Context().Err() != nil {
		return err
	}
	if st, err = a.uploads.Status(r.Context(), name); err != nil {
		return err
	}
	w.Header().Set("Retry-After", completePoll)
	return a.writeStatus(w, http.StatusAccepted, st.Meta.ID)
}

// skipBody reads a body that has no meaning to its end, after which net/http
// watches whether the client is still there.
func (a *api) skipBody(w http.ResponseWriter, r *http.Request, said stated) error {
	if r.ContentLength == 0 {
		return said.checkBody(nil) // net/http watches already, and its deadline is not ours
	}
	if r.ContentLength > maxCompleteBody {
		return refuse(CodeBodyTooLarge, "")
	}
	incoming := newIncomingBody(w, r, a.idle, func() bool { return true })
	defer incoming.release(w, r)
	body, err := io.ReadAll(io.LimitReader(incoming, maxCompleteBody+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", session.ErrBody, err)
	case len(body) > maxCompleteBody:
		return refuse(CodeBodyTooLarge, "")
	}
	return said.checkBody(body)
}
