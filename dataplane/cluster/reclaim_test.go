package cluster_test

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
)

// withObject is a session that its finalizer keeps, and whose object goes with it.
func withObject(s *v1alpha1.UploadSession) {
	withFinalizer(s)
	s.Spec.ReclaimPolicy = v1alpha1.ReclaimPolicyDelete
}

// isGone is whether nothing is under the key of a session.
func (w *world) isGone(s *v1alpha1.UploadSession) bool {
	w.t.Helper()
	_, err := os.Lstat(filepath.Join(w.volume, filepath.FromSlash(s.Spec.Key)))
	if !os.IsNotExist(err) {
		w.Expect(err).NotTo(HaveOccurred())
	}
	return err != nil
}

// reclaimed waits until the session says that its object is gone.
func (w *world) reclaimed(s *v1alpha1.UploadSession) *v1alpha1.UploadSession {
	w.t.Helper()
	var now v1alpha1.UploadSession
	w.Eventually(func(g Gomega) {
		g.Expect(w.admin.Get(w.t.Context(), client.ObjectKeyFromObject(s), &now)).To(Succeed())
		g.Expect(now.Status.ReclaimedTime.IsZero()).To(BeFalse())
	}).Should(Succeed())
	return &now
}

func TestTheObjectOfADeletedSessionGoesWithIt(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	s := w.admit(w.create("reclaimed", withObject))
	w.known(p, s)
	w.put(p, s, content(1), 0, chunks-1)
	before := w.shows(s)
	w.Expect(before.Status.ReclaimedTime.IsZero()).To(BeTrue())
	w.Expect(w.published(s)).To(Equal(content(1)))

	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	now := w.reclaimed(s)
	w.Expect(w.isGone(s)).To(BeTrue())
	w.Expect(now.Status.Result).To(Equal(before.Status.Result))
	w.Expect(now.Status.Progress).To(Equal(before.Status.Progress))
	w.letGo(s)
	w.forgotten(p, s)
	w.Expect(w.writes(s)).To(HaveLen(2))
}

func TestASessionThatIsPublishedWhileItIsDeletedLosesItsObject(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	s := w.admit(w.create("late", withObject))
	w.known(p, s)
	w.put(p, s, content(1), 0, 3)
	w.wire.cut()
	w.put(p, s, content(1), 4, chunks-1)
	w.Eventually(func() bool {
		st, err := p.uploads.Known(session.ID(s.UID))
		return err == nil && st.Meta.Settled
	}).Should(BeTrue())
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	w.wire.mend()
	now := w.reclaimed(s)
	w.Expect(now.Status.Result.Outcome).To(Equal(v1alpha1.UploadOutcomePublished))
	w.Expect(w.isGone(s)).To(BeTrue())
	w.letGo(s)
	w.Expect(w.writes(s)).To(HaveLen(1))
}

// What is on the volume says whose the object is and that it is to go.
func TestTheObjectOfASessionThatIsGoneForGoodIsSwept(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	var sessions []*v1alpha1.UploadSession
	for name, change := range map[string]func(*v1alpha1.UploadSession){
		"swept": withObject, "kept": withFinalizer, "replaced": withObject,
	} {
		s := w.admit(w.create(name, change))
		w.known(p, s)
		w.put(p, s, content(1), 0, chunks-1)
		w.shows(s)
		sessions = append(sessions, s)
	}
	other := w.admit(w.create("other", func(s *v1alpha1.UploadSession) {
		s.Spec.Key, s.Spec.ConflictPolicy = "objects/replaced", v1alpha1.ConflictPolicyReplace
	}))
	w.known(p, other)
	w.put(p, other, content(2), 0, chunks-1)
	w.shows(other)
	p.stop()
	for _, s := range sessions {
		w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
		w.letGo(s)
	}
	p = w.start()
	for _, s := range sessions {
		w.forgotten(p, s)
		w.Expect(w.isGone(s)).To(Equal(s.Name == "swept"), s.Name)
	}
	w.Expect(w.published(other)).To(Equal(content(2)))
}
