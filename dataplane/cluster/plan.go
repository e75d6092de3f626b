package cluster

import (
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// plan is what becomes of an upload after a look at its session. At most one
// field is set; with none, what is known here only has to be reported.
type plan struct {
	// accept takes the upload up, or applies what changed of its grant.
	accept *upload.Grant
	// end ends the upload, which is active here.
	end *ending
	// release makes sure that the volume holds nothing of an upload that is not known here,
	// and reports it as ended without having begun.
	release *ending
	// reclaim removes the object that the upload published, and reports it as gone.
	reclaim bool
}

// planFor decides from a session that this replica holds and what is known here
// of the upload with its UID, nil where nothing is. A session that has a result
// is never taken up again.
func planFor(p place, s *v1alpha1.UploadSession, known *upload.Status) plan {
	switch e := endingOf(s); {
	case known != nil && known.Result != nil:
		return plan{reclaim: toReclaim(s, *known)}
	case e != nil && known != nil:
		return plan{end: e}
	case e != nil && s.Status.Result.Outcome == "":
		return plan{release: e}
	}
	grant, err := p.grantOf(s)
	if err != nil {
		return plan{} // it is over, and its status says so
	}
	return plan{accept: &grant}
}

// toReclaim reports whether the object of an upload that has ended is to be
// removed. Until the session says that it was, it is looked for again.
func toReclaim(s *v1alpha1.UploadSession, known upload.Status) bool {
	return !s.DeletionTimestamp.IsZero() && s.Status.ReclaimedTime.IsZero() &&
		known.Grant.Reclaim && known.Result.HasObject()
}
