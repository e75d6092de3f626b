package uploadsession

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/heartbeat"
	"github.com/slipway-dev/slipway/liveness"
)

// The model is an API server, a cache that lags behind it, a volume for each
// store, a dataplane and the operator's own queue, handlers and plans. Only the
// transport is left out: a write happens, is refused, is lost with or without
// effect, or stays on its way while others overtake it.

// In a normal run; -rapid.checks and -rapid.steps say otherwise.
const modelChecks, modelSteps = "150", "80"

const modelCapacity, modelReserve = 100, 10

// server is the truth.
type server struct {
	version  int64
	sessions map[string]*v1alpha1.UploadSession
	stores   map[string]*v1alpha1.UploadStore
	quotas   map[string]*v1alpha1.UploadQuota
	leases   map[string]*coordinationv1.Lease
	objects  map[string]int64 // bytes published in a store's volume
}

// modelEvent is a change that the cache has yet to see.
type modelEvent struct {
	before, after client.Object // nil where it comes or goes
}

// write is a plan that is being carried out.
type write struct {
	session *v1alpha1.UploadSession // as it was observed
	plan    plan
	granted bool
	// asked is how much of allowed there was when it was granted.
	asked map[string]int
}

type operatorModel struct {
	t      *rapid.T
	now    time.Time
	server server
	// pending are the changes since the cache is what it is; cached is the cache.
	pending  []modelEvent
	cached   map[string]client.Object
	queue    *Queue
	replicas *liveness.Observer
	work     map[types.NamespacedName]bool
	writing  map[string]*write // by session
	late     []*write          // lost writes that may happen yet
	// allowed is what each quota allowed, as the queue came to know it.
	allowed map[string][]v1alpha1.UploadQuotaSpec
	known   map[string]*v1alpha1.UploadQuota
	ended   map[types.UID]bool
	created int
	steps   *int
}

func newModel(t *rapid.T, steps *int) *operatorModel {
	m := &operatorModel{
		t: t, now: noon, cached: map[string]client.Object{}, work: map[types.NamespacedName]bool{}, writing: map[string]*write{},
		allowed: map[string][]v1alpha1.UploadQuotaSpec{}, known: map[string]*v1alpha1.UploadQuota{}, ended: map[types.UID]bool{}, steps: steps,
		server: server{
			sessions: map[string]*v1alpha1.UploadSession{}, stores: map[string]*v1alpha1.UploadStore{}, quotas: map[string]*v1alpha1.UploadQuota{},
			leases: map[string]*coordinationv1.Lease{}, objects: map[string]int64{},
		},
	}
	m.beatAll()
	for _, name := range []string{"s", "t"} {
		m.setStore(name, true)
	}
	m.lead()
	return m
}

// modelClock is the model's time.
type modelClock struct{ *operatorModel }

func (c modelClock) Now() time.Time { return c.now }

func (c modelClock) Since(t time.Time) time.Duration { return c.now.Sub(t) }

func kindOf(obj client.Object) string { return fmt.Sprintf("%T/%s", obj, obj.GetName()) }

// changes lets the truth change; the cache will see it in time.
func (m *operatorModel) changes(before, after client.Object) {
	if after != nil {
		m.server.version++
		after.SetResourceVersion(strconv.FormatInt(m.server.version, 10))
	}
	e := modelEvent{}
	if before != nil {
		e.before = before.DeepCopyObject().(client.Object) //nolint:errcheck // a copy is of the same kind
	}
	if after != nil {
		e.after = after.DeepCopyObject().(client.Object) //nolint:errcheck // as above
	}
	m.pending = append(m.pending, e)
}

// edit changes a session.
func (m *operatorModel) edit(name string, f func(*v1alpha1.UploadSession)) {
	before := m.server.sessions[name]
	after := before.DeepCopy()
	f(after)
	m.server.sessions[name] = after
	m.changes(before, after)
	if !after.DeletionTimestamp.IsZero() && len(after.Finalizers) == 0 {
		delete(m.server.sessions, name)
		m.changes(after, nil)
	}
	if admission.Finished(after) {
		m.ended[after.UID] = true
	} else if m.ended[after.UID] {
		m.t.Fatalf("session %s was finished and is no more", name)
	}
}

func (m *operatorModel) setStore(name string, ready bool) {
	after := store(func(s *v1alpha1.UploadStore) {
		s.Name, s.UID, s.Spec.Volume.ClaimName = name, types.UID(name), name
		s.Spec.Limits.MinFreeBytes = ptr.To[int64](modelReserve)
	}, available(modelCapacity), replicas(modelReplicas[name]...))
	if !ready {
		after.Status.Conditions[0].Status, after.Status.Replicas = metav1.ConditionFalse, nil
	}
	if before := m.server.stores[name]; before != nil {
		m.changes(before, after)
	} else {
		m.changes(nil, after)
	}
	m.server.stores[name] = after
}

// modelReplicas are the replicas of each store; those of one share its volume.
var modelReplicas = map[string][]string{"s": {"s-0", "s-1"}, "t": {"t-0"}}

// beatAll lets all replicas look at their volumes.
func (m *operatorModel) beatAll() {
	for _, store := range slices.Sorted(maps.Keys(modelReplicas)) {
		for _, name := range modelReplicas[store] {
			m.beat(store, name)
		}
	}
}

// beat lets a store's replica look at its volume.
func (m *operatorModel) beat(store, name string) {
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ml", Name: heartbeat.LeaseName(name), Labels: map[string]string{v1alpha1.StoreLabel: store},
			Annotations: map[string]string{
				v1alpha1.EndpointAnnotation: "http://10.0.0.1:8443", v1alpha1.CapacityBytesAnnotation: "100",
				v1alpha1.AvailableBytesAnnotation: strconv.FormatInt(modelCapacity-m.server.objects[store], 10),
			},
		},
		Spec: coordinationv1.LeaseSpec{RenewTime: ptr.To(metav1.NewMicroTime(m.now)), LeaseDurationSeconds: ptr.To[int32](1 << 30)},
	}
	if before := m.server.leases[name]; before != nil {
		m.changes(before, lease)
	} else {
		m.changes(nil, lease)
	}
	m.server.leases[name] = lease
}

// modelWork stands for the controller's: it takes requests and drops none.
type modelWork struct {
	requests
	add func(reconcile.Request)
}

// Add takes a request.
func (q modelWork) Add(r reconcile.Request) { q.add(r) }

func (m *operatorModel) enqueue(r reconcile.Request) { m.work[r.NamespacedName] = true }

// deliver lets the cache see the next change, and the handlers after it.
func (m *operatorModel) deliver() {
	if len(m.pending) == 0 {
		return
	}
	e := m.pending[0]
	m.pending = m.pending[1:]
	q := modelWork{add: m.enqueue}
	ctx := context.Background()
	var h handler.EventHandler
	switch obj := cmp.Or(e.after, e.before).(type) {
	case *v1alpha1.UploadSession:
		h = onSessions(m.queue)
	case *v1alpha1.UploadStore:
		h = onStores(m.queue)
	case *v1alpha1.UploadQuota:
		h = onQuotas(m.queue)
		known := m.known[obj.Name]
		switch older, err := newer(known, obj); {
		case err != nil:
			m.t.Fatal(err)
		case e.after == nil && known != nil && known.UID == obj.UID:
			m.knows(&v1alpha1.UploadQuota{ObjectMeta: obj.ObjectMeta})
		case e.after != nil && !older:
			m.knows(obj)
		}
	case *coordinationv1.Lease:
		h = onLeases(m.queue)
	}
	switch {
	case e.after == nil:
		delete(m.cached, kindOf(e.before))
		h.Delete(ctx, crevent.DeleteEvent{Object: e.before}, q)
	case e.before == nil:
		m.cached[kindOf(e.after)] = e.after
		h.Create(ctx, crevent.CreateEvent{Object: e.after}, q)
	default:
		m.cached[kindOf(e.after)] = e.after
		h.Update(ctx, crevent.UpdateEvent{ObjectOld: e.before, ObjectNew: e.after}, q)
	}
}

// lead begins a leadership. Writes of the one before are bounded in time, so
// that none of them is on its way any more. The new leader's cache is its own,
// and may be as old as the last.
func (m *operatorModel) lead() {
	m.writing, m.late, m.work = map[string]*write{}, nil, map[types.NamespacedName]bool{}
	m.queue, m.replicas = NewQueue(live{&m.server}, ""), liveness.NewObserver(modelClock{m})
	m.queue.wake = m.enqueue
	for _, obj := range m.cached {
		q := modelWork{add: m.enqueue}
		switch obj.(type) {
		case *v1alpha1.UploadSession:
			onSessions(m.queue).Create(context.Background(), crevent.CreateEvent{Object: obj}, q)
		case *v1alpha1.UploadStore:
			onStores(m.queue).Create(context.Background(), crevent.CreateEvent{Object: obj}, q)
		case *v1alpha1.UploadQuota:
			onQuotas(m.queue).Create(context.Background(), crevent.CreateEvent{Object: obj}, q)
		case *coordinationv1.Lease:
			onLeases(m.queue).Create(context.Background(), crevent.CreateEvent{Object: obj}, q)
		}
	}
	if err := m.queue.fill(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	for _, q := range m.server.quotas {
		m.knows(q)
	}
	for name, known := range m.known {
		if m.server.quotas[name] == nil { // it went, and nobody will see that it did
			m.knows(&v1alpha1.UploadQuota{ObjectMeta: known.ObjectMeta})
		}
	}
}

// knows takes note of what the queue came to know of a quota.
func (m *operatorModel) knows(q *v1alpha1.UploadQuota) {
	m.known[q.Name] = q
	m.allowed[q.Name] = append(m.allowed[q.Name], q.Spec)
}

// newer reports whether the first of two versions, if there is one, is the newer one.
func newer(a, b *v1alpha1.UploadQuota) (bool, error) {
	if a == nil {
		return false, nil
	}
	first, err := strconv.Atoi(a.ResourceVersion)
	if err != nil {
		return false, err
	}
	second, err := strconv.Atoi(b.ResourceVersion)
	return first > second, err
}

// begin is the first half of a reconcile: what it observes and plans.
func (m *operatorModel) begin(key types.NamespacedName) {
	delete(m.work, key)
	if key.Name == "" {
		if m.queue.look(key.Namespace, m.now) > 0 {
			m.work[key] = true
		}
		return
	}
	o, err := observe(context.Background(), cacheOf{m.cached}, m.queue, m.replicas, key, m.now)
	if apierrors.IsNotFound(err) {
		return
	} else if err != nil {
		m.t.Fatal(err)
	}
	m.writing[key.Name] = &write{
		session: o.session, plan: planFor(o, m.now), granted: o.granted.Replica != "", asked: m.seen(),
	}
}

// seen is a moment in what the queue came to know of quotas.
func (m *operatorModel) seen() map[string]int {
	seen := map[string]int{}
	for name, specs := range m.allowed {
		seen[name] = len(specs)
	}
	return seen
}

type fault int

const (
	goesWell fault = iota
	isRefused
	isLost          // and has no effect
	isLostButWorked // only its answer was lost
	isLostAndLate   // it works later, if it still can
)

// finish is the second half: the writes, and what the queue is told.
func (m *operatorModel) finish(name string, f fault) {
	w := m.writing[name]
	delete(m.writing, name)
	key := types.NamespacedName{Namespace: "ml", Name: name}
	var outcome admission.Settled
	if w.granted {
		defer func() { m.queue.settle(w.session, outcome) }()
	}
	version := w.session.ResourceVersion
	again := func() { m.work[key] = true }
	if w.plan.addFinalizer {
		if !m.matches(w.session, version) {
			again()
			return
		}
		m.edit(name, finalizer)
		version = m.server.sessions[name].ResourceVersion
	}
	if w.plan.status != nil {
		w.session.ResourceVersion = version
		switch {
		case f == isRefused:
			again()
			return
		case f == isLost, f == isLostAndLate, f == isLostButWorked:
			switch f {
			case isLostButWorked:
				m.writeStatus(w)
			case isLostAndLate:
				m.late = append(m.late, w)
			}
			outcome = admission.Settled{Lost: true, Against: version}
			again()
			return
		case !m.writeStatus(w):
			again()
			return
		}
		outcome.Version = m.server.sessions[name].ResourceVersion
		version = outcome.Version
	}
	if w.plan.removeFinalizer {
		if !m.matches(w.session, version) {
			again()
			return
		}
		if s := m.server.sessions[name]; admission.Reclaims(s) && m.now.Before(s.DeletionTimestamp.Add(freeWithin)) {
			m.t.Fatalf("session %s goes before its object does", name)
		}
		m.edit(name, func(s *v1alpha1.UploadSession) { s.Finalizers = nil })
	}
}

func (m *operatorModel) matches(s *v1alpha1.UploadSession, version string) bool {
	now := m.server.sessions[s.Name]
	return now != nil && now.UID == s.UID && now.ResourceVersion == version
}

// writeStatus is the API server's part; false is a conflict.
func (m *operatorModel) writeStatus(w *write) bool {
	if !m.matches(w.session, w.session.ResourceVersion) {
		return false
	}
	admits := !admission.Admitted(w.session) && w.plan.status.Admission.Replica != ""
	m.edit(w.session.Name, func(s *v1alpha1.UploadSession) {
		progress, result, reclaimed := s.Status.Progress, s.Status.Result, s.Status.ReclaimedTime
		s.Status = *w.plan.status.DeepCopy()
		s.Status.Progress, s.Status.Result, s.Status.ReclaimedTime = progress, result, reclaimed
	})
	if admits {
		m.checkAdmission(w)
	}
	return true
}

// taken is what is held in truth by the sessions that match.
func (m *operatorModel) taken(match func(*v1alpha1.UploadSession) bool) (sessions, bytes int64) {
	for _, s := range m.server.sessions {
		if admission.Holds(s) && match(s) {
			sessions++
			bytes += *s.Status.Admission.ReservedBytes
		}
	}
	return sessions, bytes
}

// checkAdmission: with this admission no quota is exceeded that was known
// when it was granted, and the volume holds it.
func (m *operatorModel) checkAdmission(w *write) {
	store, owner := w.session.Spec.StoreRef.Name, w.session.Spec.Owner
	_, reserved := m.taken(func(s *v1alpha1.UploadSession) bool { return s.Spec.StoreRef.Name == store })
	if reserved+m.server.objects[store] > modelCapacity-modelReserve {
		m.t.Fatalf("volume %s: %d reserved and %d published are more than %d", store, reserved, m.server.objects[store], modelCapacity-modelReserve)
	}
	// A quota that changed since is compared with the most it allowed meanwhile.
	for name, specs := range m.allowed {
		if w.asked[name] == 0 {
			continue
		}
		since := specs[w.asked[name]-1:]
		if slices.ContainsFunc(since, func(q v1alpha1.UploadQuotaSpec) bool {
			return q.StoreRef != since[0].StoreRef || (q.Hard == v1alpha1.UploadQuotaHard{})
		}) {
			continue // it came, went or was another's meanwhile
		}
		of := since[0].StoreRef.Name
		if of != "" && of != store {
			continue
		}
		counted := func(s *v1alpha1.UploadSession) bool { return of == "" || s.Spec.StoreRef.Name == of }
		sessions, bytes := m.taken(counted)
		ownSessions, ownBytes := m.taken(func(s *v1alpha1.UploadSession) bool { return counted(s) && s.Spec.Owner == owner })
		exceeded := func(hard func(v1alpha1.UploadQuotaHard) *int64, taken int64) bool {
			return !slices.ContainsFunc(since, func(q v1alpha1.UploadQuotaSpec) bool { return hard(q.Hard) == nil || taken <= *hard(q.Hard) })
		}
		takesBytes := *w.session.Spec.SizeBytes > 0
		if exceeded(hardSessions, sessions) || exceeded(hardOwnSessions, ownSessions) ||
			takesBytes && (exceeded(hardBytes, bytes) || exceeded(hardOwnBytes, ownBytes)) {
			m.t.Fatalf("quota %s is exceeded by %s: %d sessions (%d of %q), %d bytes (%d)", name, w.session.Name, sessions, ownSessions, owner, bytes, ownBytes)
		}
	}
}

func widen(n *int32) *int64 {
	if n == nil {
		return nil
	}
	return ptr.To(int64(*n))
}

func hardSessions(h v1alpha1.UploadQuotaHard) *int64    { return widen(h.ActiveSessions) }
func hardOwnSessions(h v1alpha1.UploadQuotaHard) *int64 { return widen(h.ActiveSessionsPerOwner) }
func hardBytes(h v1alpha1.UploadQuotaHard) *int64       { return h.ReservedBytes }
func hardOwnBytes(h v1alpha1.UploadQuotaHard) *int64    { return h.ReservedBytesPerOwner }

// rest lets everything come to an end without faults: every write, every
// change, every request.
func (m *operatorModel) rest() {
	// The replicas look at their volumes, later than anything was published.
	m.now = m.now.Add(2 * time.Second)
	m.beatAll()
	for _, w := range m.late {
		m.writeStatus(w)
	}
	m.late = nil
	for i := 0; ; i++ {
		if i > 20000 {
			m.t.Fatalf("the operator never rests: %v", slices.Collect(maps.Keys(m.work)))
		}
		switch {
		case len(m.pending) > 0:
			m.deliver()
		case len(m.writing) > 0:
			m.finish(slices.Sorted(maps.Keys(m.writing))[0], goesWell)
		case len(m.work) > 0:
			for key := range m.work {
				m.begin(key)
				break
			}
		default:
			return
		}
	}
}

// checkRest: what must hold when nothing is under way.
func (m *operatorModel) checkRest() {
	for name, s := range m.server.sessions {
		// Replaying any reconcile changes nothing.
		o, err := observe(context.Background(), cacheOf{m.cached}, m.queue, m.replicas, types.NamespacedName{Namespace: "ml", Name: name}, m.now)
		if err != nil {
			m.t.Fatalf("observe %s again: %v", name, err)
		}
		if o.granted.Replica != "" {
			m.t.Fatalf("session %s may start and nobody told it", name)
		}
		if p := planFor(o, m.now); p.addFinalizer || p.status != nil || p.removeFinalizer || p.event != nil || p.remove {
			m.t.Fatalf("session %s: a reconcile that is replayed writes %+v\nwhere it was %+v\nand would be %+v", name, p, ownStatus(o.session), p.status)
		}
		if admission.Asks(s) {
			m.checkReason(s)
		}
	}
	// Nothing is leaked: another leader would know the same.
	mine, others := m.queue, NewQueue(live{&m.server}, "")
	if err := others.fill(context.Background()); err != nil {
		m.t.Fatal(err)
	}
	dump := func(q *Queue) (all string) {
		q.with("ml", func(l *admission.Ledger) { all = l.Dump("ml") })
		return all
	}
	if a, b := dump(mine), dump(others); a != b {
		m.t.Fatalf("the ledger is\n%s\nand a new one would be\n%s", a, b)
	}
}

// checkReason: what a session is told is true, and it waits only if it must.
func (m *operatorModel) checkReason(s *v1alpha1.UploadSession) {
	c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAdmitted)
	if c == nil {
		m.t.Fatalf("session %s waits and is not told why", s.Name)
	}
	st := m.server.stores[s.Spec.StoreRef.Name]
	notReady := st.Status.Conditions[0].Status != metav1.ConditionTrue
	if (c.Reason == v1alpha1.ReasonStoreNotReady) != notReady {
		m.t.Fatalf("session %s is told %s, and the store is ready: %v", s.Name, c.Reason, !notReady)
	}
	if notReady {
		return
	}
	size, earlier := *s.Spec.SizeBytes, false
	for _, other := range m.server.sessions {
		before := cmp.Or(other.CreationTimestamp.Compare(s.CreationTimestamp.Time), cmp.Compare(other.Name, s.Name)) < 0
		earlier = earlier || before && admission.Asks(other) && m.server.stores[other.Spec.StoreRef.Name].Status.Replicas != nil
	}
	lacks := false
	check := func(words string, hard, taken, needs int64) {
		short := taken+needs > hard
		lacks = lacks || short
		if strings.Contains(c.Message, words) && !short && !earlier {
			m.t.Fatalf("session %s is told %q, and %d of %d are taken", s.Name, c.Message, taken, hard)
		}
	}
	store := s.Spec.StoreRef.Name
	_, reserved := m.taken(func(o *v1alpha1.UploadSession) bool { return o.Spec.StoreRef.Name == store })
	check(fmt.Sprintf("in UploadStore %q", store), modelCapacity-modelReserve-m.server.objects[store], reserved, size)
	named := strings.Contains(c.Message, "UploadStore")
	for name, q := range m.server.quotas {
		of := q.Spec.StoreRef.Name
		if of != "" && of != store {
			continue
		}
		named = named || strings.Contains(c.Message, fmt.Sprintf("UploadQuota %q", name))
		counted := func(o *v1alpha1.UploadSession) bool { return of == "" || o.Spec.StoreRef.Name == of }
		sessions, bytes := m.taken(counted)
		ownSessions, ownBytes := m.taken(func(o *v1alpha1.UploadSession) bool { return counted(o) && o.Spec.Owner == s.Spec.Owner })
		for _, l := range []struct {
			words       string
			hard        *int64
			taken, need int64
		}{
			{"activeSessions", hardSessions(q.Spec.Hard), sessions, 1},
			{"activeSessionsPerOwner", hardOwnSessions(q.Spec.Hard), ownSessions, 1},
			{"reservedBytes", hardBytes(q.Spec.Hard), bytes, size},
			{"reservedBytesPerOwner", hardOwnBytes(q.Spec.Hard), ownBytes, size},
		} {
			if l.hard != nil {
				check(fmt.Sprintf("Waits for %s of UploadQuota %q", l.words, name), *l.hard, l.taken, l.need)
			}
		}
		if hard := q.Spec.Hard.ObjectBytes; hard != 0 && size > hard {
			lacks = true
		}
	}
	if !named {
		m.t.Fatalf("session %s is told %q, and no such quota holds", s.Name, c.Message)
	}
	if !lacks && !earlier {
		m.t.Fatalf("session %s waits for nothing: %s", s.Name, c.Message)
	}
}

// serve ends all that is admitted, again and again, until nobody else starts:
// then nobody may wait who could ever start.
func (m *operatorModel) serve() {
	for _, name := range []string{"s", "t"} {
		m.setStore(name, true)
	}
	for range 1000 {
		m.rest()
		m.checkRest()
		ended := false
		for _, name := range slices.Sorted(maps.Keys(m.server.sessions)) {
			if s := m.server.sessions[name]; admission.Holds(s) {
				m.end(name, v1alpha1.UploadOutcomeAborted)
				ended = true
			}
		}
		if !ended {
			break
		}
	}
	for name, s := range m.server.sessions {
		if admission.Asks(s) {
			c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAdmitted)
			if !strings.Contains(c.Message, "others don't wait for it") && !admission.Holds(s) {
				m.t.Fatalf("session %s waits for ever: %s", name, c.Message)
			}
		}
	}
}

// end is the dataplane's word.
func (m *operatorModel) end(name string, outcome v1alpha1.UploadOutcome) {
	if outcome == v1alpha1.UploadOutcomePublished {
		m.server.objects[m.server.sessions[name].Spec.StoreRef.Name] += *m.server.sessions[name].Spec.SizeBytes
	}
	m.edit(name, func(s *v1alpha1.UploadSession) {
		s.Status.Result = v1alpha1.UploadSessionResult{
			Outcome: outcome, Reason: string(outcome), FinishedTime: metav1.NewTime(m.now.Truncate(time.Second)),
		}
		if outcome == v1alpha1.UploadOutcomePublished {
			s.Status.Result.PublishedTime = metav1.NewTime(m.now.Truncate(time.Second))
		}
	})
}

func (m *operatorModel) pick(label string, match func(*v1alpha1.UploadSession) bool) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.server.sessions)) {
		if match(m.server.sessions[name]) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		m.t.Skip("no such session")
	}
	return rapid.SampledFrom(names).Draw(m.t, label)
}

// seldom skips most of the times what would end all that is under way.
func seldom(t *rapid.T) {
	if rapid.IntRange(0, 7).Draw(t, "not now") > 0 {
		t.Skip("not now")
	}
}

func anyone(*v1alpha1.UploadSession) bool { return true }

func (m *operatorModel) actions() map[string]func(*rapid.T) {
	do := func(f func(t *rapid.T)) func(*rapid.T) {
		return func(t *rapid.T) {
			m.t = t
			f(t)
			*m.steps++
		}
	}
	finish := func(t *rapid.T) {
		if len(m.writing) == 0 {
			t.Skip("nothing is written")
		}
		name := rapid.SampledFrom(slices.Sorted(maps.Keys(m.writing))).Draw(t, "finish")
		m.finish(name, rapid.SampledFrom([]fault{goesWell, goesWell, goesWell, isRefused, isLost, isLostButWorked, isLostAndLate}).Draw(t, "fault"))
	}
	deliver := func(t *rapid.T) {
		for range rapid.IntRange(1, 8).Draw(t, "changes seen") {
			m.deliver()
		}
	}
	begin := func(t *rapid.T) {
		var ready []types.NamespacedName
		for key := range m.work {
			if m.writing[key.Name] == nil && len(m.writing) < workers {
				ready = append(ready, key)
			}
		}
		if len(ready) == 0 {
			t.Skip("nothing to do")
		}
		slices.SortFunc(ready, func(a, b types.NamespacedName) int { return cmp.Compare(a.Name, b.Name) })
		m.begin(rapid.SampledFrom(ready).Draw(t, "reconcile"))
	}
	return map[string]func(*rapid.T){
		"create": do(func(t *rapid.T) {
			m.created++
			s := session(func(s *v1alpha1.UploadSession) {
				s.Name = fmt.Sprintf("u%03d", m.created)
				s.UID = types.UID(fmt.Sprintf("uid-%d", m.created))
				s.CreationTimestamp = metav1.NewTime(m.now.Truncate(time.Second))
				s.Spec.StoreRef.Name = rapid.SampledFrom([]string{"s", "t"}).Draw(t, "store")
				s.Spec.Owner = rapid.SampledFrom([]string{"", "alice", "bob"}).Draw(t, "owner")
				s.Spec.SizeBytes = ptr.To(rapid.SampledFrom([]int64{0, 1, 30, 60, 60, 90, 91}).Draw(t, "size"))
				s.Spec.ReclaimPolicy = rapid.SampledFrom([]v1alpha1.ReclaimPolicy{
					v1alpha1.ReclaimPolicyRetain, v1alpha1.ReclaimPolicyDelete,
				}).Draw(t, "reclaim policy")
			})
			m.server.sessions[s.Name] = s
			m.changes(nil, s)
		}),
		"deliver": do(deliver), "deliver more": do(deliver), "deliver still more": do(deliver),
		"begin": do(begin), "begin more": do(begin), "begin still more": do(begin),
		"finish": do(finish), "finish more": do(finish),
		"replay": do(func(*rapid.T) {
			name := m.pick("replay", anyone)
			m.work[types.NamespacedName{Namespace: "ml", Name: name}] = true
		}),
		"late": do(func(t *rapid.T) {
			if len(m.late) == 0 {
				t.Skip("nothing is late")
			}
			m.writeStatus(m.late[0])
			m.late = m.late[1:]
		}),
		"report": do(func(t *rapid.T) {
			name := m.pick("report", admission.Holds)
			m.end(name, rapid.SampledFrom([]v1alpha1.UploadOutcome{
				v1alpha1.UploadOutcomePublished, v1alpha1.UploadOutcomeAborted, v1alpha1.UploadOutcomeExpired,
			}).Draw(t, "outcome"))
		}),
		"reclaim": do(func(*rapid.T) {
			m.edit(m.pick("reclaim", admission.Reclaims), func(s *v1alpha1.UploadSession) {
				s.Status.ReclaimedTime = metav1.NewTime(m.now.Truncate(time.Second))
				left := m.server.objects[s.Spec.StoreRef.Name] - *s.Spec.SizeBytes
				m.server.objects[s.Spec.StoreRef.Name] = max(0, left) // somebody may have removed it before
			})
		}),
		"progress": do(func(*rapid.T) {
			m.edit(m.pick("progress", admission.Holds), func(s *v1alpha1.UploadSession) { s.Status.Progress.Percent = ptr.To[int32](1) })
		}),
		"delete": do(func(*rapid.T) {
			m.edit(m.pick("delete", anyone), func(s *v1alpha1.UploadSession) {
				s.Generation++
				s.DeletionTimestamp = ptr.To(metav1.NewTime(m.now))
			})
		}),
		"steer": do(func(t *rapid.T) {
			name := m.pick("steer", func(s *v1alpha1.UploadSession) bool { return s.Spec.DesiredState != v1alpha1.DesiredStateCancelled })
			m.edit(name, func(s *v1alpha1.UploadSession) {
				s.Generation++
				s.Spec.DesiredState = rapid.SampledFrom([]v1alpha1.DesiredState{
					v1alpha1.DesiredStateActive, v1alpha1.DesiredStateSuspended, v1alpha1.DesiredStateCancelled,
				}).Draw(t, "state")
			})
		}),
		"quota": do(func(t *rapid.T) {
			name := rapid.SampledFrom([]string{"p", "q"}).Draw(t, "quota")
			before := m.server.quotas[name]
			if before != nil && rapid.IntRange(0, 4).Draw(t, "delete it") == 0 {
				delete(m.server.quotas, name)
				m.changes(before, nil)
				return
			}
			after := &v1alpha1.UploadQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ml", Name: name, UID: types.UID(fmt.Sprint(name, m.server.version))}}
			if before != nil {
				after.UID = before.UID
			}
			maybe := func(label string, most int64) *int64 {
				return rapid.Ptr(rapid.Int64Range(0, most), true).Draw(t, label)
			}
			narrow := func(n *int64) *int32 {
				if n == nil {
					return nil
				}
				return ptr.To(int32(*n))
			}
			after.Spec = v1alpha1.UploadQuotaSpec{
				OnExceeded: rapid.SampledFrom([]v1alpha1.QuotaExceededPolicy{
					v1alpha1.QuotaExceededPolicyQueue, v1alpha1.QuotaExceededPolicyQueue, v1alpha1.QuotaExceededPolicyReject,
				}).Draw(t, "exceeded"),
				StoreRef: v1alpha1.StoreReference{Name: rapid.SampledFrom([]string{"", "", "s"}).Draw(t, "of store")},
				Hard: v1alpha1.UploadQuotaHard{
					ActiveSessions: narrow(maybe("sessions", 4)), ActiveSessionsPerOwner: narrow(maybe("own sessions", 2)),
					ReservedBytes: maybe("bytes", 120), ReservedBytesPerOwner: maybe("own bytes", 90),
					ObjectBytes: rapid.SampledFrom([]int64{0, 0, 50}).Draw(t, "object"),
				},
			}
			m.server.quotas[name] = after
			if before != nil {
				m.changes(before, after)
			} else {
				m.changes(nil, after)
			}
		}),
		"store": do(func(t *rapid.T) {
			m.setStore(rapid.SampledFrom([]string{"s", "t"}).Draw(t, "store"), rapid.IntRange(0, 3).Draw(t, "ready") > 0)
		}),
		"beat": do(func(t *rapid.T) {
			store := rapid.SampledFrom([]string{"s", "t"}).Draw(t, "store")
			m.beat(store, rapid.SampledFrom(modelReplicas[store]).Draw(t, "replica"))
		}),
		"objects go": do(func(t *rapid.T) {
			store := rapid.SampledFrom([]string{"s", "t"}).Draw(t, "store")
			m.server.objects[store] = min(m.server.objects[store], rapid.Int64Range(0, 50).Draw(t, "left"))
		}),
		"time": do(func(t *rapid.T) {
			m.now = m.now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
		}),
		"lead": do(func(t *rapid.T) {
			seldom(t)
			m.lead()
		}),
		"rest": do(func(t *rapid.T) {
			seldom(t)
			m.rest()
			m.checkRest()
		}),
	}
}

func TestModel(t *testing.T) {
	for name, value := range map[string]string{"rapid.checks": modelChecks, "rapid.steps": modelSteps} {
		if f := flag.Lookup(name); f != nil && f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Value.Set(f.DefValue) }) // what was the default can be set
		}
	}
	var steps int
	check := func(t *rapid.T) {
		m := newModel(t, &steps)
		t.Repeat(m.actions())
		m.t = t
		m.serve()
	}
	if set := os.Getenv("NIGHTLY_MINUTES"); set != "" {
		minutes, err := strconv.ParseFloat(set, 64)
		if err != nil {
			t.Fatalf("NIGHTLY_MINUTES: %v", err)
		}
		const least = 100_000
		for began := time.Now(); time.Since(began) < time.Duration(minutes*float64(time.Minute)) || steps < least; {
			rapid.Check(t, check)
			if t.Failed() {
				return
			}
		}
	} else {
		rapid.Check(t, check)
	}
	t.Logf("model: %d steps", steps)
}

// live reads the truth.
type live struct{ *server }

// Get is not needed of it.
func (live) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nobody gets single objects from the API server")
}

// List lists all of a kind.
func (l live) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch into := list.(type) {
	case *v1alpha1.UploadSessionList:
		into.Items = nil
		for _, s := range l.sessions {
			into.Items = append(into.Items, *s.DeepCopy())
		}
	case *v1alpha1.UploadQuotaList:
		for _, q := range l.quotas {
			into.Items = append(into.Items, *q.DeepCopy())
		}
	case *v1alpha1.UploadStoreList:
		for _, s := range l.stores {
			into.Items = append(into.Items, *s.DeepCopy())
		}
	case *coordinationv1.LeaseList:
		for _, lease := range l.leases {
			into.Items = append(into.Items, *lease.DeepCopy())
		}
	default:
		return fmt.Errorf("a list of %T", list)
	}
	return nil
}

// cacheOf reads the cache.
type cacheOf struct{ objects map[string]client.Object }

// Get gets what the cache has.
func (c cacheOf) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	obj.SetName(key.Name)
	found, ok := c.objects[kindOf(obj)]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	switch into := obj.(type) {
	case *v1alpha1.UploadSession:
		found.(*v1alpha1.UploadSession).DeepCopyInto(into) //nolint:errcheck // kindOf says so, as below
	case *v1alpha1.UploadStore:
		found.(*v1alpha1.UploadStore).DeepCopyInto(into) //nolint:errcheck // as above
	case *coordinationv1.Lease:
		found.(*coordinationv1.Lease).DeepCopyInto(into) //nolint:errcheck // as above
	default:
		return fmt.Errorf("a %T", obj)
	}
	return nil
}

// List is not needed of it.
func (cacheOf) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("nobody lists from the cache")
}
