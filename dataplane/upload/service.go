package upload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/slipway-dev/slipway/dataplane/session"
)

// Directory tells of uploads that are not known here: the control plane.
type Directory interface {
	// Lookup returns the grant of an upload, asking whoever knows for sure. ErrUnknown where
	// there is none, ErrNotReady where it is not admitted, ErrElsewhere where another replica
	// has it, ErrUnavailable where the question can't be answered now.
	Lookup(ctx context.Context, name Name) (Grant, error)
}

// Config is what a Service is made of.
type Config struct {
	// Core keeps the sessions. Its Recover is called by this package's.
	Core *session.Service
	// Publisher publishes what the core's sink keeps.
	Publisher session.Publisher
	// Derelicts is what other replicas left on the volume; nil where none share it.
	Derelicts session.Derelicts
	// Directory is asked about uploads that are not known here.
	Directory Directory
	// Clock is the core's; nil is session.SystemClock.
	Clock session.Clock
	// Log is told what nobody else is; nil is slog.Default.
	Log *slog.Logger
	// Changed is called after an upload made progress or ended, often and from many
	// goroutines; it returns at once. May be nil.
	Changed func(Name)
	// Ended is called once for each upload that ends while this process has it; it returns at
	// once. May be nil.
	Ended func(Status)
}

// Service is the operations on uploads. Its methods may be called
// concurrently, after Recover has returned.
type Service struct {
	core      *session.Service
	publisher session.Publisher
	derelicts session.Derelicts
	directory Directory
	clock     session.Clock
	log       *slog.Logger
	changed   func(Name)
	tellEnded func(Status)

	ctx        context.Context // of what goes on in the background, until Close
	cancel     context.CancelFunc
	running    sync.WaitGroup
	verifying  chan struct{} // held while an object is read to verify it
	hashing    chan struct{} // bounds how many frontiers advance at once
	publishing chan struct{} // bounds how many uploads are published at once
	buffers    sync.Pool     // of *[]byte, for reading chunks back

	terms sync.Map // session.ID -> *terms, decoded

	mu          sync.Mutex
	names       map[Name]session.ID
	frontiers   map[session.ID]*frontier
	completions map[session.ID]*completion
	retries     map[session.ID]time.Time // of failed completions, not before then
	lookups     map[Name]*lookup
	verdicts    map[session.ID]*verdict // on what earlier versions published
	adoptions   map[session.ID]context.CancelFunc
}

// NewService returns a service that knows no upload yet: call Recover next,
// and Close in the end.
func NewService(c Config) *Service {
	if c.Clock == nil {
		c.Clock = session.SystemClock{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Changed == nil {
		c.Changed = func(Name) {}
	}
	if c.Ended == nil {
		c.Ended = func(Status) {}
	}
	s := &Service{
		core: c.Core, publisher: c.Publisher, derelicts: c.Derelicts, directory: c.Directory, clock: c.Clock, log: c.Log,
		changed: c.Changed, tellEnded: c.Ended,
		hashing: make(chan struct{}, runtime.GOMAXPROCS(0)), publishing: make(chan struct{}, publishAtOnce),
		names: map[Name]session.ID{}, frontiers: map[session.ID]*frontier{},
		completions: map[session.ID]*completion{}, retries: map[session.ID]time.Time{}, lookups: map[Name]*lookup{},
		verdicts: map[session.ID]*verdict{}, adoptions: map[session.ID]context.CancelFunc{}, verifying: make(chan struct{}, 1),
	}
	s.buffers.New = func() any {
		b := make([]byte, readSize)
		return &b
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Close stops what goes on in the background and waits for it. What was
// acknowledged is durable without it.
func (s *Service) Close() {
	s.cancel()
	s.running.Wait()
}

// Recover takes up every upload that the volume holds. A publication that was
// cut short is finished if the object is under its key already. Uploads that
// can't be read come back joined in the error; all others are taken up.
func (s *Service) Recover(ctx context.Context) error {
	errs := []error{s.core.Recover(ctx)}
	newest := map[Name]session.Meta{}
	for m := range s.core.All(session.Everyone) {
		g, err := s.grantOf(m)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if other, ok := newest[g.Name]; !ok || m.Created.After(other.Created) {
			newest[g.Name] = m
			s.names[g.Name] = m.ID
		}
		if err := s.resume(ctx, m, g); err != nil {
			errs = append(errs, fmt.Errorf("resume session %s: %w", m.ID, err))
		}
	}
	return errors.Join(errs...)
}

// resume goes on with what the previous process was about.
func (s *Service) resume(ctx context.Context, m session.Meta, g Grant) error {
	if m.State.Ended() || !m.Complete() {
		return nil // Tend settles what ended; a client goes on with what is incomplete
	}
	published, err := s.publisher.Published(ctx, m.ID, g.Key)
	if err != nil {
		return err
	}
	if published || !g.Explicit {
		s.startCompletion(m.ID, "")
	}
	return nil
}

// Accept takes up what was granted, durably, or applies what changed of it:
// the timeouts and whether it is suspended. Accepting again does nothing. An
// upload that can never be published under its key, or adopts what is there, ends here, before a byte
// moves. ErrNameTaken where the name belongs to another ID (see Forget),
// session.ErrInvalid, session.ErrUnusableName, session.ErrConflict where the fixed terms differ,
// session.ErrNoSpace.
func (s *Service) Accept(ctx context.Context, g Grant) (Status, error) {
	spec, err := g.spec()
	if err != nil {
		return Status{}, err
	}
	if err := s.takeName(g.Name, g.ID); err != nil {
		return Status{}, err
	}
	m, added, err := s.core.Begin(ctx, g.ID, spec)
	if err == nil && m.ID != g.ID {
		err = &NameTakenError{Name: g.Name, ID: m.ID}
	}
	if err != nil {
		s.dropName(g.Name, g.ID)
		return Status{}, err
	}
	// Another call for the same session may have failed meanwhile and given the name up.
	if err := s.takeName(g.Name, g.ID); err != nil {
		return Status{}, err
	}
	if !m.State.Ended() {
		err = s.core.SetTimeouts(ctx, g.ID, g.IdleTimeout, g.Deadline)
	}
	if err == nil {
		err = s.core.SetPaused(ctx, g.ID, g.Suspended)
	}
	// Not only of a new one: the look at the volume may have failed the first time. Of one that
	// is complete, what is under the key may be its own object.
	if err == nil && m.State == session.Open && m.HeldChunks == 0 && !m.Complete() {
		err = s.refuseEarly(ctx, g)
	}
	if err != nil && !errors.Is(err, session.ErrEnded) {
		return Status{}, err
	}
	if added {
		s.changed(g.Name)
	}
	s.completeIfDue(g.ID)
	return s.statusByID(g.ID)
}

// refuseEarly ends an upload whose key can't be published under, or whose object is there already.
func (s *Service) refuseEarly(ctx context.Context, g Grant) error {
	err := s.publisher.Lookup(ctx, g.Key)
	switch exists := errors.Is(err, session.ErrExists); {
	case exists && g.Replace:
		return nil
	case exists && g.Adopt:
		return s.adoptEarly(ctx, g)
	}
	result, terminal := publishFailure(g, err)
	if !terminal {
		return err
	}
	m, err := s.core.Abort(ctx, g.ID, session.Failed, result.encode())
	s.ended(m)
	return err
}

// Cancel ends an upload and frees its bytes; an upload that ended already
// stays as it is. One that is being verified is interrupted; one that is being published right
// now, or may be under its key since an earlier attempt, wins: it is waited for, but not long, and
// session.ErrSealed means to cancel again later. On nil the end is durable, whoever brought it about.
func (s *Service) Cancel(ctx context.Context, id session.ID, reason Reason, message string) (Status, error) {
	result := Result{Reason: reason, Message: message}
	for {
		m, err := s.core.Abort(ctx, id, session.Aborted, result.encode())
		s.ended(m)
		switch {
		case errors.Is(err, session.ErrSealed):
			if err := s.interruptCompletion(ctx, id, result); err != nil {
				return Status{}, err
			}
			continue
		case errors.Is(err, session.ErrEnded):
			err = s.core.Settle(ctx, id)
		}
		if err != nil {
			return Status{}, err
		}
		return s.statusByID(id)
	}
}

// Forget ends an upload if it is active and removes all that is kept of it
// here; a published object stays, unless its grant says otherwise (see
// Reclaim). The caller knows that the control plane has no such session any
// more. Forgetting what is not known is no error.
func (s *Service) Forget(ctx context.Context, id session.ID) error {
	st, err := s.Cancel(ctx, id, Deleted, "the UploadSession was deleted")
	if err == nil {
		err = s.reclaim(ctx, st) // before what says whose object it is goes
	}
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		return err
	}
	if err := s.core.Remove(ctx, id); err != nil {
		return err
	}
	s.dropName(st.Grant.Name, id)
	s.dropTraces(id)
	s.dropVerdict(id)
	s.terms.Delete(id)
	return nil
}

// Space tells how much room the volume has, see session.Service.Space.
func (s *Service) Space(ctx context.Context) (session.Space, error) { return s.core.Space(ctx) }

// takeName claims a name for an ID.
func (s *Service) takeName(name Name, id session.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if holder, taken := s.names[name]; taken && holder != id {
		return &NameTakenError{Name: name, ID: holder}
	}
	s.names[name] = id
	return nil
}

// dropName gives up a name that has no session.
func (s *Service) dropName(name Name, id session.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.core.Get(id); err == nil {
		return
	}
	if s.names[name] == id {
		delete(s.names, name)
	}
}

// frontier returns the frontier of an upload, a new one where there is none.
func (s *Service) frontier(id session.ID) (*frontier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.frontiers[id]; f != nil {
		return f, nil
	}
	st, err := s.statusByID(id)
	if err != nil {
		return nil, err
	}
	f, err := newFrontier(s.core, st.Meta, newSum(st.Grant.Algorithm, st.Meta.Spec), &s.buffers)
	if err != nil {
		return nil, err
	}
	s.frontiers[id] = f
	return f, nil
}

// dropTraces drops what is only kept for active uploads.
func (s *Service) dropTraces(id session.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.frontiers, id)
	delete(s.retries, id)
	if interrupt := s.adoptions[id]; interrupt != nil {
		interrupt()
	}
}

// ended tells of the end of an upload, settled or not; the zero Meta is of none. Whoever
// ends one calls it once.
func (s *Service) ended(m session.Meta) {
	if m.ID == "" {
		return
	}
	s.dropTraces(m.ID)
	st, err := s.statusOf(m)
	if err != nil {
		s.log.Error("upload ended in a way that can't be told", "uid", m.ID, "error", err)
		return
	}
	s.log.Info("upload ended", "session", st.Grant.Name.String(), "uid", m.ID,
		"reason", st.Result.Reason, "key", st.Grant.Key)
	s.tellEnded(st)
	s.changed(st.Grant.Name)
}

func (s *Service) statusByID(id session.ID) (Status, error) {
	m, err := s.core.Get(id)
	if err != nil {
		return Status{}, err
	}
	return s.statusOf(m)
}
