package admission

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// Ledger knows who holds what and who waits, in all namespaces. What is
// observed comes in any order and any number of times; an older version of an
// object never takes the place of a newer one. It is not safe for concurrent use.
type Ledger struct {
	books map[string]*book
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{books: map[string]*book{}} }

// book is the ledger of one namespace.
type book struct {
	namespace string
	sessions  map[string]*entry
	quotas    map[string]*v1alpha1.UploadQuota
	stores    map[string]*v1alpha1.UploadStore
	reports   map[string]Report        // by replica
	settling  map[types.UID]settlement // what was published and no report shows yet
	lines     map[line]*standing

	// Sums of what is held: by all, by the sessions of a store, and of an owner.
	all     tally
	ofStore map[string]tally
	ofOwner map[string]tally
	load    map[string]int // sessions on a replica

	// current is the round that questions are asked of; nil where something has changed since.
	current *round
}

// line is what sessions have in common that are bound by the same limits.
type line struct{ store, owner string }

// standing is the sessions of a line: who asks, in order, and what the others hold.
type standing struct {
	asking []*entry
	held   tally
}

// tally is how many sessions hold something, and how many bytes.
type tally struct{ sessions, bytes int64 }

func (t tally) plus(sessions, bytes int64) tally {
	return tally{t.sessions + sessions, t.bytes + bytes}
}

// entry is what matters of one session.
type entry struct {
	namespace, name string
	uid             types.UID
	version         int64
	created         time.Time
	line            line
	sizeBytes       int64
	chunkSizeBytes  int64

	asks    bool
	holding holding  // what its status says that it holds
	assumed *assumed // what it was granted, while its status may not say so yet
	// reclaims means that it holds nothing any more, and its replica is to remove its object.
	reclaims bool

	// What its status says that it waits for.
	reason, message string
	// named is when a look named it last, zero once that has had an outcome.
	named time.Time
}

// holding is what a session holds; no replica, nothing.
type holding struct {
	replica string
	bytes   int64
}

// assumed is an admission that is being written, or that may have been written.
type assumed struct {
	holding
	// writing means that the outcome of a write is still to come.
	writing bool
	// until is the version of the session whose status tells for certain what became of
	// the writes before; 0 where all of them are known to have failed.
	until int64
}

// Report is what a replica said last of its volume.
type Report struct {
	Store          string
	AvailableBytes int64
	// MeasuredAt is not later than when it looked at the volume, by its own clock.
	MeasuredAt time.Time
	// Version is the resourceVersion of the Lease that says so, which tells what came after what.
	Version string
}

// settlement is a published object that a replica may not have counted yet.
type settlement struct {
	store     string
	bytes     int64
	published time.Time
}

// published times have whole seconds, so what they tell of was done by the end of that second.
const publishedPrecision = time.Second

func (l *Ledger) book(namespace string) *book {
	b := l.books[namespace]
	if b == nil {
		b = &book{
			namespace: namespace,
			sessions:  map[string]*entry{}, quotas: map[string]*v1alpha1.UploadQuota{}, stores: map[string]*v1alpha1.UploadStore{},
			reports: map[string]Report{}, settling: map[types.UID]settlement{}, lines: map[line]*standing{},
			ofStore: map[string]tally{}, ofOwner: map[string]tally{}, load: map[string]int{},
		}
		l.books[namespace] = b
	}
	return b
}

// Observe takes a session as it was seen, and reports whether that may concern others.
func (l *Ledger) Observe(s *v1alpha1.UploadSession) bool {
	b := l.book(s.Namespace)
	version := versionOf(s.ResourceVersion)
	e := b.sessions[s.Name]
	if e != nil && version < e.version {
		return false
	}
	b.settle(s)
	var before entry
	replaces := e != nil && e.uid != s.UID
	if replaces { // what the other of that name held is free
		b.remove(e)
		e = nil
	}
	if e == nil {
		e = &entry{
			namespace: s.Namespace, name: s.Name, uid: s.UID, created: s.CreationTimestamp.Time,
			line:           line{store: s.Spec.StoreRef.Name, owner: s.Spec.Owner},
			chunkSizeBytes: s.Spec.ChunkSizeBytes,
		}
		if s.Spec.SizeBytes != nil {
			e.sizeBytes = *s.Spec.SizeBytes
		}
		b.sessions[s.Name] = e
	} else {
		before = *e
	}
	if version > e.version {
		e.named = time.Time{}
	}
	e.version, e.asks, e.reclaims, e.holding = version, Asks(s), Reclaims(s), holding{}
	if Holds(s) {
		e.holding = holding{replica: s.Status.Admission.Replica, bytes: *s.Status.Admission.ReservedBytes}
	}
	e.reason, e.message = "", ""
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAdmitted); c != nil {
		e.reason, e.message = c.Reason, c.Message
	}
	e.resolve()
	changed := before.asks != e.asks || before.held() != e.held()
	if changed {
		b.take(&before)
		b.put(e)
	}
	return changed || replaces
}

// Refresh is Observe for a session that must be known already: one that was
// read before it went may not come back by this.
func (l *Ledger) Refresh(s *v1alpha1.UploadSession) (known, changed bool) {
	e := l.find(s)
	return e != nil, e != nil && l.Observe(s)
}

// Gone takes note that a session is there no more, and reports whether that may concern others.
func (l *Ledger) Gone(s *v1alpha1.UploadSession) bool {
	e := l.find(s)
	if e == nil {
		return false
	}
	l.book(s.Namespace).remove(e)
	return true
}

func (l *Ledger) find(s *v1alpha1.UploadSession) *entry {
	b := l.books[s.Namespace]
	if b == nil || b.sessions[s.Name] == nil || b.sessions[s.Name].uid != s.UID {
		return nil
	}
	return b.sessions[s.Name]
}

// settle keeps the room of a published object taken until the reports that count
// show it: until then that room counts as available.
func (b *book) settle(s *v1alpha1.UploadSession) {
	if s.Status.Result.Outcome != v1alpha1.UploadOutcomePublished || !Admitted(s) {
		return
	}
	published := settlement{
		store: s.Spec.StoreRef.Name,
		bytes: *s.Status.Admission.ReservedBytes, published: s.Status.Result.PublishedTime.Time,
	}
	if b.shows(published) {
		return
	}
	b.settling[s.UID] = published
	b.current = nil
}

// shows reports whether the room of a published object is known to be gone:
// every report that counts was made after it, that of whichever replica. One that
// was made before may tell of room that the object has taken since, as the replica that
// published it told once, and may be gone now. Without any nobody can tell.
func (b *book) shows(s settlement) bool { return s.shownBy(b.oldest(s.store)) }

func (s settlement) shownBy(oldest time.Time) bool {
	return !oldest.Before(s.published.Add(publishedPrecision)) && !oldest.IsZero()
}

// oldest is when the first of the reports that count was made; zero without any.
func (b *book) oldest(store string) time.Time {
	var oldest time.Time
	for report := range b.counting(store) {
		if oldest.IsZero() || report.MeasuredAt.Before(oldest) {
			oldest = report.MeasuredAt
		}
	}
	return oldest
}

// counting goes through the reports of the replicas of a store that are alive. Where
// nobody has looked at the store yet those of all its replicas count.
func (b *book) counting(store string) iter.Seq[Report] {
	return func(yield func(Report) bool) {
		known := b.stores[store]
		for replica, report := range b.reports {
			alive := known == nil || slices.ContainsFunc(known.Status.Replicas, func(r v1alpha1.UploadStoreReplica) bool { return r.Name == replica })
			if report.Store == store && alive && !yield(report) {
				return
			}
		}
	}
}

// unsettle forgets what the reports show by now, and reports whether that is anything.
func (b *book) unsettle() bool {
	before, oldest := len(b.settling), map[string]time.Time{}
	for uid, s := range b.settling {
		at, ok := oldest[s.store]
		if !ok {
			at = b.oldest(s.store)
			oldest[s.store] = at
		}
		if s.shownBy(at) {
			delete(b.settling, uid)
		}
	}
	return len(b.settling) != before
}

// SetReport takes what a replica says of its volume, and reports whether that
// may concern sessions that wait.
func (l *Ledger) SetReport(namespace, replica string, r Report) bool {
	b := l.book(namespace)
	before, ok := b.reports[replica]
	if ok && versionOf(r.Version) < versionOf(before.Version) {
		return false
	}
	if ok && r.MeasuredAt.Before(before.MeasuredAt) {
		b.turnBack(r)
	}
	b.reports[replica] = r
	b.current = nil
	changed := !ok || before.AvailableBytes != r.AvailableBytes || before.Store != r.Store
	return b.unsettle() || changed
}

// turnBack is for a replica whose clock was set back: what was published before this report came would be waited for
// until the clock is there again. So it counts as published at the report's time, and the next report shows it.
func (b *book) turnBack(r Report) {
	for uid, s := range b.settling {
		if s.store == r.Store && s.published.After(r.MeasuredAt) {
			s.published = r.MeasuredAt
			b.settling[uid] = s
		}
	}
}

// DropReport forgets a replica whose Lease is gone, unless another Lease came after that one, which had this version.
func (l *Ledger) DropReport(namespace, replica, last string) {
	b := l.book(namespace)
	if versionOf(last) < versionOf(b.reports[replica].Version) {
		return
	}
	delete(b.reports, replica)
	b.current = nil
	b.unsettle()
}

// SetQuota takes a quota as it was seen, and reports whether that may concern sessions that wait.
func (l *Ledger) SetQuota(q *v1alpha1.UploadQuota) bool {
	b := l.book(q.Namespace)
	before := b.quotas[q.Name]
	if before != nil && versionOf(q.ResourceVersion) < versionOf(before.ResourceVersion) {
		return false
	}
	b.quotas[q.Name] = q.DeepCopy()
	b.current = nil
	return before == nil || !equal(before.Spec, q.Spec)
}

// DropQuota forgets a quota that is gone, and not another that has its name since.
func (l *Ledger) DropQuota(q *v1alpha1.UploadQuota) {
	b := l.book(q.Namespace)
	if known := b.quotas[q.Name]; known != nil && known.UID == q.UID {
		delete(b.quotas, q.Name)
		b.current = nil
	}
}

// SetStore takes a store as it was seen, and reports whether that may concern sessions that wait.
func (l *Ledger) SetStore(s *v1alpha1.UploadStore) bool {
	b := l.book(s.Namespace)
	before := b.stores[s.Name]
	if before != nil && versionOf(s.ResourceVersion) < versionOf(before.ResourceVersion) {
		return false
	}
	b.stores[s.Name] = s.DeepCopy()
	b.current = nil
	return b.unsettle() || before == nil || !sameOffer(before, s)
}

// DropStore forgets a store that is gone, and not another that has its name since.
func (l *Ledger) DropStore(s *v1alpha1.UploadStore) {
	b := l.book(s.Namespace)
	if known := b.stores[s.Name]; known != nil && known.UID == s.UID {
		delete(b.stores, s.Name)
		b.passOn(known)
		b.current = nil
	}
}

// Holders goes through the names of the sessions that have to do with the replicas of a store:
// those that hold something there, and those whose object a replica is to remove.
func (l *Ledger) Holders(namespace, store string) iter.Seq[string] {
	return func(yield func(string) bool) {
		b := l.books[namespace]
		if b == nil {
			return
		}
		for name, e := range b.sessions {
			if e.line.store == store && (e.reclaims || e.held().replica != "") && !yield(name) {
				return
			}
		}
	}
}

// Settled tells what became of a write that an Ask granted.
type Settled struct {
	// Version is that of the session as the write left it, of a write that succeeded.
	Version string
	// Lost means that the write may have succeeded, or may still succeed, if the
	// session's version is the one below.
	Lost bool
	// Against is the version that the write held for.
	Against string
}

// Settle takes note of what became of the write of an admission that was granted.
func (l *Ledger) Settle(s *v1alpha1.UploadSession, outcome Settled) {
	e := l.find(s)
	if e == nil || e.assumed == nil {
		return
	}
	b := l.book(s.Namespace)
	b.take(e)
	e.assumed.writing = false
	switch {
	case outcome.Version != "":
		e.assumed.until = max(e.assumed.until, versionOf(outcome.Version))
	case outcome.Lost:
		// Another version than that can't come of this write any more unless it is this write.
		e.assumed.until = max(e.assumed.until, versionOf(outcome.Against)+1)
	}
	e.resolve()
	b.put(e)
}

// resolve drops an assumption that the status speaks for by now.
func (e *entry) resolve() {
	if e.assumed != nil && !e.assumed.writing && e.version >= e.assumed.until {
		e.assumed = nil
	}
}

// held is what counts: what the status says, or what was granted on top of it.
func (e *entry) held() holding {
	if e.holding.replica == "" && e.assumed != nil {
		return e.assumed.holding
	}
	return e.holding
}

// waits reports whether an entry stands in a line.
func (e *entry) waits() bool { return e.asks && e.held().replica == "" }

// take takes an entry out of all sums and lines; put puts it back as it is then.
func (b *book) take(e *entry) { b.count(e, -1) }

func (b *book) put(e *entry) { b.count(e, 1) }

func (b *book) count(e *entry, sign int64) {
	b.current = nil
	st := b.lines[e.line]
	if st == nil {
		st = &standing{}
		b.lines[e.line] = st
	}
	switch held := e.held(); {
	case held.replica != "":
		b.all = b.all.plus(sign, sign*held.bytes)
		st.held = st.held.plus(sign, sign*held.bytes)
		add(b.ofStore, e.line.store, sign, sign*held.bytes)
		add(b.ofOwner, e.line.owner, sign, sign*held.bytes)
		if b.load[held.replica] += int(sign); b.load[held.replica] == 0 {
			delete(b.load, held.replica)
		}
	case e.waits():
		at, found := slices.BinarySearchFunc(st.asking, e, inOrder)
		switch {
		case sign > 0 && !found:
			st.asking = slices.Insert(st.asking, at, e)
		case sign < 0 && found:
			st.asking = slices.Delete(st.asking, at, at+1)
		}
	}
	if len(st.asking) == 0 && st.held == (tally{}) {
		delete(b.lines, e.line)
	}
}

func add(sums map[string]tally, key string, sessions, bytes int64) {
	if sum := sums[key].plus(sessions, bytes); sum == (tally{}) {
		delete(sums, key)
	} else {
		sums[key] = sum
	}
}

// assume lets an entry count with another assumption, or with none.
func (b *book) assume(e *entry, a *assumed) {
	if e.assumed == a {
		return
	}
	b.take(e)
	e.assumed = a
	b.put(e)
}

func (b *book) remove(e *entry) {
	b.take(e)
	delete(b.sessions, e.name)
}

// inOrder is the order of creation. The API server keeps whole seconds, and
// the name decides within one.
func inOrder(a, b *entry) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.name, b.name))
}

// sameOffer reports whether two versions of a store are the same to those who wait.
func sameOffer(a, b *v1alpha1.UploadStore) bool {
	return a.UID == b.UID && a.DeletionTimestamp.IsZero() == b.DeletionTimestamp.IsZero() && equal(a.Spec, b.Spec) && SameReplicas(a.Status.Replicas, b.Status.Replicas) &&
		equal(a.Status.AvailableBytes, b.Status.AvailableBytes) && ready(a) == ready(b)
}

func equal(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }

// versionOf reads a resource version, which the API server promises to be a
// number that grows. What is none, as in a test, is the oldest of all.
func versionOf(resourceVersion string) int64 {
	n, err := strconv.ParseInt(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return min(n, math.MaxInt64-1)
}

// Dump writes down what counts in a namespace, for comparison: the same
// sessions, in whatever order they came, are the same dump.
func (l *Ledger) Dump(namespace string) string {
	b := l.book(namespace)
	lines := []string{
		fmt.Sprintf("held %v", b.all), fmt.Sprintf("of stores %v", b.ofStore), fmt.Sprintf("of owners %v", b.ofOwner),
		fmt.Sprintf("on replicas %v", b.load), fmt.Sprintf("quotas %d, stores %d", len(b.quotas), len(b.stores)),
	}
	for _, name := range slices.Sorted(maps.Keys(b.sessions)) {
		e := b.sessions[name]
		lines = append(lines, fmt.Sprintf("%s %s waits=%v holds=%v assumed=%v", name, e.uid, e.waits(), e.held(), e.assumed != nil))
	}
	for of, st := range b.lines {
		for _, e := range st.asking {
			lines = append(lines, fmt.Sprintf("in line %v: %s", of, e.name))
		}
		lines = append(lines, fmt.Sprintf("line %v holds %v", of, st.held))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Asking is how many sessions of a namespace wait.
func (l *Ledger) Asking(namespace string) (sum int) {
	if b := l.books[namespace]; b != nil {
		for _, st := range b.lines {
			sum += len(st.asking)
		}
	}
	return sum
}

// Empty reports whether nothing is known of a namespace.
func (l *Ledger) Empty(namespace string) bool {
	b := l.books[namespace]
	return b == nil || len(b.sessions)+len(b.quotas)+len(b.stores)+len(b.reports) == 0
}
