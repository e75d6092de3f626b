package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	lru "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/slipway-dev/slipway/api/v1alpha1"
	"github.com/slipway-dev/slipway/dataplane/metrics"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/liveness"
)

// Defaults of Config.
const (
	DefaultProgressInterval        = 5 * time.Second
	DefaultProgressWritesPerSecond = 20
	DefaultHeartbeatInterval       = 10 * time.Second
	DefaultLeaseDuration           = 30 * time.Second
	DefaultSweepInterval           = 5 * time.Minute
	DefaultSweepGrace              = time.Minute
)

const (
	// workers is how many sessions are reconciled at once. It is more than the API server's
	// answers need, because ending an upload waits a moment for one that is being published.
	workers = 16
	// firstRetry and lastRetry bound how long after a failure a session is looked at again: the
	// status catches up within lastRetry of the API server's return.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
	// heartbeatPause is between any two looks at the volume's room.
	heartbeatPause = time.Second
)

// Config is what a Cluster is made of. What is zero gets its default.
type Config struct {
	// API is the way to the API server.
	API *rest.Config
	// Namespace and Store are the UploadStore's, and Replica is this dataplane's name in it.
	Namespace, Store, Replica string
	// StoreUID is the store's UID, with which the replica's Lease goes; empty where that is not known.
	StoreUID types.UID
	// CABundle returns what clients trust when they call this replica: certificates in PEM, empty
	// where they need not be told. It is called often. May be nil.
	CABundle func() []byte
	// Clock is the core's; nil is session.SystemClock.
	Clock session.Clock
	// Log is told what nobody else is; nil is slog.Default.
	Log *slog.Logger
	// Metrics is told what the API server is told; nil where nobody wants to know.
	Metrics *metrics.Cluster

	// ProgressInterval is how often the progress of one session is written at most.
	ProgressInterval time.Duration
	// ProgressWritesPerSecond bounds what all sessions together write of progress. Results are
	// written at once and don't count.
	ProgressWritesPerSecond float64
	// HeartbeatInterval is how often the Lease is renewed, and LeaseDuration for how long.
	HeartbeatInterval, LeaseDuration time.Duration
	// SweepInterval is how often uploads without a session are looked for, and SweepGrace how
	// old they are at least.
	SweepInterval, SweepGrace time.Duration
}

// Cluster is the control plane as one dataplane replica sees it.
type Cluster struct {
	config  Config
	place   place
	manager manager.Manager
	live    client.WithWatch // no cache
	changes *changes
	owners  *owners
}

// New returns the cluster, and asks the API server nothing yet: that may be
// away for as long as it likes.
func New(c Config) (*Cluster, error) {
	c = c.withDefaults()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := coordinationv1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	api := rest.CopyConfig(c.API)
	if api.QPS == 0 {
		api.QPS = -1 // the API server's priority and fairness limits, and pace does
	}
	p := place{c.Namespace, c.Store, c.Replica}
	m, err := manager.New(api, managerOptions(c, p, scheme))
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	live, err := client.NewWithWatch(api, client.Options{HTTPClient: m.GetHTTPClient(), Scheme: scheme, Mapper: m.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("make the client: %w", err)
	}
	spacing := time.Duration(float64(time.Second) / c.ProgressWritesPerSecond)
	untold := newPending()
	c.Metrics.WatchPending(func() time.Duration { return untold.oldest(c.Clock.Now()) })
	return &Cluster{
		config: c, place: p, manager: m, live: live, owners: newOwners(c.Clock),
		changes: &changes{namespace: c.Namespace, clock: c.Clock, pace: newPace(c.ProgressInterval, spacing), pending: untold},
	}, nil
}

// Directory answers for sessions that are not known here. It may be used
// before Run, and concurrently.
func (c *Cluster) Directory() upload.Directory { return directory{c.place, c.live, c.owners} }

// Replicas tells where the other replicas of the store are. It may be used before Run,
// and concurrently.
func (c *Cluster) Replicas() *Replicas {
	return &Replicas{
		place: c.place, live: c.live, clock: c.config.Clock, owners: c.owners, liveness: liveness.NewObserver(c.config.Clock),
		endpoints: lru.NewLRUExpireCacheWithClock(maxReplicas, c.config.Clock),
	}
}

// Creator creates sessions for this dataplane's store. It may be used before
// Run, and concurrently.
func (c *Cluster) Creator() upload.Creator { return creator{c.place, c.live, c.config.Log} }

// Changed is for upload.Config.Changed. It may be called at any time and
// concurrently, and returns at once.
func (c *Cluster) Changed(name upload.Name) { c.changes.changed(name) }

// Run follows the sessions of this replica and reports on them until the
// context is done. The uploads are recovered by now, and endpoint is the base
// URL under which clients reach them. While the API server is away it tries
// again and again; an error means that Run could not begin. It is called once.
func (c *Cluster) Run(ctx context.Context, uploads *upload.Service, endpoint string) error {
	beat := &heartbeat{
		client: c.live, place: c.place, owner: c.config.StoreUID, holder: c.place.replica + "_" + string(uuid.NewUUID()), endpoint: endpoint, caBundle: c.config.CABundle,
		space: uploads.Space, clock: c.config.Clock, log: c.config.Log,
		interval: c.config.HeartbeatInterval, duration: c.config.LeaseDuration,
		retry: min(heartbeatPause, c.config.HeartbeatInterval), ends: make(chan struct{}, 1),
	}
	c.changes.follow(uploads, beat.ended)
	sweeper := &sweep{
		live: c.live, place: c.place, uploads: uploads, clock: c.config.Clock, log: c.config.Log, metrics: c.config.Metrics,
		interval: c.config.SweepInterval, grace: c.config.SweepGrace,
	}
	if err := c.watch(uploads); err != nil {
		return fmt.Errorf("watch the sessions: %w", err)
	}
	for _, run := range []manager.RunnableFunc{beat.run, sweeper.run, c.changes.callInTurn} {
		if err := c.manager.Add(run); err != nil {
			return err
		}
	}
	return c.manager.Start(ctx)
}

// watch makes the controller of the sessions.
func (c *Cluster) watch(uploads *upload.Service) error {
	ctl, err := controller.New("uploadsession", c.manager, controller.Options{
		Reconciler: &sessions{
			place: c.place, cached: c.manager.GetClient(), live: c.live, uploads: uploads,
			pace: c.changes.pace, pending: c.changes.pending, metrics: c.config.Metrics,
			clock: c.config.Clock, log: c.config.Log,
		},
		MaxConcurrentReconciles: workers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
		// An API server that is away is no reason to stop serving what the volume holds.
		CacheSyncTimeout: math.MaxInt64,
		// One process may serve several volumes.
		SkipNameValidation: ptr.To(true),
	})
	if err != nil {
		return err
	}
	follow := &handler.TypedEnqueueRequestForObject[*v1alpha1.UploadSession]{}
	if err := ctl.Watch(source.Kind(c.manager.GetCache(), &v1alpha1.UploadSession{}, follow)); err != nil {
		return err
	}
	return ctl.Watch(c.changes)
}

// managerOptions restricts what is watched to the sessions of one replica.
func managerOptions(c Config, p place, scheme *runtime.Scheme) manager.Options {
	return manager.Options{
		Scheme: scheme,
		// The two kinds are known; to discover them would take an API server that answers.
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return mapper(), nil },
		Logger:         logr.FromSlogHandler(c.Log.Handler()),
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{p.namespace: {}},
			DefaultTransform:  cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&v1alpha1.UploadSession{}: {Field: fields.SelectorFromSet(fields.Set{
					v1alpha1.SelectStore: p.store, selectReplica: p.replica,
				})},
			},
		},
		// Without it a session would be read as it was before the last write, and written again.
		Client:                 client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: ptr.To(true)}},
		Metrics:                server.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
	}
}

// selectReplica is the selectable field of an UploadSession that names its replica.
const selectReplica = "status.admission.replica"

func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{v1alpha1.GroupVersion, coordinationv1.SchemeGroupVersion})
	m.Add(v1alpha1.GroupVersion.WithKind("UploadSession"), meta.RESTScopeNamespace)
	m.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	return m
}

func (c Config) withDefaults() Config {
	if c.Clock == nil {
		c.Clock = session.SystemClock{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewCluster(nil)
	}
	if c.ProgressWritesPerSecond == 0 {
		c.ProgressWritesPerSecond = DefaultProgressWritesPerSecond
	}
	for value, byDefault := range map[*time.Duration]time.Duration{
		&c.ProgressInterval:  DefaultProgressInterval,
		&c.HeartbeatInterval: DefaultHeartbeatInterval,
		&c.LeaseDuration:     DefaultLeaseDuration,
		&c.SweepInterval:     DefaultSweepInterval,
		&c.SweepGrace:        DefaultSweepGrace,
	} {
		if *value == 0 {
			*value = byDefault
		}
	}
	return c
}
