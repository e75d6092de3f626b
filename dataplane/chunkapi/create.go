package chunkapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

const (
	collectionPath = "/v1/namespaces/{namespace}/uploadsessions"
	// maxSpec bounds the spec of a session in bytes; the API server's own bounds on the fields come
	// to much less.
	maxSpec = 256 << 10
	// maxConcurrentCreates bounds the requests to create that are served or wait at once, and with
	// maxSpec the memory that they take.
	maxConcurrentCreates = 128
	// queuedPoll is after how many seconds to ask again for a session that is queued.
	queuedPoll = 5
)

// create creates a session, or finds the one that the same request created
// before, and waits for a while until it is admitted.
func (a *api) create(w http.ResponseWriter, r *http.Request, name upload.Name) error {
	want, said, err := a.wanted(r, name.Namespace)
	if err != nil {
		return err
	}
	client, _ := w.(*reply)
	pace, ok := a.creating.Take(r.Context(), "", func() { _ = client.setReadDeadline(past()) })
	if !ok {
		return refuse(CodeBusy, "%d requests to create a session are being served", a.creating.Len())
	}
	defer a.creating.Free(pace)
	if want.Spec, err = readJSON(w, r, "spec", maxSpec, said, pace); err != nil {
		return err
	}
	created, err := a.creator.Create(r.Context(), want)
	if err != nil {
		return err
	}
	ctx, cancel := a.creationWait(r.Context())
	defer cancel()
	if created, err = a.creator.Await(ctx, created); err != nil {
		return err
	}
	return a.writeCreated(w, r, created)
}

// wanted is what the header asks for, and what it says of the body, before any of that is read.
func (a *api) wanted(r *http.Request, namespace string) (upload.CreateRequest, stated, error) {
	want := upload.CreateRequest{Namespace: namespace, Owner: callerOf(r).User}
	said, err := checkJSON(r, "spec", maxSpec)
	if err == nil {
		want.Key, err = idempotencyKey(r.Header)
	}
	return want, said, err
}

// creationWait is the context of the wait for admission.
func (a *api) creationWait(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, a.createWait)
	go func() {
		select {
		case <-a.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// writeCreated tells how the session stands: live where this replica holds it.
func (a *api) writeCreated(w http.ResponseWriter, r *http.Request, c upload.Created) error {
	s := statusOfCreated(c)
	if c.Waits == nil {
		// Whatever is in the way here is told to the client's next request; the session is there.
		if st, err := a.uploads.Status(r.Context(), c.Name); err == nil && st.Meta.ID == c.ID {
			if live, err := a.liveStatus(st.Meta.ID); err == nil {
				s = live
			}
		}
	}
	// Before the admission the path alone, on the replica that was asked: it knows no more.
	w.Header().Set("Location", c.Endpoint+"/v1/namespaces/"+c.Name.Namespace+"/uploadsessions/"+c.Name.Name)
	if s.State == StateQueued {
		w.Header().Set("Retry-After", strconv.Itoa(queuedPoll))
	}
	code := http.StatusCreated
	if c.Found {
		code = http.StatusOK
	}
	sendStatus(w, code, s)
	return nil
}

// statusOfCreated is the status of a session of which this replica holds
// nothing: that of a new one, unless it has ended.
func statusOfCreated(c upload.Created) Status {
	s := Status{
		Namespace: c.Name.Namespace, Name: c.Name.Name, UID: c.ID, Key: c.Key,
		SizeBytes: c.Size, ChunkSizeBytes: c.ChunkSize, State: StateActive, Missing: []Range{},
	}
	if c.ChunkSize > 0 {
		s.TotalChunks = session.Spec{Size: c.Size, ChunkSize: c.ChunkSize}.Chunks()
	}
	switch {
	case c.Result != nil:
		s.State, s.Result = stateOf(session.Meta{State: c.State}), resultOf(c.Result)
		if s.State == StatePublished && c.Result.Reason != upload.Adopted {
			s.ReceivedChunks, s.ReceivedBytes = s.TotalChunks, s.SizeBytes
		}
		return s
	case c.Waits != nil:
		s.State, s.Waiting = StateQueued, &Waiting{Reason: c.Waits.Reason, Message: c.Waits.Message}
	case c.Suspended:
		s.State = StateSuspended
	}
	if s.MissingChunks = s.TotalChunks; s.MissingChunks > 0 {
		s.Missing = []Range{{First: 0, Last: s.TotalChunks - 1}}
	}
	return s
}
