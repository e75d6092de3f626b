package admission

import (
	"cmp"
	"fmt"
	"iter"
	"maps"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// FirstOnClaim returns which of the stores of a namespace has a claim: of those that name it the one
// that was created first, and within one second the first by name; nil where none names it. Two stores on
// one volume would each count its room as their own.
func FirstOnClaim(stores iter.Seq[*v1alpha1.UploadStore], claim string) *v1alpha1.UploadStore {
	var first *v1alpha1.UploadStore
	for s := range stores {
		if s.Spec.Volume.ClaimName == claim && (first == nil || isBefore(s, first)) {
			first = s
		}
	}
	return first
}

func isBefore(a, b *v1alpha1.UploadStore) bool {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name)) < 0
}

// ClaimInUse says why a store takes no session whose claim another store has.
func ClaimInUse(store, first *v1alpha1.UploadStore) string {
	return fmt.Sprintf("PersistentVolumeClaim %q is that of UploadStore %q, which was created first: send sessions there, delete one of the two, "+
		"or create the store again on a claim of its own.", store.Spec.Volume.ClaimName, first.Name)
}

// onClaim is the bytes that are taken of the volume behind a claim, and that its replicas report as
// available all the same. What another store than the first holds there counts too: it may have been the first
// before. So does what belongs to a store that is gone, since nobody knows which claim that had.
func (b *book) onClaim(claim string) int64 {
	var sum int64
	for name, held := range b.ofStore {
		if s := b.stores[name]; s == nil || s.Spec.Volume.ClaimName == claim {
			sum += held.bytes
		}
	}
	for _, of := range b.settling {
		if s := b.stores[of.store]; s != nil && s.Spec.Volume.ClaimName == claim {
			sum += of.bytes
		}
	}
	return sum
}

func claimIsItsOwn(r *round, e *entry) *Refusal {
	store := r.book.stores[e.line.store]
	first := FirstOnClaim(maps.Values(r.book.stores), store.Spec.Volume.ClaimName)
	if first == store {
		return nil
	}
	return notReady(store, ClaimInUse(store, first))
}

// passOn leaves what a store that is gone has published, and no report shows yet, to the next one on its claim.
func (b *book) passOn(gone *v1alpha1.UploadStore) {
	next := FirstOnClaim(maps.Values(b.stores), gone.Spec.Volume.ClaimName)
	for uid, of := range b.settling {
		if of.store != gone.Name {
			continue
		}
		if next != nil {
			of.store = next.Name
		}
		if next == nil || b.shows(of) {
			delete(b.settling, uid)
		} else {
			b.settling[uid] = of
		}
	}
}
