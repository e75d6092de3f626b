package admission

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// rules are asked in order; the first refusal counts. A rule may rely on what
// the rules before it have let pass.
var rules = []func(Request) *Refusal{
	storeExists,
	storeReady,
	withinLimits,
	capacity,
}

func storeExists(r Request) *Refusal {
	if r.Store != nil {
		return nil
	}
	return &Refusal{
		Reason: v1alpha1.ReasonStoreNotFound,
		Message: fmt.Sprintf("There is no UploadStore %q in namespace %q: create it, or a session that names another store.",
			r.Session.Spec.StoreRef.Name, r.Session.Namespace),
	}
}

func storeReady(r Request) *Refusal {
	ready := meta.FindStatusCondition(r.Store.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Status == metav1.ConditionTrue && len(r.Store.Status.Replicas) > 0 {
		return nil
	}
	why := "the operator has not looked at it yet."
	if ready != nil {
		why = ready.Message
	}
	return &Refusal{
		Reason:  v1alpha1.ReasonStoreNotReady,
		Message: fmt.Sprintf("UploadStore %q is not ready: %s", r.Store.Name, why),
	}
}

func withinLimits(r Request) *Refusal {
	size, chunk, limits := *r.Session.Spec.SizeBytes, chunkSizeBytes(r), r.Store.Spec.Limits
	var message string
	switch {
	case limits.MaxObjectBytes != 0 && size > limits.MaxObjectBytes:
		message = fmt.Sprintf("sizeBytes is %d, and UploadStore %q takes objects of at most %d bytes (limits.maxObjectBytes): "+
			"raise the limit and create the session again, or choose another store.", size, r.Store.Name, limits.MaxObjectBytes)
	case limits.MaxChunkBytes != 0 && chunk > limits.MaxChunkBytes:
		message = fmt.Sprintf("chunkSizeBytes is %d, and UploadStore %q takes chunks of at most %d bytes (limits.maxChunkBytes): "+
			"create the session again with a smaller chunkSizeBytes.", chunk, r.Store.Name, limits.MaxChunkBytes)
	case (size+chunk-1)/chunk > v1alpha1.MaxChunks:
		message = fmt.Sprintf("%d bytes in chunks of %d bytes are more than %d chunks: "+
			"create the session again with a larger chunkSizeBytes.", size, chunk, v1alpha1.MaxChunks)
	default:
		return nil
	}
	return &Refusal{Reason: v1alpha1.ReasonExceedsStoreLimits, Message: message, Final: true}
}

// capacity compares with what the volume would have free with nothing staged,
// so that bytes already received don't count twice.
func capacity(r Request) *Refusal {
	var available int64
	if r.Store.Status.AvailableBytes != nil {
		available = *r.Store.Status.AvailableBytes
	}
	needed, free := *r.Session.Spec.SizeBytes, max(0, available-Reserved(r.Sessions))
	if needed <= free {
		return nil
	}
	return &Refusal{
		Reason: v1alpha1.ReasonInsufficientSpace,
		Message: fmt.Sprintf("The session needs %d bytes and UploadStore %q has %d free that no other session reserves: "+
			"it starts when others end or objects are deleted.", needed, r.Store.Name, free),
	}
}
