package e2e_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/e2e/agent"
	"github.com/slipway-dev/slipway/test/uploader"
)

// An upload that something befalls in the middle: long enough for its progress to be seen, which
// is written every 5 seconds, and with more chunks than are under way at once.
const (
	slowBytes  = 96 << 20
	slowChunk  = 1 << 20
	slowSecond = 5 << 20
)

// upload is a session and what is uploaded to it.
type upload struct {
	space   *space
	session *v1alpha1.UploadSession
	content uploader.Content
	pod     *corev1.Pod
}

// newUpload creates a session as a user would.
func (s *space) newUpload(ctx context.Context, store, name string, size int64, with ...func(*v1alpha1.UploadSession)) *upload {
	GinkgoHelper()
	u := &upload{space: s, content: uploader.Content{Seed: name, Size: size}}
	u.session = &v1alpha1.UploadSession{
		ObjectMeta: s.meta(name),
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: store}, Key: "objects/" + name,
			SizeBytes: &size, Digest: u.content.Digest(),
		},
	}
	for _, change := range with {
		change(u.session)
	}
	Expect(cluster.Create(ctx, u.session)).To(Succeed())
	return u
}

// newSlowUpload creates a session for an object that takes a while, and begins to upload it.
func (s *space) newSlowUpload(ctx context.Context, store, name string) *upload {
	GinkgoHelper()
	u := s.newUpload(ctx, store, name, slowBytes, func(session *v1alpha1.UploadSession) { session.Spec.ChunkSizeBytes = slowChunk })
	u.start(ctx, slowSecond)
	return u
}

// start starts a Pod that uploads, at most so many bytes in a second; 0 for as many as it can.
func (u *upload) start(ctx context.Context, bytesPerSecond int64, args ...string) {
	GinkgoHelper()
	u.pod = u.space.startAgent(ctx, "upload-"+u.session.Name, append([]string{
		"upload", "--namespace", u.space.name, "--session", u.session.Name, "--seed", u.content.Seed,
		fmt.Sprintf("--bytes-per-second=%d", bytesPerSecond),
	}, args...), calling(u.space.name, u.session.Spec.StoreRef.Name))
}

// finish waits for the end of the upload, and checks that it is what it should be.
func (u *upload) finish(ctx context.Context) agent.Upload {
	GinkgoHelper()
	report := reportOf[agent.Upload](ctx, u.pod)
	AddReportEntry(u.session.Name, report)
	Expect(report.State).To(Equal(chunkapi.StatePublished))
	Expect(report.Digest).To(Equal(u.session.Spec.Digest))
	u.await(ctx, v1alpha1.ConditionSucceeded, metav1.ConditionTrue)
	Expect(u.session.Status.Result.Digest).To(Equal(u.session.Spec.Digest))
	// Once an acknowledged chunk is lost, the agent finds it missing and sends it another time.
	chunkSize := u.session.Status.Admission.ChunkSizeBytes
	Expect(report.Sent).To(BeEquivalentTo((u.content.Size+chunkSize-1)/chunkSize), "chunks that were acknowledged")
	return report
}

// run uploads all, as fast as it goes.
func (u *upload) run(ctx context.Context) agent.Upload {
	GinkgoHelper()
	u.start(ctx, 0)
	return u.finish(ctx)
}

// refresh reads the session anew.
func (u *upload) refresh(ctx context.Context) error {
	return cluster.Get(ctx, client.ObjectKeyFromObject(u.session), u.session)
}

// await waits for a condition of the session, with one of these reasons where some are given.
func (u *upload) await(ctx context.Context, condition string, status metav1.ConditionStatus, reasons ...string) *metav1.Condition {
	GinkgoHelper()
	var is *metav1.Condition
	Eventually(ctx, func(g Gomega) {
		g.Expect(u.refresh(ctx)).To(Succeed())
		is = meta.FindStatusCondition(u.session.Status.Conditions, condition)
		g.Expect(is).NotTo(BeNil(), "session %s has no condition %s", u.session.Name, condition)
		g.Expect(is.Status).To(Equal(status), "%s of session %s: %s: %s", condition, u.session.Name, is.Reason, is.Message)
		if len(reasons) > 0 {
			g.Expect(reasons).To(ContainElement(is.Reason), "%s of session %s: %s", condition, u.session.Name, is.Message)
		}
	}).Should(Succeed())
	return is
}

// awaitMiddle waits until a part of the object is there.
func (u *upload) awaitMiddle(ctx context.Context) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		g.Expect(u.refresh(ctx)).To(Succeed())
		g.Expect(received(u.session)).To(BeNumerically(">", 0))
	}).Should(Succeed())
	u.checkUnfinished(ctx)
}

// checkUnfinished fails where the upload is over, as then what was to befall it has not.
func (u *upload) checkUnfinished(ctx context.Context) {
	GinkgoHelper()
	Expect(u.refresh(ctx)).To(Succeed())
	Expect(received(u.session)).To(BeNumerically("<", u.content.Size), "the upload was over before")
	Expect(get(ctx, u.pod).Status.Phase).To(Equal(corev1.PodRunning), "the uploader's Pod")
}

// received is how many bytes the session's status tells of.
func received(session *v1alpha1.UploadSession) int64 {
	if n := session.Status.Progress.ReceivedBytes; n != nil {
		return *n
	}
	return 0
}

// checkVolume reads the object on the volume in another Pod.
func (u *upload) checkVolume(ctx context.Context, claim string) {
	GinkgoHelper()
	Expect(u.space.read(ctx, claim, u.session.Spec.Key)).To(Equal(u.content.Digest()), "the object on the volume")
}

// url is where the session is at a dataplane.
func (u *upload) url(endpoint string) string {
	return fmt.Sprintf("%s/v1/namespaces/%s/uploadsessions/%s", endpoint, u.space.name, u.session.Name)
}

// idleAfter sets the session's idle timeout.
func idleAfter(d time.Duration) func(*v1alpha1.UploadSession) {
	return func(session *v1alpha1.UploadSession) { session.Spec.IdleTimeoutSeconds = int32(d.Seconds()) }
}
