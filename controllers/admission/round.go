package admission

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// verdict is what a round says of a session.
type verdict struct {
	// refusal is nil when the session may start.
	refusal *Refusal
	// lineWaits means that those of the same line wait as well, behind it.
	lineWaits bool
	// at is the limit that the session waits for, nil when it is none.
	at *limit
}

// round goes through the sessions of a namespace that ask, in order, and gives
// each what is left. Of sessions that are bound by the same limits, those after
// one that waits need no look.
type round struct {
	book   *book
	now    time.Time
	quotas []string // by name
	next   lineHeap
	byLine map[line][]*limit
	byKey  map[limitKey]*limit
	// stuck is how the first session of a line waits.
	stuck map[line]verdict
	// judged is what was said of the sessions that have been reached.
	judged map[*entry]verdict
	// reached is the last of these, nil before the first.
	reached *entry
}

func newRound(b *book, now time.Time) *round {
	r := &round{
		book: b, now: now, quotas: slices.Sorted(maps.Keys(b.quotas)),
		byLine: map[line][]*limit{}, byKey: map[limitKey]*limit{}, stuck: map[line]verdict{}, judged: map[*entry]verdict{},
	}
	for _, st := range b.lines {
		if len(st.asking) > 0 {
			r.next = append(r.next, st.asking)
		}
	}
	heap.Init(&r.next)
	return r
}

// step judges the next session that comes before the one given, if any; nil when there is none.
func (r *round) step(before *entry) (*entry, verdict) {
	if len(r.next) == 0 || before != nil && inOrder(r.next[0][0], before) >= 0 {
		return nil, verdict{}
	}
	e := r.next[0][0]
	v := r.judge(e)
	r.judged[e], r.reached = v, e
	if v.lineWaits {
		r.stuck[e.line] = v
	}
	if r.next[0] = r.next[0][1:]; v.lineWaits || len(r.next[0]) == 0 {
		heap.Pop(&r.next)
	} else {
		heap.Fix(&r.next, 0)
	}
	return e, v
}

// judge says how a session stands when all before it have been judged, and
// takes what it gets or is kept for it.
func (r *round) judge(e *entry) verdict {
	for _, refuses := range rules {
		if refusal := refuses(r, e); refusal != nil {
			return verdict{refusal: refusal, lineWaits: ofLine(refusal)}
		}
	}
	limits := r.limits(e.line)
	if refusal := rejected(limits, e); refusal != nil {
		return verdict{refusal: refusal}
	}
	if refusal := hopeless(limits, e); refusal != nil {
		return verdict{refusal: refusal}
	}
	for d := range doors {
		var lacking []*limit
		for _, l := range limits {
			if l.door != d || !l.blocked && !l.lacks(e) {
				continue
			}
			if l.blocked {
				return verdict{refusal: l.waits(e, true, r.now), lineWaits: true, at: l}
			}
			lacking = append(lacking, l)
		}
		if len(lacking) > 0 {
			v := verdict{refusal: lacking[0].waits(e, false, r.now), lineWaits: true, at: lacking[0]}
			keep(limits, d, e)
			for _, l := range lacking {
				l.blocked = true
			}
			return v
		}
	}
	keep(limits, doors, e)
	return verdict{}
}

// behind says how a session stands whose line waits already.
func (r *round) behind(e *entry, first verdict) *Refusal {
	// Limits that don't queue are asked when it comes, and not again before its turn: it
	// does not end because of others that come after it.
	if first.at != nil && e.reason == "" {
		if refusal := rejected(r.limits(e.line), e); refusal != nil {
			return refusal
		}
	}
	if refusal := r.apart(e, first); refusal != nil {
		return refusal
	}
	if first.at == nil {
		return first.refusal
	}
	return first.at.waits(e, true, r.now)
}

// apart says how a session stands that is behind in its line and waits for something else
// than its line; nil where it waits with its line. What others hold has no part in it.
func (r *round) apart(e *entry, first verdict) *Refusal {
	if first.at == nil {
		return nil
	}
	for _, refuses := range rules {
		if refusal := refuses(r, e); refusal != nil {
			return refusal
		}
	}
	return hopeless(r.limits(e.line), e)
}

// ofLine reports whether a refusal is one of the store, and so of all that name it.
func ofLine(refusal *Refusal) bool {
	return refusal.Reason == v1alpha1.ReasonStoreNotFound || refusal.Reason == v1alpha1.ReasonStoreNotReady
}

// rejected asks the limits that don't queue first: who would be rejected in
// the end need not wait for it.
func rejected(limits []*limit, e *entry) *Refusal {
	for _, l := range limits {
		if l.rejects && l.lacks(e) {
			return l.rejection(e)
		}
	}
	return nil
}

// hopeless finds the limit that could not hold a session alone, those that don't queue first.
func hopeless(limits []*limit, e *entry) *Refusal {
	var waits *limit
	for _, l := range limits {
		switch {
		case l.needs(e) <= l.hard:
		case l.rejects:
			return l.rejection(e)
		case waits == nil:
			waits = l
		}
	}
	if waits == nil {
		return nil
	}
	return waits.impossible(e)
}

// keep sets aside what a session needs of the limits up to a door.
func keep(limits []*limit, upTo door, e *entry) {
	for _, l := range limits {
		if l.door <= upTo {
			l.kept += l.needs(e)
		}
	}
}

// Ask decides whether a session may start now. What is granted counts from now
// on, until Settle tells what became of it. A session that is not known, or
// does not ask, is neither granted nor refused anything.
func (l *Ledger) Ask(s *v1alpha1.UploadSession, now time.Time) (v1alpha1.UploadSessionAdmission, *Refusal) {
	e := l.find(s)
	if e == nil || !e.asks {
		return v1alpha1.UploadSessionAdmission{}, nil
	}
	b := l.book(s.Namespace)
	earlier := e.assumed
	b.assume(e, nil) // while it is asked about
	if refusal := b.refuses(e, now); refusal != nil {
		if e.shows(refusal) { // so nothing is written
			e.named = time.Time{}
		}
		b.assume(e, earlier)
		// A write whose outcome is not known may be there all the same. Any other write settles it.
		if earlier != nil && !refusal.Final {
			inDoubt := *refusal
			refusal = &inDoubt
			refusal.InDoubt = true
			refusal.Detail += fmt.Sprintf(" (Written again at %s, because an answer of the API server was lost.)", now.UTC().Format(time.RFC3339))
		}
		return v1alpha1.UploadSessionAdmission{}, refusal
	}
	store := b.stores[e.line.store]
	defaults, limits := store.Spec.Defaults, store.Spec.Limits
	replica, reserved := b.leastBusy(store), e.sizeBytes
	granted := &assumed{holding: holding{replica: replica.Name, bytes: reserved}, writing: true}
	if earlier != nil {
		granted.until = earlier.until
	}
	b.assume(e, granted)
	return v1alpha1.UploadSessionAdmission{
		Replica:            replica.Name,
		Endpoint:           replica.Endpoint,
		ChunkSizeBytes:     chunkSize(store, e),
		IdleTimeoutSeconds: defaults.IdleTimeoutSeconds,
		ReservedBytes:      &reserved,
		AdmittedTime:       metav1.NewTime(now),

		ActiveDeadlineSeconds:    defaults.ActiveDeadlineSeconds,
		TTLSecondsAfterFinished:  defaults.TTLSecondsAfterFinished,
		MaxIdleTimeoutSeconds:    limits.MaxIdleTimeoutSeconds,
		MaxActiveDeadlineSeconds: limits.MaxActiveDeadlineSeconds,
		MaxSuspendedSeconds:      limits.MaxSuspendedSeconds,

		Access: restricted(store),
	}, nil
}

// restricted is the access of a store where it is narrower than RBAC's; empty otherwise.
func restricted(store *v1alpha1.UploadStore) v1alpha1.StoreAccess {
	if store.Spec.Access == v1alpha1.StoreAccessNamespace {
		return ""
	}
	return store.Spec.Access
}

// refuses says why a session that stands in its line may not start now; nil when it may. The
// round goes on from question to question until something changes, or else the questions of
// n sessions would be n rounds.
func (b *book) refuses(e *entry, now time.Time) *Refusal {
	r := b.current
	if r == nil || !r.now.Equal(now) || r.isPast(e) {
		r = newRound(b, now)
		b.current = r
	}
	for {
		if other, _ := r.step(e); other == nil {
			break
		}
	}
	_, judged := r.judged[e]
	first, waits := r.stuck[e.line]
	if !judged && waits {
		return r.behind(e, first)
	}
	if !judged {
		r.step(nil) // it is next
	}
	return r.judged[e].refusal
}

// isPast reports whether a round has gone on too far to say what a limit that does not
// queue had left at the place of a session that is asked about it.
func (r *round) isPast(e *entry) bool {
	if _, judged := r.judged[e]; judged || e.reason != "" || r.reached == nil || inOrder(r.reached, e) < 0 {
		return false
	}
	return slices.ContainsFunc(r.limits(e.line), func(l *limit) bool { return l.rejects })
}

// leastBusy returns the replica that holds the fewest sessions of those that take new ones, the
// first by name among equals.
func (b *book) leastBusy(store *v1alpha1.UploadStore) v1alpha1.UploadStoreReplica {
	list := takers(store)
	best := list[0]
	for _, next := range list[1:] {
		if b.load[next.Name] < b.load[best.Name] || b.load[next.Name] == b.load[best.Name] && next.Name < best.Name {
			best = next
		}
	}
	return best
}

const (
	// underWay is for how long a session that a look has named counts among those that it may name.
	underWay = time.Second
	// overdue is when a session that a look has named, and that nothing came of, is named again. Until then it is
	// passed over: whoever named it tries it again, and others come meanwhile.
	overdue = 15 * time.Second
)

// Look lists the sessions of a namespace to be looked at again: those that may
// start or must end, and those whose status tells of something else than what
// they wait for now. Of each kind there are at most as many as given, of those
// that stand behind others at most so many more, with those named in the second before;
// more tells that there may be more of these then.
func (l *Ledger) Look(namespace string, now time.Time, most, behind int) (names []string, more bool) {
	b := l.books[namespace]
	if b == nil {
		return nil, false
	}
	// name names a session, unless it was named a moment ago, and takes it off what may be named.
	name := func(e *entry, left *int) {
		since := now.Sub(e.named)
		switch {
		case since >= underWay && since < overdue:
			more = true
			return
		case since >= 0 && since < underWay:
			more = true
		default:
			e.named = now
			names = append(names, e.name)
		}
		*left--
	}
	r := newRound(b, now)
	for {
		e, v := r.step(nil)
		if e == nil {
			break
		}
		if v.refusal != nil && !v.refusal.Final && e.shows(v.refusal) {
			continue
		}
		name(e, &most)
		if most <= 0 {
			more = true
			break
		}
	}
	for of, first := range r.stuck {
		for _, e := range b.lines[of].asking {
			// The first sight of a session is an event of its own.
			if e.reason == "" || e.shows(cmp.Or(r.apart(e, first), first.refusal)) {
				continue
			}
			if behind <= 0 {
				return names, true
			}
			name(e, &behind)
		}
	}
	return names, more
}

// shows reports whether the status of a session tells of a refusal already.
func (e *entry) shows(refusal *Refusal) bool { return refusal.ToldBy(e.reason, e.message) }

type lineHeap [][]*entry

func (h lineHeap) Len() int           { return len(h) }
func (h lineHeap) Less(i, j int) bool { return inOrder(h[i][0], h[j][0]) < 0 }
func (h lineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push appends a line; the argument is one of container/heap's.
func (h *lineHeap) Push(x any) { *h = append(*h, x.([]*entry)) } //nolint:errcheck // the heap holds nothing else

// Pop removes the last line.
func (h *lineHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
