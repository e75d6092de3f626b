package admission

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// rules are what a session must meet before it is asked what it takes, in this
// order; the first refusal counts. A rule may rely on what the rules before it
// have let pass. None of these refusals makes anybody else wait.
var rules = []func(*round, *entry) *Refusal{
	storeExists,
	claimIsItsOwn,
	storeReady,
	withinStoreLimits,
	withinQuotaObject,
}

func storeExists(r *round, e *entry) *Refusal {
	if r.book.stores[e.line.store] != nil {
		return nil
	}
	return &Refusal{
		Reason: v1alpha1.ReasonStoreNotFound,
		About: fmt.Sprintf("There is no UploadStore %q in namespace %q: create it, or a session that names another store.",
			e.line.store, r.book.namespace),
	}
}

func storeReady(r *round, e *entry) *Refusal {
	store := r.book.stores[e.line.store]
	condition := ready(store)
	if condition.Status == metav1.ConditionTrue && len(takers(store)) > 0 {
		return nil
	}
	if !store.DeletionTimestamp.IsZero() {
		return &Refusal{
			Reason: v1alpha1.ReasonStoreNotReady,
			About:  fmt.Sprintf("UploadStore %q is being deleted: name another store, or create it again once it is gone.", store.Name),
		}
	}
	return notReady(store, cmp.Or(condition.Message, "the operator has not looked at it yet."))
}

func notReady(store *v1alpha1.UploadStore, why string) *Refusal {
	return &Refusal{Reason: v1alpha1.ReasonStoreNotReady, About: fmt.Sprintf("UploadStore %q is not ready: %s", store.Name, why)}
}

// ready returns condition Ready of a store, empty where it has none.
func ready(store *v1alpha1.UploadStore) metav1.Condition {
	condition := meta.FindStatusCondition(store.Status.Conditions, v1alpha1.ConditionReady)
	if condition == nil {
		return metav1.Condition{}
	}
	return metav1.Condition{Status: condition.Status, Message: condition.Message}
}

func withinStoreLimits(r *round, e *entry) *Refusal {
	store := r.book.stores[e.line.store]
	size, chunk, limits := e.sizeBytes, chunkSize(store, e), store.Spec.Limits
	var message string
	switch {
	case limits.MaxObjectBytes != 0 && size > limits.MaxObjectBytes:
		message = fmt.Sprintf("sizeBytes is %d, and UploadStore %q takes objects of at most %d bytes (limits.maxObjectBytes): "+
			"raise the limit and create the session again, or choose another store.", size, store.Name, limits.MaxObjectBytes)
	case limits.MaxChunkBytes != 0 && chunk > limits.MaxChunkBytes:
		message = fmt.Sprintf("chunkSizeBytes is %d, and UploadStore %q takes chunks of at most %d bytes (limits.maxChunkBytes): "+
			"create the session again with a smaller chunkSizeBytes.", chunk, store.Name, limits.MaxChunkBytes)
	case (size+chunk-1)/chunk > v1alpha1.MaxChunks:
		message = fmt.Sprintf("%d bytes in chunks of %d bytes are more than %d chunks: "+
			"create the session again with a larger chunkSizeBytes.", size, chunk, v1alpha1.MaxChunks)
	case (size+chunk-1)/chunk > v1alpha1.FewChunks && chunk < v1alpha1.MinChunkBytes:
		message = fmt.Sprintf("%d bytes in chunks of %d bytes are more than %d chunks, which then have at least %d bytes each: "+
			"create the session again with a larger chunkSizeBytes.", size, chunk, v1alpha1.FewChunks, v1alpha1.MinChunkBytes)
	default:
		return nil
	}
	return &Refusal{Reason: v1alpha1.ReasonExceedsStoreLimits, Detail: message, Final: true}
}

// withinQuotaObject compares with the largest object of each quota. Nobody's
// end helps a session that exceeds it.
func withinQuotaObject(r *round, e *entry) *Refusal {
	var waits *Refusal
	for _, name := range r.quotas {
		spec := r.book.quotas[name].Spec
		if !counts(spec, e.line.store) || spec.Hard.ObjectBytes == 0 || e.sizeBytes <= spec.Hard.ObjectBytes {
			continue
		}
		l := &limit{counts: "objectBytes", bytes: true, quota: name, hard: spec.Hard.ObjectBytes}
		if spec.OnExceeded == v1alpha1.QuotaExceededPolicyReject {
			return l.rejection(e)
		}
		if waits == nil {
			waits = l.impossible(e)
		}
	}
	return waits
}

// chunkSize returns the session's own chunk size or the store's default,
// which the API server always fills in.
func chunkSize(store *v1alpha1.UploadStore, e *entry) int64 {
	return cmp.Or(e.chunkSizeBytes, store.Spec.Defaults.ChunkSizeBytes)
}
