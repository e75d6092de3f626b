package cluster_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/minio/crc64nvme"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"

	applyv1alpha1 "github.com/slipway-dev/slipway/api/applyconfiguration/api/v1alpha1"
	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/cluster"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/test/controlplane"
)

const (
	store    = "models"
	replica  = "models-0"
	endpoint = "http://127.0.0.1:1"
	patience = 30 * time.Second
)

// cp is one control plane for all tests that want one, started by the first.
var cp = sync.OnceValues(controlplane.Start)

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	code := m.Run()
	if started {
		if c, err := cp(); err == nil {
			err = c.Stop()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = max(code, 1)
			}
		}
	}
	os.Exit(code)
}

var started bool

// world is a namespace of its own, an administrator in it who plays the user
// and the operator, and a dataplane with the rights that config/ gives it.
type world struct {
	*WithT
	t         *testing.T
	cp        *controlplane.ControlPlane
	admin     client.Client
	namespace string
	user      string
	api       *rest.Config // the dataplane's, through the wire
	wire      *wire
	volume    string
	damaged   bool // some of the volume can't be read
	config    func(*cluster.Config)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), t: t, volume: t.TempDir(), config: func(*cluster.Config) {}}
	w.SetDefaultEventuallyTimeout(patience)
	w.SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	started = true
	var err error
	w.cp, err = cp()
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(v1alpha1.AddToScheme(scheme.Scheme)).To(Succeed())
	w.admin, err = client.New(w.cp.Config, client.Options{})
	w.Expect(err).NotTo(HaveOccurred())

	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "cluster-"}}
	w.Expect(w.admin.Create(t.Context(), ns)).To(Succeed())
	w.namespace, w.user = ns.Name, "dataplane-of-"+ns.Name
	w.grantRole()
	api, err := w.cp.AddUser(w.user)
	w.Expect(err).NotTo(HaveOccurred())
	w.wire, w.api = newWire(t, api)
	return w
}

// grantRole lets the dataplane do what config/rbac lets it do, and no more.
func (w *world) grantRole() {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "config", "rbac", "dataplane_role.yaml"))
	w.Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.ClusterRole{}
	w.Expect(yaml.Unmarshal(raw, role)).To(Succeed())
	role.Name = w.user
	w.Expect(w.admin.Create(w.t.Context(), role)).To(Succeed())
	w.Expect(w.admin.Create(w.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.user, Namespace: w.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: w.user}},
	})).To(Succeed())
}

// process is a dataplane without its HTTP.
type process struct {
	uploads *upload.Service
	creator upload.Creator
	stop    func()
}

// start starts a dataplane on the world's volume; it is stopped with the test
// at the latest.
func (w *world) start() *process {
	w.t.Helper()
	sink, err := file.Open(w.volume, file.Options{Replica: "models-0"})
	w.Expect(err).NotTo(HaveOccurred())
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	}
	config := cluster.Config{
		API: w.api, Namespace: w.namespace, Store: store, Replica: replica, Log: log,
		// Long, so that what is written is a result unless a test wants otherwise.
		ProgressInterval: time.Hour,
	}
	w.config(&config)
	c, err := cluster.New(config)
	w.Expect(err).NotTo(HaveOccurred())
	p := &process{creator: c.Creator(), uploads: upload.NewService(upload.Config{
		Core:      session.NewService(session.Config{Sink: sink, Checksum: crc64nvme.New}),
		Publisher: sink, Directory: c.Directory(), Changed: c.Changed, Log: log,
	})}
	if err := p.uploads.Recover(w.t.Context()); !w.damaged {
		w.Expect(err).NotTo(HaveOccurred())
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- c.Run(ctx, p.uploads, endpoint) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-stopped; err != nil {
			w.t.Errorf("run: %v", err)
		}
		p.uploads.Close()
		if err := sink.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(p.stop)
	return p
}

// object is an upload of eight chunks, the last of them short.
const (
	chunkSize = 1000
	chunks    = 8
)

func content(seed byte) []byte {
	b := bytes.Repeat([]byte{seed, 1, 2, 3, 4, 5, 6}, 1200)
	return b[:chunkSize*(chunks-1)+300]
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// create creates a session for the object, as its user does.
func (w *world) create(name string, changes ...func(*v1alpha1.UploadSession)) *v1alpha1.UploadSession {
	w.t.Helper()
	s := &v1alpha1.UploadSession{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.UploadSessionSpec{
			StoreRef: v1alpha1.StoreReference{Name: store}, Key: "objects/" + name, SizeBytes: ptr.To(int64(len(content(0)))),
		},
	}
	for _, change := range changes {
		change(s)
	}
	w.Expect(w.admin.Create(w.t.Context(), s)).To(Succeed())
	return s
}

// admit writes what the operator writes when it admits a session.
func (w *world) admit(s *v1alpha1.UploadSession) *v1alpha1.UploadSession {
	w.t.Helper()
	admission := applyv1alpha1.UploadSessionAdmission().
		WithReplica(replica).WithEndpoint(endpoint).WithChunkSizeBytes(chunkSize).
		WithIdleTimeoutSeconds(3600).WithReservedBytes(*s.Spec.SizeBytes).WithAdmittedTime(metav1.Now().Rfc3339Copy())
	w.Expect(w.admin.Status().Apply(w.t.Context(),
		applyv1alpha1.UploadSession(s.Name, s.Namespace).WithUID(s.UID).
			WithStatus(applyv1alpha1.UploadSessionStatus().WithAdmission(admission)),
		client.FieldOwner(v1alpha1.OperatorFieldManager), client.ForceOwnership)).To(Succeed())
	return s
}

func (w *world) name(s *v1alpha1.UploadSession) upload.Name {
	return upload.Name{Namespace: s.Namespace, Name: s.Name}
}

// put sends chunks of the object, first to last, both counted.
func (w *world) put(p *process, s *v1alpha1.UploadSession, object []byte, first, last int) {
	w.t.Helper()
	for i := first; i <= last; i++ {
		chunk := object[i*chunkSize : min((i+1)*chunkSize, len(object))]
		_, err := p.uploads.PutChunk(w.t.Context(), w.name(s), session.Incoming{
			Index: i, Length: int64(len(chunk)), Body: bytes.NewReader(chunk),
		})
		w.Expect(err).NotTo(HaveOccurred(), "chunk %d", i)
	}
}

// known waits until a dataplane has taken up the session with that UID.
func (w *world) known(p *process, s *v1alpha1.UploadSession) {
	w.t.Helper()
	w.Eventually(func() error {
		_, err := p.uploads.Known(session.ID(s.UID))
		return err
	}).Should(Succeed())
}

// forgotten waits until nothing of the session is known or staged.
func (w *world) forgotten(p *process, s *v1alpha1.UploadSession) {
	w.t.Helper()
	w.Eventually(func() error {
		_, err := p.uploads.Known(session.ID(s.UID))
		return err
	}).Should(MatchError(session.ErrNotFound))
	w.Expect(w.staged(s)).To(BeFalse())
}

// staged is whether the volume has a directory for the session.
func (w *world) staged(s *v1alpha1.UploadSession) bool {
	w.t.Helper()
	_, err := os.Stat(filepath.Join(w.volume, session.ReservedElement, replica+".replica", string(s.UID)))
	if !errors.Is(err, os.ErrNotExist) {
		w.Expect(err).NotTo(HaveOccurred())
	}
	return err == nil
}

// shows waits until the session shows a result and returns it.
func (w *world) shows(s *v1alpha1.UploadSession) *v1alpha1.UploadSession {
	w.t.Helper()
	var now v1alpha1.UploadSession
	w.Eventually(func(g Gomega) {
		g.Expect(w.admin.Get(w.t.Context(), client.ObjectKeyFromObject(s), &now)).To(Succeed())
		g.Expect(now.Status.Result.Outcome).NotTo(BeEmpty())
	}).Should(Succeed())
	return &now
}

// writes is how often the dataplane wrote a session.
func (w *world) writes(s *v1alpha1.UploadSession) []controlplane.Write {
	w.t.Helper()
	writes, err := w.cp.Writes(w.t.Context(), controlplane.Filter{User: w.user, Resource: "uploadsessions", Name: s.Name})
	w.Expect(err).NotTo(HaveOccurred())
	return writes
}

func (w *world) published(s *v1alpha1.UploadSession) []byte {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.volume, filepath.FromSlash(s.Spec.Key)))
	w.Expect(err).NotTo(HaveOccurred())
	return b
}
