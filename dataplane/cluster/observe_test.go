package cluster

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// The cache does not show the session of an upload that is known: only the API
// server's own word counts before bytes are thrown away.
func TestOnlyTheAPIServerItselfSaysThatASessionIsGone(t *testing.T) {
	away := errors.New("the API server is away")
	for name, c := range map[string]struct {
		live   []client.Object
		err    error
		failed bool
		kept   bool
	}{
		"it has the session":                 {live: []client.Object{aSession()}, kept: true},
		"it has another session of the name": {live: []client.Object{aSession(func(s *v1alpha1.UploadSession) { s.UID = "uid-2" })}},
		"it has none":                        {},
		"it is away":                         {err: away, failed: true, kept: true},
		"it has the session, for another replica": {
			live: []client.Object{aSession(func(s *v1alpha1.UploadSession) { s.Status.Admission.Replica = "models-1" })}, kept: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakeClock(noon)
			uploads := newUploads(t, clock)
			grant, err := here.grantOf(aSession())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := uploads.Accept(t.Context(), grant); err != nil {
				t.Fatal(err)
			}
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			live := fake.NewClientBuilder().WithScheme(scheme).WithObjects(c.live...).WithInterceptorFuncs(interceptor.Funcs{
				Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					if c.err != nil {
						return c.err
					}
					return w.Get(ctx, key, o, opts...)
				},
			}).Build()
			r := &sessions{
				place: here, cached: fake.NewClientBuilder().WithScheme(scheme).Build(), live: live,
				uploads: uploads, pace: newPace(interval, spacing), pending: newPending(), metrics: metrics.NewCluster(nil),
				clock: clock, log: slog.New(slog.DiscardHandler),
			}
			request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "ml", Name: "weights"}}
			if _, err := r.Reconcile(t.Context(), request); (err != nil) != c.failed {
				t.Errorf("got %v", err)
			}
			if _, err := uploads.Known(grant.ID); errors.Is(err, session.ErrNotFound) == c.kept {
				t.Errorf("kept: want %v, got %v", c.kept, err)
			}
			if st, err := uploads.Find(grant.Name); c.kept && (err != nil || st.Result != nil) {
				t.Errorf("it did not go on: %+v, %v", st, err)
			}
		})
	}
}

// Whoever wrote meanwhile: the status is not lost.
func TestAStatusThatConflictsIsWrittenLater(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		later bool
		fails bool
	}{
		"a conflict":         {err: apierrors.NewConflict(schema.GroupResource{}, "weights", errors.New("changed")), later: true},
		"the session gone":   {err: apierrors.NewNotFound(schema.GroupResource{}, "weights")},
		"anything else":      {err: errors.New("the API server is away"), fails: true},
		"nothing the matter": {},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			cached := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
				SubResourceApply: func(context.Context, client.Client, string, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
					return c.err
				},
			}).Build()
			r := &sessions{
				place: here, cached: cached, pace: newPace(interval, spacing), clock: clocktesting.NewFakeClock(noon),
				pending: newPending(), metrics: metrics.NewCluster(nil),
			}
			sh := shadowOf(aStatus(endedAs(session.Aborted, upload.Result{Reason: upload.Cancelled})))
			result, err := r.report(t.Context(), aSession(), sh)
			if (result.RequeueAfter > 0) != c.later || (err != nil) != c.fails {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	}
}
