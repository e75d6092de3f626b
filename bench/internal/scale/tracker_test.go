package scale

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

func newTracker() *tracker {
	return &tracker{sessions: map[string]*track{}, changed: make(chan struct{}), limit: -1}
}

// seen is session n as a watch shows it.
func seen(n int, change ...func(*v1alpha1.UploadSession)) *v1alpha1.UploadSession {
	s := &v1alpha1.UploadSession{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(n)}}
	for _, c := range change {
		c(s)
	}
	return s
}

func admittedNow(s *v1alpha1.UploadSession) { s.Status.Admission.Replica = replicaName }

func published(s *v1alpha1.UploadSession) {
	s.Status.Result = v1alpha1.UploadSessionResult{Outcome: v1alpha1.UploadOutcomePublished, SizeBytes: ptr.To[int64](7), Digest: "d"}
}

func succeeded(s *v1alpha1.UploadSession) {
	s.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionAdmitted, Status: metav1.ConditionTrue}, {Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue},
	}
}

func TestMoreThanAllowedAreCounted(t *testing.T) {
	k := newTracker()
	k.allow(1)
	k.see(seen(1, admittedNow))
	k.see(seen(2))
	if over := k.number(overOf); over != 0 {
		t.Fatalf("one is active, and %d events were too much", over)
	}
	k.see(seen(1, admittedNow, published))
	k.see(seen(2, admittedNow))
	if over := k.number(overOf); over != 0 {
		t.Fatalf("the first has ended, and %d events were too much", over)
	}
	k.see(seen(3, admittedNow))
	if over := k.number(overOf); over != 1 {
		t.Errorf("two are active, and %d events were too much", over)
	}
	k.lose(seen(3))
	k.see(seen(2, admittedNow))
	if over := k.number(overOf); over != 1 {
		t.Errorf("one is gone, and %d events were too much", over)
	}
}

func TestTheTrackerFollowsASession(t *testing.T) {
	k := newTracker()
	k.see(seen(1, admittedNow))
	k.see(seen(1, admittedNow, published))
	first, _ := k.look("1")
	k.see(seen(1, admittedNow, published, succeeded))
	k.see(seen(1, admittedNow, published, succeeded)) // a replay counts once
	got, ok := k.look("1")
	if !ok || !got.success || got.outcome != v1alpha1.UploadOutcomePublished || got.size != 7 || got.digest != "d" {
		t.Errorf("got %+v", got)
	}
	if got.resulted.IsZero() || !got.resulted.Equal(first.resulted) {
		t.Errorf("the result was seen at %v, then at %v", first.resulted, got.resulted)
	}
	for what, of := range map[string]func(*tracker) int{"admitted": admittedOf, "told": toldOf, "ended": endedOf, "left": leftOf} {
		if err := k.until(t.Context(), what, of, atLeast(1)); err != nil {
			t.Error(err)
		}
	}
	k.lose(seen(1))
	for what, of := range map[string]func(*tracker) int{"admitted": admittedOf, "told": toldOf, "ended": endedOf, "left": leftOf} {
		if n := k.number(of); n != 0 {
			t.Errorf("%s: %d", what, n)
		}
	}
}

func TestWhatNeverComesEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newTracker().until(ctx, "left", leftOf, atLeast(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
