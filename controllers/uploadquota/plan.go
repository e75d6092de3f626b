package uploadquota

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/admission"
	"github.com/slipway-dev/slipway/controllers/conditions"
)

// plan is what a reconcile writes.
type plan struct {
	// status is the whole status, nil when it is as it should be.
	status *v1alpha1.UploadQuotaStatus
}

func planFor(o observation, now time.Time) plan {
	observed := *o.quota.Status.DeepCopy()
	observed.Conditions = conditions.Own(observed.Conditions, v1alpha1.ConditionReady)
	used := count(o.quota.Spec.StoreRef.Name, o.sessions)
	desired := v1alpha1.UploadQuotaStatus{
		Conditions:         slices.Clone(observed.Conditions),
		Hard:               *o.quota.Spec.Hard.DeepCopy(),
		Used:               used,
		Summary:            summary(o.quota.Spec.Hard, used),
		ObservedGeneration: ptr.To(o.quota.Generation),
	}
	ready := readiness(o)
	ready.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	meta.SetStatusCondition(&desired.Conditions, ready)
	if equality.Semantic.DeepEqual(observed, desired) {
		return plan{}
	}
	return plan{status: &desired}
}

// readiness says whether the quota does what it was made for.
func readiness(o observation) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCounting,
		Message: "Sessions are admitted within the quota.", ObservedGeneration: o.quota.Generation,
	}
	if !o.storeFound {
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonStoreNotFound
		c.Message = fmt.Sprintf("There is no UploadStore %q in namespace %q: the quota limits nothing until it is created, or storeRef is changed.",
			o.quota.Spec.StoreRef.Name, o.quota.Namespace)
	}
	return c
}

// count sums what the sessions of a store hold, or of all stores.
func count(store string, sessions []v1alpha1.UploadSession) v1alpha1.UploadQuotaUsed {
	type sum struct {
		sessions int32
		bytes    int64
	}
	var all, most sum
	owners := map[string]sum{}
	for i := range sessions {
		s := &sessions[i]
		if !admission.Holds(s) || store != "" && s.Spec.StoreRef.Name != store {
			continue
		}
		reserved := *s.Status.Admission.ReservedBytes
		own := owners[s.Spec.Owner]
		own = sum{own.sessions + 1, own.bytes + reserved}
		owners[s.Spec.Owner] = own
		all = sum{all.sessions + 1, all.bytes + reserved}
		most = sum{max(most.sessions, own.sessions), max(most.bytes, own.bytes)}
	}
	return v1alpha1.UploadQuotaUsed{
		ActiveSessions: &all.sessions, ActiveSessionsPerOwner: &most.sessions,
		ReservedBytes: &all.bytes, ReservedBytesPerOwner: &most.bytes,
	}
}

// summary is each limit and what is taken of it, in the words of kubectl get resourcequota.
func summary(hard v1alpha1.UploadQuotaHard, used v1alpha1.UploadQuotaUsed) string {
	var parts []string
	add := func(name string, used, hard any) { parts = append(parts, fmt.Sprintf("%s: %d/%d", name, used, hard)) }
	if hard.ActiveSessions != nil {
		add("activeSessions", *used.ActiveSessions, *hard.ActiveSessions)
	}
	if hard.ActiveSessionsPerOwner != nil {
		add("activeSessionsPerOwner", *used.ActiveSessionsPerOwner, *hard.ActiveSessionsPerOwner)
	}
	if hard.ReservedBytes != nil {
		add("reservedBytes", *used.ReservedBytes, *hard.ReservedBytes)
	}
	if hard.ReservedBytesPerOwner != nil {
		add("reservedBytesPerOwner", *used.ReservedBytesPerOwner, *hard.ReservedBytesPerOwner)
	}
	if hard.ObjectBytes != 0 {
		parts = append(parts, fmt.Sprintf("objectBytes: %d", hard.ObjectBytes))
	}
	return strings.Join(parts, ", ")
}
