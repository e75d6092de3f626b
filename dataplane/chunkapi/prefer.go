package chunkapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// maxPreferredSeconds is more than anybody is let wait, and no overflow.
const maxPreferredSeconds = 3600

// preferredWait is how long a client prefers to wait for the result of what it
// asks, by RFC 7240, section 4.3. A preference that is malformed is ignored, as
// section 2 has it, and the first of several counts.
func preferredWait(h http.Header) (time.Duration, bool) {
	for _, field := range h.Values("Prefer") {
		for preference := range strings.SplitSeq(field, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, value, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 32)
			return time.Duration(min(seconds, maxPreferredSeconds)) * time.Second, err == nil
		}
	}
	return 0, false
}

// awaitResult waits for the end of an upload that ends by itself with the chunk that was just
// stored. It returns nil where there is nothing to wait for, or it takes too long: the chunk is
// stored all the same. An upload that ended without an object is the error that completion gives.
func (a *api) awaitResult(ctx context.Context, id session.ID, wait time.Duration) (*Result, error) {
	st, err := a.uploads.Known(id)
	if err != nil {
		return nil, nil //nolint:nilerr // it was forgotten meanwhile; the chunk was stored
	}
	if st.Result == nil && (st.Grant.Explicit || st.Meta.HeldChunks < st.Meta.Spec.Chunks()) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	st, err = a.uploads.Complete(ctx, st.Grant.Name, "")
	switch {
	case st.Meta.ID != id: // the name was used again meanwhile
	case err == nil:
		return resultOf(st.Result), nil
	case errors.Is(err, session.ErrEnded):
		return nil, err
	}
	return nil, nil
}
