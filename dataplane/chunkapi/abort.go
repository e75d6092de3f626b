package chunkapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func (a *api) abort(w http.ResponseWriter, r *http.Request, name upload.Name) error {
	// A client that asks and goes means it all the same. Only the wait for a completion is bounded:
	// an end that has begun is made durable, however long that takes.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	wait := time.AfterFunc(a.completeWait, func() {
		if st, err := a.uploads.Find(name); err == nil && st.Meta.State == session.Sealed {
			cancel()
		}
	})
	defer wait.Stop()
	err := a.uploads.Abort(ctx, name)
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		st, err := a.uploads.Known(ended.Meta.ID)
		if err != nil || st.Result == nil { // it ended before this replica ever held it
			return refuse(CodeAlreadyEnded, "it ended as %s", stateOf(ended.Meta))
		}
		return refuseEnded(kindWith(CodeAlreadyEnded), st)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return refuse(CodeCompleting, "")
	case err != nil:
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
