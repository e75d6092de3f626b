package admission

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// door is where a session is on its way: who has passed a door is kept what it
// needs there while it waits at a later one.
type door int

const (
	ofOwner door = iota
	ofStore
	ofNamespace
	doors
)

// limit is one bound that sessions share, as it stands in one round.
type limit struct {
	door door
	// counts is the name of what is counted, as in spec.hard; empty for the room on a volume.
	counts string
	bytes  bool // or sessions
	// quota names the UploadQuota; empty for the room on a volume.
	quota   string
	rejects bool

	// Of the room on a volume: whose it is, how large the volume is, 0 where that is not known, and how much
	// of what is free there stays free.
	store             string
	capacity, minFree int64
	// chunkBytes is the chunk size of a session that names none.
	chunkBytes int64

	hard int64
	held int64
	// kept is for sessions that come before the one that is asked about.
	kept int64
	// blocked means that a session before it waits for this limit.
	blocked bool
}

func (l *limit) needs(e *entry) int64 {
	switch {
	case !l.bytes:
		return 1
	case l.quota == "":
		return e.sizeBytes + ledgerBytes(e.sizeBytes, cmp.Or(e.chunkSizeBytes, l.chunkBytes))
	}
	return e.sizeBytes
}

// slotBytes is what a volume keeps of each chunk.
const slotBytes = 32

// ledgerBytes is what the volume keeps of the chunks of a session beside their bytes. Of few chunks that is no
// more than of any session, which is what limits.minFreeBytes is for. What others keep is missing from what
// their replica reports as available.
func ledgerBytes(size, chunk int64) int64 {
	if chunk == 0 { // the API server fills a default in
		return 0
	}
	chunks := (size + chunk - 1) / chunk
	if chunks <= v1alpha1.FewChunks {
		return 0
	}
	return chunks * slotBytes
}

func (l *limit) free() int64 { return max(0, l.hard-l.held-l.kept) }

func (l *limit) lacks(e *entry) bool { return l.needs(e) > l.free() }

// about says what a session waits for.
func (l *limit) about() string {
	if l.quota == "" {
		return fmt.Sprintf("Waits for room in UploadStore %q: ", l.store)
	}
	return fmt.Sprintf("Waits for %s of UploadQuota %q: ", l.counts, l.quota)
}

func (l *limit) reason() string {
	if l.quota == "" {
		return v1alpha1.ReasonInsufficientSpace
	}
	return v1alpha1.ReasonQuotaExceeded
}

// waits is the refusal of a session whose turn comes when others end.
func (l *limit) waits(e *entry, behind bool, now time.Time) *Refusal {
	r := &Refusal{Reason: l.reason(), About: l.about()}
	earlier := ""
	if behind {
		earlier = "earlier sessions wait for it too, "
	}
	cure := "or the quota is raised"
	if l.quota == "" {
		cure = "or objects are deleted"
	}
	r.Detail = fmt.Sprintf("needs %d, %s%d of %d were free at %s; it starts in its turn when other sessions end %s.",
		l.needs(e), earlier, l.free(), l.hard, now.UTC().Format(time.RFC3339), cure)
	return r
}

// impossible is the refusal of a session that the limit could not hold alone.
func (l *limit) impossible(e *entry) *Refusal {
	if l.quota == "" {
		detail := fmt.Sprintf("needs %d, and the volume would have %d free with no session", l.needs(e), l.hard)
		if l.minFree > 0 {
			detail += fmt.Sprintf(" above the %d that limits.minFreeBytes keeps free", l.minFree)
		}
		return &Refusal{Reason: v1alpha1.ReasonInsufficientSpace, About: l.aboutRoom(e), Detail: detail + "; others don't wait for it."}
	}
	return &Refusal{
		Reason: v1alpha1.ReasonQuotaExceeded,
		About:  fmt.Sprintf("Waits for UploadQuota %q to be raised: ", l.quota),
		Detail: fmt.Sprintf("needs %d of %s, and the quota allows %d in all; others don't wait for it.", l.needs(e), l.counts, l.hard),
	}
}

// aboutRoom says what would make room for a session that the volume could not hold alone.
func (l *limit) aboutRoom(e *entry) string {
	needs := l.needs(e)
	switch {
	case l.capacity > 0 && needs > l.capacity:
		return fmt.Sprintf("Waits for the volume of UploadStore %q to be larger: ", l.store)
	case l.capacity > 0 && needs > l.capacity-l.minFree:
		return fmt.Sprintf("Waits for limits.minFreeBytes of UploadStore %q to be lower, or its volume larger: ", l.store)
	case l.minFree > 0:
		return fmt.Sprintf("Waits for objects in UploadStore %q to be deleted, or its limits.minFreeBytes to be lower: ", l.store)
	}
	return fmt.Sprintf("Waits for objects in UploadStore %q to be deleted: ", l.store)
}

// rejection is the end of a session at a limit that does not queue.
func (l *limit) rejection(e *entry) *Refusal {
	if l.needs(e) > l.hard { // no end of another helps it
		return &Refusal{
			Reason: v1alpha1.ReasonQuotaRejected, Final: true,
			Detail: fmt.Sprintf("UploadQuota %q rejects what it could never hold: the session needs %d of %s, and the quota allows %d in all. "+
				"Create one that needs less, or have the quota raised first.", l.quota, l.needs(e), l.counts, l.hard),
		}
	}
	return &Refusal{
		Reason: v1alpha1.ReasonQuotaRejected, Final: true,
		Detail: fmt.Sprintf("UploadQuota %q rejects what it has no room for: the session needs %d of %s, and %d of %d are free. "+
			"Create it again when others have ended, or raise the quota.", l.quota, l.needs(e), l.counts, l.free(), l.hard),
	}
}

// limits returns the limits of a line in the order of the doors. Lines that
// share a limit share it here.
func (r *round) limits(of line) []*limit {
	if known, ok := r.byLine[of]; ok {
		return known
	}
	var list []*limit
	add := func(key limitKey, build limit) {
		l, ok := r.byKey[key]
		if !ok {
			l = &build
			r.byKey[key] = l
		}
		list = append(list, l)
	}
	b := r.book
	for _, name := range r.quotas {
		q := b.quotas[name].Spec
		if !counts(q, of.store) {
			continue
		}
		all, own, where := b.all, b.ofOwner[of.owner], ofNamespace
		if q.StoreRef.Name != "" {
			all, own, where = b.ofStore[of.store], b.heldBy(of), ofStore
		}
		rejects := q.OnExceeded == v1alpha1.QuotaExceededPolicyReject
		for _, bound := range []struct {
			counts string
			door   door
			hard   *int64
			held   int64
			bytes  bool
			owner  string
		}{
			{"activeSessionsPerOwner", ofOwner, wide(q.Hard.ActiveSessionsPerOwner), own.sessions, false, of.owner},
			{"reservedBytesPerOwner", ofOwner, q.Hard.ReservedBytesPerOwner, own.bytes, true, of.owner},
			{"activeSessions", where, wide(q.Hard.ActiveSessions), all.sessions, false, ""},
			{"reservedBytes", where, q.Hard.ReservedBytes, all.bytes, true, ""},
		} {
			if bound.hard != nil {
				add(limitKey{quota: name, counts: bound.counts, owner: bound.owner}, limit{
					door: bound.door, counts: bound.counts, bytes: bound.bytes, quota: name, rejects: rejects,
					hard: *bound.hard, held: bound.held,
				})
			}
		}
	}
	if store := b.stores[of.store]; store != nil {
		// Lines of owners share it, and it takes a look at every store.
		key := limitKey{store: of.store}
		l := r.byKey[key]
		if l == nil {
			l = &limit{
				door: ofStore, bytes: true, hard: b.room(store), held: b.onClaim(store.Spec.Volume.ClaimName), store: of.store,
				capacity: ptr.Deref(store.Status.CapacityBytes, 0), minFree: ptr.Deref(store.Spec.Limits.MinFreeBytes, 0),
				chunkBytes: store.Spec.Defaults.ChunkSizeBytes,
			}
			r.byKey[key] = l
		}
		list = append(list, l)
	}
	slices.SortStableFunc(list, func(a, b *limit) int { return cmp.Compare(a.door, b.door) })
	r.byLine[of] = list
	return list
}

// counts reports whether a quota counts the sessions of a store.
func counts(q v1alpha1.UploadQuotaSpec, store string) bool {
	return q.StoreRef.Name == "" || q.StoreRef.Name == store
}

func (b *book) heldBy(of line) tally {
	if st := b.lines[of]; st != nil {
		return st.held
	}
	return tally{}
}

type limitKey struct{ quota, store, counts, owner string }

// room is what the volume could hold of sessions if none were staged: the
// least that its replicas report, above the reserve.
func (b *book) room(store *v1alpha1.UploadStore) int64 {
	var available int64
	if store.Status.AvailableBytes != nil {
		available = *store.Status.AvailableBytes
	}
	for report := range b.counting(store.Name) {
		available = min(available, report.AvailableBytes)
	}
	return max(0, available-ptr.Deref(store.Spec.Limits.MinFreeBytes, 0))
}

func wide(n *int32) *int64 {
	if n == nil {
		return nil
	}
	w := int64(*n)
	return &w
}
