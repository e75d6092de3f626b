package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/minio/crc64nvme"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/slipway-dev/slipway/dataplane/auth"
	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/dataplane/cluster"
	"github.com/slipway-dev/slipway/dataplane/door"
	"github.com/slipway-dev/slipway/dataplane/session"
	"github.com/slipway-dev/slipway/dataplane/sink/file"
	"github.com/slipway-dev/slipway/dataplane/upload"
	"github.com/slipway-dev/slipway/telemetry"
)

// dataplane is everything that runs, wired.
type dataplane struct {
	options options
	log     *slog.Logger

	meters  meters
	sink    *file.Sink
	core    *session.Service
	uploads *upload.Service
	cluster *cluster.Cluster
	health  health
	tickets tickets

	gate     auth.Gate
	identity identity

	chunks net.Listener
	probes net.Listener
	// profiles is nil where nobody wants them.
	profiles net.Listener

	traces telemetry.Traces

	// writing is whether requests were cut short and may still be writing.
	writing bool
}

// open opens the volume for this process alone and listens, so that what can't
// work is refused before a byte moves. Nothing is served yet.
func open(o options, api *rest.Config, traces telemetry.Traces, log *slog.Logger) (_ *dataplane, err error) {
	d := &dataplane{options: o, log: log, traces: traces, meters: newMeters()}
	d.health.metrics = d.meters.handler()
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.sink, err = file.Open(o.root, o.volume()); err != nil {
		return nil, err
	}
	d.health.failed = d.sink.Failed
	if d.tickets, err = openTickets(o, log); err != nil {
		return nil, err
	}
	if d.gate, err = openGate(o, api, log); err != nil {
		return nil, err
	}
	if d.identity, err = openIdentity(o.tlsDir, log); err != nil {
		return nil, err
	}
	d.meters.follow(d.identity)
	if d.cluster, err = cluster.New(cluster.Config{
		API: api, Namespace: o.namespace, Store: o.store, StoreUID: types.UID(o.storeUID), Replica: o.replica, Log: log,
		ProgressWritesPerSecond: o.progressWritesPerSecond, CABundle: d.identity.bundle,
		Metrics: d.meters.Cluster,
	}); err != nil {
		return nil, err
	}
	volume := d.volume()
	d.core = session.NewService(session.Config{Sink: volume, Checksum: crc64nvme.New})
	d.uploads = upload.NewService(upload.Config{
		Core: d.core, Publisher: volume, Derelicts: d.sink, Directory: d.cluster.Directory(), Log: log,
		Changed: d.cluster.Changed, Ended: d.meters.ended,
	})
	if d.chunks, err = net.Listen("tcp", o.listen); err != nil {
		return nil, err
	}
	if d.probes, err = net.Listen("tcp", o.healthAddress); err != nil {
		return nil, err
	}
	if d.profiles, err = telemetry.ListenForProfiles(context.Background(), o.pprofAddress); err != nil {
		return nil, err
	}
	return d, nil
}

// serve recovers the volume, serves it, and only then follows the API server,
// which may be away.
func (d *dataplane) serve(ctx context.Context) error {
	// What goes on beside the requests ends after them, so that how an upload ended while they
	// were drained is still reported.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 3)
	probes := d.health.server()
	defer func() { _ = probes.Close() }() // a probe may be cut short
	go func() { failed <- serveHTTP(probes, d.probes) }()

	switch err := d.recover(ctx); {
	case err != nil && ctx.Err() != nil:
		return nil // told to stop before there was anything to serve
	case err != nil:
		return err
	}
	if d.options.insecureNoAuth {
		d.log.Warn("INSECURE: clients are not authenticated; whoever reaches this address reads and writes every session",
			"address", d.chunks.Addr().String())
	}
	d.log.Info("dataplane started", "version", version, "volume", d.options.root, "sessions", len(d.uploads.All()),
		"address", d.chunks.Addr().String(), "endpoint", d.endpoint(), "health", d.probes.Addr().String(),
		"namespace", d.options.namespace, "store", d.options.store, "replica", d.options.replica)

	stopping := make(chan struct{})
	entrance := door.New(d.chunks, door.Bounds{
		Connections: d.options.maxConnections, HTTP2: min(d.options.maxConcurrentChunks, d.options.maxConnections),
	})
	forwarder := d.openForwarder()
	defer forwarder.Close()
	config := chunkapi.Config{
		Uploads: d.uploads, Creator: d.cluster.Creator(), Log: d.log, Stopping: stopping,
		MaxConcurrentChunks: d.options.maxConcurrentChunks, MaxConcurrentChunksPerSession: d.options.maxConcurrentChunksPerSession,
		Endpoint: d.endpoint(), Gate: d.gate, Metrics: d.meters.HTTP, Forwarder: forwarder,
		Entrance: entrance, MaxReaders: d.options.maxConnections / 2,
		Store: upload.Name{Namespace: d.options.namespace, Name: d.options.store},
	}
	d.tickets.join(&config)
	requests := chunkapi.NewServer(d.traced(d.options.allow(chunkapi.New(config))), d.log)
	go func() { failed <- d.identity.serve(requests, entrance) }()
	d.health.ready.Store(true)

	tended := make(chan struct{})
	go func() { defer close(tended); d.uploads.Run(background) }()
	go d.tickets.run(background)
	go telemetry.ServeProfiles(background, d.profiles, d.log)
	go d.identity.run(background)
	followed := make(chan error, 1)
	go func() { followed <- d.cluster.Run(background, d.uploads, d.endpoint()) }()

	var err error
	select {
	case <-ctx.Done():
		d.log.Info("told to stop, waiting for what is in flight", "grace", d.options.shutdownGrace)
	case err = <-failed:
	case err = <-followed:
		followed <- nil
	}
	d.health.ready.Store(false)
	close(stopping)
	d.drain(requests)
	stop()
	<-tended
	return errors.Join(err, <-followed)
}

// recover takes up what is on the volume. A session that can't be read stays
// as it is, and is no reason to refuse the others. A volume that can't be read is: clients would
// be told that their sessions hold nothing.
func (d *dataplane) recover(ctx context.Context) error {
	began := time.Now()
	err := d.uploads.Recover(ctx)
	if errors.Is(err, session.ErrVolume) {
		return fmt.Errorf("refuses to serve %s: %w", d.options.root, err)
	}
	if err != nil {
		d.log.Error("some sessions on the volume can't be read", "error", err)
	}
	d.meters.recovered(d.core, time.Since(began))
	return nil
}

// drain refuses new connections and waits for the requests in flight, for as
// long as the grace lasts.
func (d *dataplane) drain(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), d.options.shutdownGrace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		d.log.Warn("requests were still in flight at the end of the grace; their chunks don't count", "error", err)
		_ = server.Close() // there is nothing more to do for them
		d.writing = true
	}
}

// close lets go of what open took. What was acknowledged is durable already.
func (d *dataplane) close() {
	if d.uploads != nil {
		d.uploads.Close()
	}
	for _, listener := range []net.Listener{d.chunks, d.probes, d.profiles} {
		if listener != nil {
			_ = listener.Close() // its server has closed it, if there was one
		}
	}
	// The volume is not let go of under a writer's hands; the end of the process does that.
	if d.sink != nil && !d.writing {
		if err := d.sink.Close(); err != nil {
			d.log.Warn("the volume was not closed cleanly", "error", err)
		}
	}
}

// endpoint is the base URL under which clients reach this replica.
func (d *dataplane) endpoint() string {
	if d.options.advertiseURL != "" {
		return d.options.advertiseURL
	}
	return d.identity.scheme() + "://" + d.chunks.Addr().String()
}

func serveHTTP(server *http.Server, listener net.Listener) error {
	err := server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", listener.Addr(), err)
}
