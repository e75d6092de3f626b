package cluster

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/crc64nvme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/upload"
)

// newUploads returns uploads on a volume of their own.
func newUploads(t *testing.T, clock session.Clock) *upload.Service {
	t.Helper()
	uploads, _ := uploadsOf(t, t.TempDir(), "models-0", clock)
	return uploads
}

// uploadsOf returns the uploads of a replica, and what ends its process.
func uploadsOf(t *testing.T, volume, replica string, clock session.Clock) (*upload.Service, func()) {
	t.Helper()
	sink, err := file.Open(volume, file.Options{Replica: replica})
	if err != nil {
		t.Fatal(err)
	}
	core := session.NewService(session.Config{Sink: sink, Clock: clock, Checksum: crc64nvme.New})
	uploads := upload.NewService(upload.Config{Core: core, Publisher: sink, Derelicts: sink, Directory: directory{}, Clock: clock, Log: slog.New(slog.DiscardHandler)})
	end := sync.OnceFunc(func() {
		uploads.Close()
		if err := sink.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	if err := uploads.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return uploads, end
}

func TestSweepOfReplicasThatNobodyRuns(t *testing.T) {
	volume, clock := t.TempDir(), clocktesting.NewFakeClock(noon)
	gone, end := uploadsOf(t, volume, "models-1", clock)
	accept := func(namespace, name string, id session.ID, publish bool) {
		t.Helper()
		_, err := gone.Accept(t.Context(), upload.Grant{
			ID: id, Name: upload.Name{Namespace: namespace, Name: name}, Key: string(id), Size: 1, ChunkSize: 10, Reclaim: true,
		})
		if err == nil && publish {
			_, err = gone.PutChunk(t.Context(), upload.Name{Namespace: namespace, Name: name}, session.Incoming{
				Length: 1, Body: strings.NewReader("x"),
			})
			if err == nil {
				_, err = gone.Complete(t.Context(), upload.Name{Namespace: namespace, Name: name}, "")
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	accept("ml", "waiting", "uid-waiting", false)
	accept("ml", "over", "uid-over", false)
	accept("ml", "kept", "uid-kept", true) // over as well, but published
	accept("ml", "orphan", "uid-orphan", true)
	accept("other", "orphan", "uid-of-another-namespace", false)
	clock.Step(time.Hour)
	accept("ml", "young", "uid-young", false)

	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var sessions []client.Object
	for _, name := range []string{"waiting", "over", "kept"} {
		sessions = append(sessions, aSession(func(s *v1alpha1.UploadSession) {
			s.Name, s.UID = name, types.UID("uid-"+name)
			s.Status.Admission.Replica = "models-1"
			if name != "waiting" {
				s.Status.CompletionTime = metav1.NewTime(noon)
			}
		}))
	}
	live := fake.NewClientBuilder().WithScheme(scheme).WithObjects(sessions...).Build()
	remaining, _ := uploadsOf(t, volume, "models-0", clock)
	w := &sweep{live: live, place: here, uploads: remaining, clock: clock, log: slog.New(slog.DiscardHandler), grace: time.Minute}
	left := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(volume, ".slipway", "models-1.replica", "uid-*"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range found {
			found[i] = strings.TrimPrefix(filepath.Base(found[i]), "uid-")
		}
		return found
	}
	all := []string{"kept", "of-another-namespace", "orphan", "over", "waiting", "young"}
	if err := w.once(t.Context()); err != nil || !slices.Equal(left(), all) {
		t.Fatalf("of a replica that runs there is left %v, %v", left(), err)
	}
	end()
	if err := w.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"kept", "of-another-namespace", "waiting", "young"}; !slices.Equal(left(), want) {
		t.Errorf("left: %v, want %v", left(), want)
	}
	if _, err := os.Stat(filepath.Join(volume, "uid-orphan")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the object that was to go with its session: %v", err)
	}
	if _, err := os.Stat(filepath.Join(volume, "uid-kept")); err != nil {
		t.Errorf("the object whose session is there: %v", err)
	}
	clock.Step(time.Hour)
	if err := w.once(t.Context()); err != nil || slices.Contains(left(), "young") {
		t.Errorf("left: %v, %v", left(), err)
	}
}

func TestSweepForgetsOnlyWhatHasNoSession(t *testing.T) {
	clock := clocktesting.NewFakeClock(noon)
	uploads := newUploads(t, clock)
	accept := func(namespace, name string, id session.ID) {
		t.Helper()
		_, err := uploads.Accept(t.Context(), upload.Grant{
			ID: id, Name: upload.Name{Namespace: namespace, Name: name}, Key: string(id), Size: 25, ChunkSize: 10,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	accept("ml", "listed", "uid-listed")
	accept("ml", "orphan", "uid-orphan")
	accept("ml", "used-again", "uid-of-the-first")
	accept("other", "orphan", "uid-of-another-namespace")
	clock.Step(time.Hour)
	accept("ml", "young", "uid-young")
	clock.Step(30 * time.Second)

	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	named := func(name string, uid types.UID) client.Object {
		return aSession(func(s *v1alpha1.UploadSession) { s.Name, s.UID = name, uid })
	}
	var broken error
	live := fake.NewClientBuilder().WithScheme(scheme).
		WithObjects(named("listed", "uid-listed"), named("used-again", "uid-of-the-second")).
		WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if broken != nil {
					return broken
				}
				return c.List(ctx, list, opts...)
			},
		}).Build()
	w := &sweep{live: live, place: here, uploads: uploads, clock: clock, log: slog.New(slog.DiscardHandler), metrics: metrics.NewCluster(nil), grace: time.Minute}

	expect := func(want ...session.ID) {
		t.Helper()
		if got := uploads.All(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Fatalf("left: %v, want %v", got, want)
		}
	}
	all := []session.ID{"uid-listed", "uid-of-another-namespace", "uid-of-the-first", "uid-orphan", "uid-young"}
	expect(all...)
	broken = errors.New("the API server is away")
	if err := w.once(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	expect(all...)
	broken = nil
	if err := w.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("uid-listed", "uid-of-another-namespace", "uid-young")
	clock.Step(time.Minute)
	if err := w.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("uid-listed", "uid-of-another-namespace")
}

func TestSweepReadsEveryPage(t *testing.T) {
	clock := clocktesting.NewFakeClock(noon)
	uploads := newUploads(t, clock)
	_, err := uploads.Accept(t.Context(), upload.Grant{
		ID: "uid-1", Name: upload.Name{Namespace: "ml", Name: "weights"}, Key: "k", Size: 25, ChunkSize: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	clock.Step(time.Hour)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var asked []string
	live := fake.NewClientBuilder().WithScheme(scheme).WithObjects(aSession()).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			o := (&client.ListOptions{}).ApplyOptions(opts)
			asked = append(asked, o.Continue)
			if o.Continue == "" { // the first page is empty and goes on
				list.SetContinue("more")
				return nil
			}
			return c.List(ctx, list, client.InNamespace(o.Namespace))
		},
	}).Build()
	w := &sweep{live: live, place: here, uploads: uploads, clock: clock, log: slog.New(slog.DiscardHandler), metrics: metrics.NewCluster(nil), grace: time.Minute}
	if err := w.once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(asked, []string{"", "more"}) || len(uploads.All()) != 1 {
		t.Errorf("asked for pages %q, left %v", asked, uploads.All())
	}
}
