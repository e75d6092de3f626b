package operator_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/controllers/managed"
	"github.com/slipway-dev/slipway/controllers/metrics"
	"github.com/slipway-dev/slipway/controllers/uploadsession"
	"github.com/slipway-dev/slipway/controllers/uploadstore"
	"github.com/slipway-dev/slipway/liveness"
)

const (
	storeName   = "models"
	replicaName = "models-0"
	endpoint    = "https://127.0.0.1:8443"

	leaseDuration = 10 * time.Second
	leaseLife     = leaseDuration + 5*time.Second // what it counts, with the skew allowed
)

// dataplaneOptions are what Managed stores run with.
var dataplaneOptions = managed.Options{Image: "slipway-dataplane:test", Role: managed.DefaultRole}

// world is a namespace, a clock and the two reconcilers, stepped by hand.
type world struct {
	namespace string
	clock     *settableClock
	sessions  *uploadsession.Reconciler
	stores    *uploadstore.Reconciler
	events    chan string
	created   int // sessions
}

func newWorld(ctx context.Context) *world {
	GinkgoHelper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "operator-"}}
	Expect(user.Create(ctx, namespace)).To(Succeed())
	recorder := events.NewFakeRecorder(100)
	// The API server stamps deletions with its own time, so the clock starts there.
	clock := &settableClock{FakePassiveClock: testingclock.NewFakePassiveClock(time.Now().Truncate(time.Second))}
	replicas := liveness.NewObserver(clock)
	return &world{
		namespace: namespace.Name,
		clock:     clock,
		sessions:  &uploadsession.Reconciler{Client: operator, Recorder: recorder, Liveness: replicas, Clock: clock, Metrics: metrics.NewTransitions(nil)},
		stores:    &uploadstore.Reconciler{Client: operator, Direct: operator, Recorder: recorder, Dataplane: dataplaneOptions, Liveness: replicas, Clock: clock},
		events:    recorder.Events,
	}
}

func (w *world) pass(d time.Duration) { w.clock.SetTime(w.clock.FakePassiveClock.Now().Add(d)) }

// settableClock is a clock that somebody sets while it runs: that is no time that passes.
type settableClock struct {
	*testingclock.FakePassiveClock
	set time.Duration
}

func (c *settableClock) Now() time.Time { return c.FakePassiveClock.Now().Add(c.set) }

// Since counts from a time before the clock was set.
func (c *settableClock) Since(t time.Time) time.Duration { return c.FakePassiveClock.Now().Sub(t) }

func (w *world) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.namespace, Name: name}
}

// step reconciles a session once and returns when it wants to be looked at again.
func (w *world) step(ctx context.Context, s *v1alpha1.UploadSession) time.Duration {
	GinkgoHelper()
	// A new queue is a new leader: what it knows it reads from the API server.
	w.sessions.Queue = uploadsession.NewQueue(operator, w.namespace)
	result, err := w.sessions.Reconcile(ctx, ctrl.Request{NamespacedName: w.key(s.Name)})
	Expect(err).NotTo(HaveOccurred())
	w.refresh(ctx, s)
	return result.RequeueAfter
}

// stepStore reconciles the store once and returns when it wants to be looked at again.
func (w *world) stepStore(ctx context.Context) time.Duration {
	GinkgoHelper()
	result, err := w.stores.Reconcile(ctx, ctrl.Request{NamespacedName: w.key(storeName)})
	Expect(err).NotTo(HaveOccurred())
	return result.RequeueAfter
}

// refresh reads the session again; one that is gone is left empty.
func (w *world) refresh(ctx context.Context, s *v1alpha1.UploadSession) {
	GinkgoHelper()
	var now v1alpha1.UploadSession
	Expect(client.IgnoreNotFound(user.Get(ctx, w.key(s.Name), &now))).To(Succeed())
	*s = now
}

func (w *world) createSession(ctx context.Context, changes ...func(*v1alpha1.UploadSession)) *v1alpha1.UploadSession {
	GinkgoHelper()
	// Several are created in one second, in which the name decides who was first.
	w.created++
	s := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprintf("llama-%03d", w.created)},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef:  v1alpha1.StoreReference{Name: storeName},
			Key:       "llama/model.gguf",
			SizeBytes: ptr.To[int64](100),
		},
	}
	for _, change := range changes {
		change(s)
	}
	Expect(user.Create(ctx, s)).To(Succeed())
	return s
}

func (w *world) createStore(ctx context.Context, changes ...func(*v1alpha1.UploadStore)) *v1alpha1.UploadStore {
	GinkgoHelper()
	s := &v1alpha1.UploadStore{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: storeName},
		Spec: v1alpha1.UploadStoreSpec{
			Volume:    v1alpha1.VolumeSource{ClaimName: storeName},
			Dataplane: v1alpha1.DataplaneSpec{Mode: v1alpha1.DataplaneModeSidecar},
			Limits:    v1alpha1.StoreLimits{MinFreeBytes: ptr.To[int64](0)},
		},
	}
	for _, change := range changes {
		change(s)
	}
	Expect(user.Create(ctx, s)).To(Succeed())
	return s
}

func (w *world) getStore(ctx context.Context) *v1alpha1.UploadStore {
	GinkgoHelper()
	var s v1alpha1.UploadStore
	Expect(user.Get(ctx, w.key(storeName), &s)).To(Succeed())
	return &s
}

// haveReadyStore makes a store with a live replica and room for 1000 bytes.
func (w *world) haveReadyStore(ctx context.Context, changes ...func(*v1alpha1.UploadStore)) {
	GinkgoHelper()
	w.createStore(ctx, changes...)
	w.heartbeat(ctx, replicaName, 1000)
	w.stepStore(ctx)
}

// change lets the user edit the session's spec.
func (w *world) change(ctx context.Context, s *v1alpha1.UploadSession, edit func(*v1alpha1.UploadSessionSpec)) {
	GinkgoHelper()
	before := s.DeepCopy()
	edit(&s.Spec)
	Expect(user.Patch(ctx, s, client.MergeFrom(before))).To(Succeed())
}

// heartbeat renews the Lease of a replica, as the dataplane does.
func (w *world) heartbeat(ctx context.Context, replica string, available int64) {
	GinkgoHelper()
	w.renew(ctx, replica, w.clock.Now(), map[string]string{
		v1alpha1.EndpointAnnotation:       endpoint,
		v1alpha1.CapacityBytesAnnotation:  "2000",
		v1alpha1.AvailableBytesAnnotation: strconv.FormatInt(available, 10),
	})
}

// sayGone says that a replica never comes back, as a person does.
func (w *world) sayGone(ctx context.Context, replica string) {
	GinkgoHelper()
	var lease coordinationv1.Lease
	Expect(user.Get(ctx, w.key(v1alpha1.LeaseNamePrefix+replica), &lease)).To(Succeed())
	lease.Annotations[v1alpha1.GoneForGoodAnnotation] = *lease.Spec.HolderIdentity
	Expect(user.Update(ctx, &lease)).To(Succeed())
}

func (w *world) renew(ctx context.Context, replica string, now time.Time, annotations map[string]string) {
	GinkgoHelper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v1alpha1.LeaseNamePrefix + replica}}
	_, err := ctrl.CreateOrUpdate(ctx, dataplane, lease, func() error {
		lease.Labels = map[string]string{v1alpha1.StoreLabel: storeName}
		lease.Annotations = annotations
		lease.Spec = coordinationv1.LeaseSpec{
			HolderIdentity:       &replica,
			RenewTime:            ptr.To(metav1.NewMicroTime(now)),
			LeaseDurationSeconds: ptr.To(int32(leaseDuration / time.Second)),
		}
		return nil
	})
	Expect(err).NotTo(HaveOccurred())
}

// report writes status as the dataplane does: progress and result, and nothing else.
func report(ctx context.Context, s *v1alpha1.UploadSession, status *applyv1alpha1.UploadSessionStatusApplyConfiguration) {
	GinkgoHelper()
	session := applyv1alpha1.UploadSession(s.Name, s.Namespace).WithUID(s.UID).WithStatus(status)
	Expect(dataplane.Status().Apply(ctx, session, client.FieldOwner(v1alpha1.DataplaneFieldManager))).To(Succeed())
}

func progress(received int64) *applyv1alpha1.UploadSessionStatusApplyConfiguration {
	return applyv1alpha1.UploadSessionStatus().WithProgress(applyv1alpha1.UploadSessionProgress().
		WithReceivedBytes(received).WithReceivedChunks(0).WithTotalChunks(1).WithPercent(int32(received)))
}

func (w *world) publication() *applyv1alpha1.UploadSessionStatusApplyConfiguration {
	now := metav1.NewTime(w.clock.Now())
	return progress(100).WithResult(applyv1alpha1.UploadSessionResult().
		WithOutcome(v1alpha1.UploadOutcomePublished).WithReason(v1alpha1.ReasonPublished).
		WithKey("llama/model.gguf").WithSizeBytes(100).
		WithDigest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").
		WithPublishedTime(now).WithFinishedTime(now))
}

func (w *world) abortion(reason string) *applyv1alpha1.UploadSessionStatusApplyConfiguration {
	return progress(0).WithResult(applyv1alpha1.UploadSessionResult().
		WithOutcome(v1alpha1.UploadOutcomeAborted).WithReason(reason).WithMessage("The staged bytes are freed.").
		WithFinishedTime(metav1.NewTime(w.clock.Now())))
}

// showing matches a list of conditions, given in the order Admitted, AcceptingChunks, Succeeded as "status reason".
func showing(admitted, accepting, succeeded string) types.GomegaMatcher {
	return WithTransform(func(s *v1alpha1.UploadSession) []string {
		return []string{
			condition(s.Status.Conditions, v1alpha1.ConditionAdmitted),
			condition(s.Status.Conditions, v1alpha1.ConditionAcceptingChunks),
			condition(s.Status.Conditions, v1alpha1.ConditionSucceeded),
		}
	}, Equal([]string{admitted, accepting, succeeded}))
}

func condition(conditions []metav1.Condition, conditionType string) string {
	c := meta.FindStatusCondition(conditions, conditionType)
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s", c.Status, c.Reason)
}

func message(conditions []metav1.Condition, conditionType string) string {
	return meta.FindStatusCondition(conditions, conditionType).Message
}

// beGone matches a session that is not there any more.
func beGone() types.GomegaMatcher {
	return WithTransform(func(s *v1alpha1.UploadSession) bool { return s.UID == "" }, BeTrue())
}

// outdated is a client whose reads still show the session as it was.
type outdated struct {
	client.Client
	session *v1alpha1.UploadSession
}

// Get returns the session as it was, and everything else as it is.
func (c outdated) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if s, ok := obj.(*v1alpha1.UploadSession); ok {
		c.session.DeepCopyInto(s)
		return nil
	}
	return c.Client.Get(ctx, key, obj, opts...)
}
