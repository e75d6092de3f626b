package cluster_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/cluster"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

func TestAQuickUploadCostsOneWrite(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	object := content(7)
	s := w.create("quick", func(s *v1alpha1.UploadSession) { s.Spec.Digest = digestOf(object) })
	w.admit(s)
	w.known(p, s)
	w.put(p, s, object, 0, chunks-1)

	now := w.shows(s)
	w.Expect(w.published(s)).To(Equal(object))
	result := now.Status.Result
	w.Expect(result.Outcome).To(Equal(v1alpha1.UploadOutcomePublished))
	w.Expect(result.Reason).To(Equal(v1alpha1.ReasonPublished))
	w.Expect(result.Key).To(Equal(s.Spec.Key))
	w.Expect(result.SizeBytes).To(HaveValue(BeEquivalentTo(len(object))))
	w.Expect(result.Digest).To(Equal(digestOf(object)))
	w.Expect(result.PublishedTime.IsZero()).To(BeFalse())
	w.Expect(result.FinishedTime.IsZero()).To(BeFalse())
	progress := now.Status.Progress
	w.Expect(progress.ReceivedBytes).To(HaveValue(BeEquivalentTo(len(object))))
	w.Expect(progress.ReceivedChunks).To(HaveValue(BeEquivalentTo(chunks)))
	w.Expect(progress.TotalChunks).To(HaveValue(BeEquivalentTo(chunks)))
	w.Expect(progress.Percent).To(HaveValue(BeEquivalentTo(100)))
	w.Expect(progress.LastActivityTime.IsZero()).To(BeFalse())

	w.ownsProgressAndResultOnly(now)
	// What comes after the result changes nothing, and so writes nothing: a chunk sent again, a
	// change of the session, a restart.
	w.put(p, s, object, 0, 0)
	w.Expect(w.admin.Patch(t.Context(), now, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`)))).To(Succeed())
	p.stop()
	w.start()
	other := w.create("other", func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = ptr.To(int64(0)) })
	w.admit(other)
	w.shows(other) // by now the other one was looked at too
	w.Expect(w.writes(s)).To(HaveLen(1))
	w.Expect(w.writes(other)).To(HaveLen(1))
}

// ownsProgressAndResultOnly looks at what the dataplane owns of a session.
func (w *world) ownsProgressAndResultOnly(s *v1alpha1.UploadSession) {
	w.t.Helper()
	for _, entry := range s.ManagedFields {
		if entry.Manager != v1alpha1.DataplaneFieldManager {
			continue
		}
		w.Expect(entry.Subresource).To(Equal("status"))
		var owned map[string]map[string]any
		w.Expect(json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned)).To(Succeed())
		w.Expect(owned).To(HaveLen(1))
		w.Expect(owned["f:status"]).To(And(HaveLen(2), HaveKey("f:progress"), HaveKey("f:result")))
		return
	}
	w.t.Error("the dataplane owns nothing")
}

func TestAnEmptyObjectIsPublishedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.start()
	s := w.admit(w.create("empty", func(s *v1alpha1.UploadSession) { s.Spec.SizeBytes = ptr.To(int64(0)) }))
	now := w.shows(s)
	w.Expect(now.Status.Result.Outcome).To(Equal(v1alpha1.UploadOutcomePublished))
	w.Expect(now.Status.Result.SizeBytes).To(HaveValue(BeZero()))
	w.Expect(now.Status.Progress.Percent).To(HaveValue(BeEquivalentTo(100)))
	w.Expect(w.writes(s)).To(HaveLen(1))
}

func TestProgressIsCoalesced(t *testing.T) {
	w := newWorld(t)
	w.config = func(c *cluster.Config) { c.ProgressInterval = 2 * time.Second }
	p := w.start()
	s := w.admit(w.create("slow"))
	w.known(p, s)
	began := time.Now()
	w.put(p, s, content(1), 0, 5)
	var now v1alpha1.UploadSession
	w.Eventually(func(g Gomega) {
		g.Expect(w.admin.Get(t.Context(), client.ObjectKeyFromObject(s), &now)).To(Succeed())
		g.Expect(now.Status.Progress.ReceivedChunks).To(HaveValue(BeEquivalentTo(6)))
	}).Should(Succeed())
	w.Expect(time.Since(began)).To(BeNumerically(">=", 2*time.Second))
	w.Expect(now.Status.Progress.ReceivedBytes).To(HaveValue(BeEquivalentTo(6 * chunkSize)))
	w.Expect(now.Status.Progress.Percent).To(HaveValue(BeEquivalentTo(82)))
	w.Expect(w.writes(s)).To(HaveLen(1))
	w.put(p, s, content(1), 6, chunks-1)
	w.shows(s)
	w.Expect(w.writes(s)).To(HaveLen(2))
}

func TestSuspendedAndActiveAgain(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	s := w.admit(w.create("paused"))
	w.known(p, s)
	w.put(p, s, content(1), 0, 3)
	desire := func(state v1alpha1.DesiredState) {
		t.Helper()
		patch := []byte(`{"spec":{"desiredState":"` + string(state) + `"}}`)
		w.Expect(w.admin.Patch(t.Context(), s, client.RawPatch("application/merge-patch+json", patch))).To(Succeed())
	}
	paused := func() bool {
		st, err := p.uploads.Known(session.ID(s.UID))
		w.Expect(err).NotTo(HaveOccurred())
		return st.Meta.Paused
	}
	desire(v1alpha1.DesiredStateSuspended)
	w.Eventually(paused).Should(BeTrue())
	desire(v1alpha1.DesiredStateActive)
	w.Eventually(paused).Should(BeFalse())
	w.put(p, s, content(1), 4, chunks-1)
	w.Expect(w.shows(s).Status.Result.Outcome).To(Equal(v1alpha1.UploadOutcomePublished))
}

func TestCancelFreesTheBytes(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	s := w.admit(w.create("cancelled"))
	w.known(p, s)
	w.put(p, s, content(1), 0, 3)
	w.Expect(w.admin.Patch(t.Context(), s, client.RawPatch("application/merge-patch+json",
		[]byte(`{"spec":{"desiredState":"Cancelled"}}`)))).To(Succeed())
	now := w.shows(s)
	w.Expect(now.Status.Result.Outcome).To(Equal(v1alpha1.UploadOutcomeAborted))
	w.Expect(now.Status.Result.Reason).To(Equal(v1alpha1.ReasonCancelled))
	w.Expect(now.Status.Result.Message).NotTo(BeEmpty())
	w.Expect(now.Status.Progress.ReceivedChunks).To(HaveValue(BeEquivalentTo(4)))
	w.Expect(w.writes(s)).To(HaveLen(1))
	_, err := p.uploads.PutChunk(t.Context(), w.name(s), session.Incoming{Index: 4})
	w.Expect(err).To(HaveOccurred())
}

func withFinalizer(s *v1alpha1.UploadSession) { s.Finalizers = []string{v1alpha1.StagingFinalizer} }

// letGo removes the finalizer, as the operator does.
func (w *world) letGo(s *v1alpha1.UploadSession) {
	w.t.Helper()
	w.Expect(w.admin.Patch(w.t.Context(), s, client.RawPatch("application/merge-patch+json",
		[]byte(`{"metadata":{"finalizers":null}}`)))).To(Succeed())
	w.Eventually(func() bool {
		return apierrors.IsNotFound(w.admin.Get(w.t.Context(), client.ObjectKeyFromObject(s), &v1alpha1.UploadSession{}))
	}).Should(BeTrue())
}

func TestDeleteIsConfirmedAndThenForgotten(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	s := w.admit(w.create("deleted", withFinalizer))
	w.known(p, s)
	w.put(p, s, content(1), 0, 3)
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	now := w.shows(s)
	w.Expect(now.Status.Result.Outcome).To(Equal(v1alpha1.UploadOutcomeAborted))
	w.Expect(now.Status.Result.Reason).To(Equal(v1alpha1.ReasonDeleted))
	w.letGo(s)
	w.forgotten(p, s)
	w.Expect(w.writes(s)).To(HaveLen(1))
}

func TestDeleteOfWhatNeverBeganIsConfirmedToo(t *testing.T) {
	w := newWorld(t)
	s := w.admit(w.create("unbegun", withFinalizer))
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	p := w.start()
	now := w.shows(s)
	w.Expect(now.Status.Result.Reason).To(Equal(v1alpha1.ReasonDeleted))
	w.Expect(now.Status.Progress.ReceivedBytes).To(BeNil())
	w.Expect(p.uploads.All()).To(BeEmpty())
	w.letGo(s)
	w.Expect(w.writes(s)).To(HaveLen(1))
}

func TestDeleteFreesEvenWhatCanNotBeRead(t *testing.T) {
	w := newWorld(t)
	s := w.admit(w.create("damaged", withFinalizer))
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	damaged := filepath.Join(w.volume, session.ReservedElement, replica+".replica", string(s.UID))
	w.Expect(os.MkdirAll(damaged, 0o700)).To(Succeed())
	w.Expect(os.WriteFile(filepath.Join(damaged, "record"), []byte("{"), 0o600)).To(Succeed())
	w.damaged = true
	w.start()
	w.Expect(w.shows(s).Status.Result.Reason).To(Equal(v1alpha1.ReasonDeleted))
	w.Expect(w.staged(s)).To(BeFalse())
}

func TestDeleteWithoutAFinalizerIsSeen(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	s := w.admit(w.create("gone"))
	w.known(p, s)
	w.put(p, s, content(1), 0, 3)
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	w.forgotten(p, s)
}

func TestDeletedWhileTheDataplaneWasAway(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	s := w.admit(w.create("gone"))
	w.known(p, s)
	w.put(p, s, content(1), 0, 3)
	p.stop()
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	w.Expect(w.staged(s)).To(BeTrue())
	p = w.start()
	w.forgotten(p, s)
}

func TestANameUsedAgainIsAnotherUpload(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	first := w.admit(w.create("again"))
	w.known(p, first)
	w.put(p, first, content(1), 0, 3)
	w.wire.cut()
	w.Expect(w.admin.Delete(t.Context(), first)).To(Succeed())
	second := w.admit(w.create("again"))
	w.wire.mend()
	w.known(p, second)
	w.forgotten(p, first)
	w.put(p, second, content(2), 0, chunks-1)
	w.shows(second)
	w.Expect(w.published(second)).To(Equal(content(2)))
}

func TestAnUploadThatIsNotKnownIsLookedUpOnce(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	status := func(namespace, name string) error {
		_, err := p.uploads.Status(t.Context(), upload.Name{Namespace: namespace, Name: name})
		return err
	}
	w.Expect(status(w.namespace, "nothing")).To(MatchError(upload.ErrUnknown))
	w.Expect(status(w.namespace, "not/a/name")).To(MatchError(upload.ErrUnknown))
	w.Expect(status(w.namespace, "")).To(MatchError(upload.ErrUnknown))
	w.Expect(status("kube-system", "nothing")).To(MatchError(upload.ErrUnknown))
	waiting := w.create("waiting")
	w.Expect(status(w.namespace, "waiting")).To(MatchError(upload.ErrNotReady))
	elsewhere := w.create("elsewhere", func(s *v1alpha1.UploadSession) { s.Spec.StoreRef.Name = "data" })
	w.Expect(status(w.namespace, "elsewhere")).To(MatchError(upload.ErrNotReady))
	w.admit(elsewhere)
	w.Eventually(func() error { return status(w.namespace, "elsewhere") }).Should(MatchError(upload.ErrElsewhere))
	cancelled := w.create("over", func(s *v1alpha1.UploadSession) { s.Spec.DesiredState = v1alpha1.DesiredStateCancelled })
	w.Expect(status(w.namespace, "over")).To(MatchError(session.ErrEnded))
	w.admit(waiting)
	w.Expect(status(w.namespace, "waiting")).To(Succeed()) // whether or not the watch was there first
	w.wire.cut()
	w.Expect(status(w.namespace, "anything")).To(MatchError(upload.ErrUnavailable))
	w.Expect(status(w.namespace, "waiting")).To(Succeed())
	w.Expect(slices.Concat(w.writes(waiting), w.writes(elsewhere), w.writes(cancelled))).To(BeEmpty())
}

func TestAnUploadNeedsNoAPIServer(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	object := content(3)
	s := w.admit(w.create("offline"))
	w.known(p, s)
	w.put(p, s, object, 0, 1)
	w.wire.cut()
	w.put(p, s, object, 2, 4)
	p.stop()
	p = w.start() // with no API server there
	w.put(p, s, object, 5, chunks-1)
	w.Eventually(func() (*upload.Result, error) {
		st, err := p.uploads.Known(session.ID(s.UID))
		return st.Result, err
	}).ShouldNot(BeNil())
	w.Expect(w.published(s)).To(Equal(object))
	w.Expect(w.writes(s)).To(BeEmpty())
	w.wire.mend()
	now := w.shows(s)
	w.Expect(now.Status.Result.Outcome).To(Equal(v1alpha1.UploadOutcomePublished))
	w.Expect(now.Status.Result.Digest).To(Equal(digestOf(object)))
	w.Expect(w.writes(s)).To(HaveLen(1))
}

// What was seen of a session is no reason to write to another one that has its
// name by now.
func TestAStatusIsForTheSessionThatWasSeen(t *testing.T) {
	w := newWorld(t)
	first := w.create("again")
	w.Expect(w.admin.Delete(t.Context(), first)).To(Succeed())
	write := func(seen *v1alpha1.UploadSession) error {
		return w.admin.Status().Apply(t.Context(), cluster.ProgressOf(seen),
			client.FieldOwner(v1alpha1.DataplaneFieldManager), client.ForceOwnership)
	}
	w.Expect(write(first)).To(Satisfy(apierrors.IsNotFound))
	second := w.create("again")
	w.Expect(write(first)).To(Satisfy(apierrors.IsConflict))
	w.Expect(write(second)).To(Succeed())
}

func TestAKeyThatExistsEndsTheSessionBeforeAByteMoves(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	first := w.admit(w.create("first"))
	w.known(p, first)
	w.put(p, first, content(1), 0, chunks-1)
	w.shows(first)
	second := w.admit(w.create("second", func(s *v1alpha1.UploadSession) { s.Spec.Key = first.Spec.Key }))
	now := w.shows(second)
	w.Expect(now.Status.Result.Outcome).To(Equal(v1alpha1.UploadOutcomeFailed))
	w.Expect(now.Status.Result.Reason).To(Equal(v1alpha1.ReasonKeyExists))
}
