package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/test/controlplane"
)

// asks is a request of alice for the object.
func (w *world) asks(key string, fields ...string) upload.CreateRequest {
	w.t.Helper()
	spec := map[string]any{"key": "objects/made", "sizeBytes": len(content(0))}
	for i := 0; i < len(fields); i += 2 {
		var value any
		w.Expect(json.Unmarshal([]byte(fields[i+1]), &value)).To(Succeed())
		spec[fields[i]] = value
	}
	body, err := json.Marshal(spec)
	w.Expect(err).NotTo(HaveOccurred())
	return upload.CreateRequest{Namespace: w.namespace, Owner: "alice", Key: key, Spec: body}
}

// made creates a session through a dataplane, and returns what the API server has of it.
func (w *world) made(p *process, r upload.CreateRequest) (upload.Created, *v1alpha1.UploadSession) {
	w.t.Helper()
	c, err := p.creator.Create(w.t.Context(), r)
	w.Expect(err).NotTo(HaveOccurred())
	return c, w.get(c)
}

func (w *world) get(c upload.Created) *v1alpha1.UploadSession {
	w.t.Helper()
	var s v1alpha1.UploadSession
	w.Expect(w.admin.Get(w.t.Context(), client.ObjectKey{Namespace: c.Name.Namespace, Name: c.Name.Name}, &s)).To(Succeed())
	return &s
}

// sessions is how many there are in the world.
func (w *world) sessions() int {
	w.t.Helper()
	var list v1alpha1.UploadSessionList
	w.Expect(w.admin.List(w.t.Context(), &list, client.InNamespace(w.namespace))).To(Succeed())
	return len(list.Items)
}

// says writes a condition as the operator does; a session that it ends has ended now.
func (w *world) says(s *v1alpha1.UploadSession, reason, message string, ends bool) {
	w.t.Helper()
	status := applyv1alpha1.UploadSessionStatus()
	conditions := []string{v1alpha1.ConditionAdmitted}
	if ends {
		conditions = append(conditions, v1alpha1.ConditionSucceeded)
		status.WithCompletionTime(metav1.Now().Rfc3339Copy())
	}
	for _, condition := range conditions {
		status.WithConditions(applymetav1.Condition().WithType(condition).WithStatus(metav1.ConditionFalse).
			WithReason(reason).WithMessage(message).WithLastTransitionTime(metav1.Now().Rfc3339Copy()))
	}
	w.Expect(w.admin.Status().Apply(w.t.Context(),
		applyv1alpha1.UploadSession(s.Name, s.Namespace).WithUID(s.UID).WithStatus(status),
		client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership)).To(Succeed())
}

// awaiting awaits the session in the background.
func (w *world) awaiting(ctx context.Context, p *process, c upload.Created) <-chan awaited {
	w.t.Helper()
	done := make(chan awaited, 1)
	go func() {
		now, err := p.creator.Await(ctx, c)
		done <- awaited{now, err}
	}()
	return done
}

type awaited struct {
	upload.Created
	err error
}

func (w *world) receive(from <-chan awaited) awaited {
	w.t.Helper()
	var a awaited
	w.Eventually(from).Should(Receive(&a))
	return a
}

func TestASessionIsCreatedOnce(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	first, s := w.made(p, w.asks("1", "attributes", `{"license": "mit"}`))
	w.Expect(first.Found).To(BeFalse())
	w.Expect(first.Name.Name).To(HavePrefix("upl-"))
	w.Expect(first.Waits).To(Equal(&upload.Waits{}))
	w.Expect(first.Size).To(BeEquivalentTo(len(content(0))))
	w.Expect(s.UID).To(BeEquivalentTo(first.ID))
	w.Expect(s.Spec.StoreRef.Name).To(Equal(store))
	w.Expect(s.Spec.Owner).To(Equal("alice"))
	w.Expect(s.Spec.Attributes).To(HaveKeyWithValue("license", v1alpha1.AttributeValue("mit")))
	w.Expect(s.Spec.Completion).To(Equal(v1alpha1.CompletionModeAutomatic)) // by the API server

	// Whoever created it may be dead: nothing is remembered but in the API server.
	p.stop()
	p = w.start()
	again, _ := w.made(p, w.asks("1", "attributes", `{"license": "mit"}`, "owner", `"alice"`))
	w.Expect(again.Found).To(BeTrue())
	w.Expect(again.ID).To(Equal(first.ID))

	other, _ := w.made(p, w.asks("2", "attributes", `{"license": "mit"}`))
	w.Expect(other.Found).To(BeFalse())
	w.Expect(other.ID).NotTo(Equal(first.ID))
	for range 2 {
		without, _ := w.made(p, w.asks(""))
		w.Expect(without.Found).To(BeFalse())
	}
	w.Expect(w.sessions()).To(Equal(4))
}

func TestTheSameKeyForAnotherSpec(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	first, s := w.made(p, w.asks("1"))
	_, err := p.creator.Create(t.Context(), w.asks("1", "sizeBytes", "7"))
	w.Expect(err).To(MatchError(upload.ErrKeyReused))
	w.Expect(err).To(MatchError(ContainSubstring(first.Name.Name)))

	// Who else made a session of that name can't pass it off as alice's.
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	squat := w.create(s.Name, func(squat *v1alpha1.UploadSession) {
		squat.Annotations, squat.Spec = s.Annotations, s.Spec
		squat.Spec.Owner = "mallory"
	})
	_, err = p.creator.Create(t.Context(), w.asks("1"))
	w.Expect(err).To(MatchError(upload.ErrKeyReused))
	w.Expect(w.admin.Delete(t.Context(), squat)).To(Succeed())
	second, _ := w.made(p, w.asks("1"))
	w.Expect(second.Found).To(BeFalse())
	w.Expect(second.Name).To(Equal(first.Name))
	w.Expect(second.ID).NotTo(Equal(first.ID))
}

func TestManyRequestsWithOneKey(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	var mu sync.Mutex
	var created int
	ids := map[session.ID]bool{}
	var all sync.WaitGroup
	begin := make(chan struct{})
	request := w.asks("1")
	for range 10 {
		all.Go(func() {
			<-begin
			c, err := p.creator.Create(t.Context(), request)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if !c.Found {
				created++
			}
			ids[c.ID] = true
		})
	}
	close(begin)
	all.Wait()
	w.Expect(ids).To(HaveLen(1))
	w.Expect(created).To(Equal(1))
	w.Expect(w.sessions()).To(Equal(1))
}

func TestASpecThatTheAPIServerRefuses(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	for _, c := range []struct{ field, value, cause, message string }{
		{"key", `"../etc/passwd"`, "key", "relative path"},
		{"sizeBytes", "-1", "sizeBytes", "greater than or equal to 0"},
		{"digest", `"md5:1"`, "digest", "71"},
		{"chunkSizeBytes", "0", "chunkSizeBytes", "greater than or equal to 1"}, // and not the default
		{"conflictPolicy", `"Ask"`, "conflictPolicy", "supported values"},
		{"attributes", `{"a b": ""}`, "attributes", "attribute names"},
		{"chunkSizeBytes", "1", "", "more than 1000 have at least 4096 bytes"},
		{"chunkSizeBytes", "10", "", ""}, // allowed: 8 kB in some hundred chunks
		{"digestAlgorithm", `"BLAKE3"`, "", ""},
		{"key", `"` + strings.Repeat("k", 200<<10) + `"`, "key", "1024"},
	} {
		_, err := p.creator.Create(t.Context(), w.asks("", c.field, c.value))
		if c.message == "" {
			w.Expect(err).NotTo(HaveOccurred())
			continue
		}
		invalid, ok := errors.AsType[*upload.InvalidError](err)
		w.Expect(ok).To(BeTrue(), "%s: %v", c.field, err)
		w.Expect(invalid.Causes).To(ContainElement(SatisfyAll(
			HaveField("Field", c.cause), HaveField("Message", ContainSubstring(c.message)),
		)), "%s: %v", c.field, invalid.Causes)
		w.Expect(len(fmt.Sprint(invalid.Causes))).To(BeNumerically("<", 8<<10))
	}
	// A rule over several fields is about the whole.
	_, err := p.creator.Create(t.Context(), w.asks("", "digest", `"`+digestOf(nil)+`"`, "digestAlgorithm", `"BLAKE3"`))
	invalid, ok := errors.AsType[*upload.InvalidError](err)
	w.Expect(ok).To(BeTrue(), "%v", err)
	w.Expect(invalid.Causes).To(ContainElement(SatisfyAll(
		HaveField("Field", ""), HaveField("Message", ContainSubstring("digest must be of digestAlgorithm")),
	)))
	w.Expect(w.sessions()).To(Equal(2))
}

func TestASessionThatMayNotBeCreated(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	twin, _ := w.made(p, w.asks("1"))
	const counted = "count/uploadsessions.uploads.slipway.dev"
	one := corev1.ResourceList{counted: resource.MustParse("1")}
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "one"}, Spec: corev1.ResourceQuotaSpec{Hard: one},
	}
	w.Expect(w.admin.Create(t.Context(), quota)).To(Succeed())
	quota.Status = corev1.ResourceQuotaStatus{Hard: one, Used: one} // there is no controller that counts
	w.Expect(w.admin.Status().Update(t.Context(), quota)).To(Succeed())
	// The API server follows its quotas with a delay.
	attempt := 0
	w.Eventually(func() error {
		attempt++
		_, err := p.creator.Create(t.Context(), w.asks(fmt.Sprintf("other-%d", attempt)))
		return err
	}).Should(SatisfyAll(MatchError(upload.ErrForbidden), MatchError(ContainSubstring("exceeded quota: one"))))
	again, _ := w.made(p, w.asks("1")) // a twin is found all the same
	w.Expect(again.Found).To(BeTrue())
	w.Expect(again.ID).To(Equal(twin.ID))
}

func TestASessionIsAdmittedWhileItsClientWaits(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c, s := w.made(p, w.asks("1"))
	done := w.awaiting(t.Context(), p, c)
	w.says(s, v1alpha1.ReasonQuotaExceeded, "Waits for room.", false)
	w.Consistently(done, "100ms").ShouldNot(Receive())
	w.admit(s)
	now := w.receive(done)
	w.Expect(now.err).NotTo(HaveOccurred())
	w.Expect(now.Waits).To(BeNil())
	w.Expect(now.Endpoint).To(Equal(endpoint))
	w.Expect(now.ChunkSize).To(BeEquivalentTo(chunkSize))
	w.Expect(now.Found).To(BeFalse())

	// Admitted already: there is nothing to wait for, and nobody is asked.
	twin, _ := w.made(p, w.asks("1"))
	w.Expect(twin.Settled()).To(BeTrue())
	w.wire.cut()
	w.Expect(w.receive(w.awaiting(t.Context(), p, twin)).Created).To(Equal(twin))
}

func TestASessionIsQueuedForLongerThanItsClientWaits(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c, s := w.made(p, w.asks("1"))
	ctx, giveUp := context.WithCancel(t.Context())
	done := w.awaiting(ctx, p, c)
	w.says(s, v1alpha1.ReasonQuotaExceeded, "Waits for room.", false)
	w.Consistently(done, "100ms").ShouldNot(Receive())
	giveUp()
	now := w.receive(done)
	w.Expect(now.err).NotTo(HaveOccurred())
	w.Expect(now.ID).To(Equal(c.ID))
	w.Expect(now.Waits).NotTo(BeNil())

	// The twin shows what it waits for, and is followed in its turn.
	twin, _ := w.made(p, w.asks("1"))
	w.Expect(twin.Found).To(BeTrue())
	w.Expect(twin.Waits).To(Equal(&upload.Waits{Reason: v1alpha1.ReasonQuotaExceeded, Message: "Waits for room."}))
	done = w.awaiting(t.Context(), p, twin)
	w.Consistently(done, "100ms").ShouldNot(Receive())
	w.admit(s)
	now = w.receive(done)
	w.Expect(now.err).NotTo(HaveOccurred())
	w.Expect(now.Endpoint).To(Equal(endpoint))
	w.Expect(now.Found).To(BeTrue())
}

func TestASessionIsRejected(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c, s := w.made(p, w.asks("1"))
	done := w.awaiting(t.Context(), p, c)
	w.says(s, v1alpha1.ReasonQuotaRejected, "There is no room.", true)
	want := &upload.RejectedError{Name: c.Name, Result: upload.Result{Reason: v1alpha1.ReasonQuotaRejected, Message: "There is no room."}}
	w.Expect(w.receive(done).err).To(Equal(want))
	_, err := p.creator.Create(t.Context(), w.asks("1"))
	w.Expect(err).To(Equal(want))

	// Who cancelled a session was not rejected.
	c, s = w.made(p, w.asks("2"))
	w.says(s, v1alpha1.ReasonCancelled, "It was cancelled.", true)
	twin, _ := w.made(p, w.asks("2"))
	w.Expect(twin.State).To(Equal(session.Aborted))
	w.Expect(twin.Result).To(HaveValue(HaveField("Reason", upload.Cancelled)))
	w.Expect(twin.ID).To(Equal(c.ID))
}

func TestASuspendedSessionIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c, s := w.made(p, w.asks("1", "desiredState", `"Suspended"`))
	done := w.awaiting(t.Context(), p, c)
	w.says(s, v1alpha1.ReasonSuspended, "It is suspended.", false)
	now := w.receive(done)
	w.Expect(now.err).NotTo(HaveOccurred())
	w.Expect(now.Waits).To(Equal(&upload.Waits{Reason: v1alpha1.ReasonSuspended, Message: "It is suspended.", Held: true}))
}

func TestATwinThatIsBeingDeleted(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c, s := w.made(p, w.asks("1"))
	done := w.awaiting(t.Context(), p, c)
	s.Finalizers = []string{v1alpha1.StagingFinalizer}
	w.Expect(w.admin.Update(t.Context(), s)).To(Succeed())
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed())
	w.Expect(w.receive(done).err).To(MatchError(upload.ErrDeleting))
	_, err := p.creator.Create(t.Context(), w.asks("1"))
	w.Expect(err).To(MatchError(upload.ErrDeleting))

	w.Expect(w.admin.Patch(t.Context(), s, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))).To(Succeed())
	again, s := w.made(p, w.asks("1"))
	w.Expect(again.Found).To(BeFalse())
	w.Expect(again.ID).NotTo(Equal(c.ID))
	done = w.awaiting(t.Context(), p, again)
	w.Expect(w.admin.Delete(t.Context(), s)).To(Succeed()) // and it is gone at once
	w.Expect(w.receive(done).err).To(MatchError(upload.ErrDeleting))
}

func TestATwinThatWasPublished(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	object := content(7)
	c, s := w.made(p, w.asks("1"))
	w.admit(s)
	w.known(p, s)
	w.put(p, s, object, 0, chunks-1)
	w.shows(s)
	w.Expect(w.published(s)).To(Equal(object))
	twin, _ := w.made(p, w.asks("1"))
	w.Expect(twin.ID).To(Equal(c.ID))
	w.Expect(twin.Settled()).To(BeTrue())
	w.Expect(twin.State).To(Equal(session.Finished))
	w.Expect(twin.Result).To(HaveValue(SatisfyAll(
		HaveField("Reason", upload.Published), HaveField("Digest", upload.Digest(digestOf(object))),
		HaveField("Published", Not(BeZero())),
	)))
	// The dataplane has written the session when it was created and when it had a result.
	writes, err := w.cp.Writes(t.Context(), controlplane.Filter{User: w.user, Resource: "uploadsessions"})
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(writes).To(HaveLen(2))
}

func TestTheAPIServerIsAway(t *testing.T) {
	w := newWorld(t)
	p := w.start()
	c, s := w.made(p, w.asks("1"))
	done := w.awaiting(t.Context(), p, c)
	w.Consistently(done, "100ms").ShouldNot(Receive())
	w.wire.cut()
	now := w.receive(done) // it is there, and nobody knows more
	w.Expect(now.err).NotTo(HaveOccurred())
	w.Expect(now.ID).To(Equal(c.ID))
	for _, key := range []string{"1", "2", ""} {
		_, err := p.creator.Create(t.Context(), w.asks(key))
		w.Expect(err).To(MatchError(upload.ErrUnavailable))
	}
	w.wire.mend()
	again, _ := w.made(p, w.asks("1"))
	w.Expect(again.ID).To(BeEquivalentTo(s.UID))
}
