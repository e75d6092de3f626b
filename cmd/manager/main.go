// Command manager runs the operator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/slipway-dev/slipway/controllers"
	managedstore "github.com/slipway-dev/slipway/controllers/managed"
	"github.com/slipway-dev/slipway/telemetry"
)

// version is set when the program is linked.
var version = "dev"

// options are what the flags set. The flag --kubeconfig is controller-runtime's own.
type options struct {
	namespace               string
	metricsAddress          string
	metricsSecure           bool
	healthAddress           string
	pprofAddress            string
	leaderElect             bool
	leaderElectionNamespace string
	dataplane               managedstore.Options
	logLevel                slog.Level
	webhook                 webhookOptions
}

func main() {
	var o options
	flag.StringVar(&o.namespace, "namespace", "", "the only namespace to look after; all namespaces when empty")
	flag.StringVar(&o.metricsAddress, "metrics-bind-address", "127.0.0.1:8080", "where metrics are served; 0 for nowhere")
	flag.BoolVar(&o.metricsSecure, "metrics-secure", false,
		"serve metrics over TLS, to whoever has a token and the right to get the path /metrics; otherwise over plain HTTP, to everybody")
	flag.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served; 0 for nowhere")
	flag.StringVar(&o.pprofAddress, "pprof-address", "", "where /debug/pprof/ is served over plain HTTP, a loopback address; nowhere when empty")
	flag.BoolVar(&o.leaderElect, "leader-elect", true, "let only the leader work, so that several managers can run")
	flag.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "",
		"where the leader's Lease is kept; the manager's own namespace when empty, which only a Pod has")
	flag.StringVar(&o.dataplane.Image, "dataplane-image", "slipway-dataplane:dev", "the image of the dataplane, in a Managed store that names none and in a sidecar that is injected")
	flag.StringVar(&o.dataplane.Role, "dataplane-role", managedstore.DefaultRole,
		"the ClusterRole with what a dataplane may do in its namespace, which the manager must be let bind")
	flag.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "the least level that is logged: DEBUG, INFO, WARN or ERROR")
	o.webhook.register(flag.CommandLine)
	flag.Parse()
	var err error
	if o.pprofAddress, err = telemetry.CheckLoopback(o.pprofAddress); err != nil {
		fmt.Fprintf(os.Stderr, "manager: refuses to start:\n--pprof-address can't be used: %v\n", err)
		os.Exit(2)
	}

	if err := limitMemory(); err != nil {
		fmt.Fprintf(os.Stderr, "manager: refuses to start:\n%v\n", err)
		os.Exit(2)
	}

	handler := telemetry.Handler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: o.logLevel}))
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	log := slog.New(handler)
	klog.SetSlogLogger(log)

	if err := run(ctrl.SetupSignalHandler(), o, log); err != nil {
		log.Error("the manager stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, log *slog.Logger) (err error) {
	traces, err := telemetry.OpenTraces(ctx, "slipway-manager", version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traces.Close()) }()
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	managed, err := controllers.ManagerOptions()
	if err != nil {
		return err
	}
	if o.namespace != "" {
		managed.Cache.DefaultNamespaces = map[string]cache.Config{o.namespace: {}}
	}
	managed.Metrics = o.metrics()
	managed.HealthProbeBindAddress = o.healthAddress
	managed.PprofBindAddress = o.pprofAddress
	managed.LeaderElection = o.leaderElect
	managed.LeaderElectionID = "slipway-operator"
	managed.LeaderElectionNamespace = o.leaderElectionNamespace
	// The process ends with the manager, so the next leader need not wait for the Lease to run out.
	managed.LeaderElectionReleaseOnCancel = true

	mgr, err := ctrl.NewManager(config, managed)
	if err != nil {
		return fmt.Errorf("create the manager: %w", err)
	}
	if err := controllers.SetupWithManager(ctx, mgr, clock.RealClock{}, o.namespace, o.dataplane, metrics.Registry); err != nil {
		return err
	}
	if err := o.webhook.setup(mgr, o.dataplane.Image); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add the health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add the readiness check: %w", err)
	}
	return mgr.Start(ctx)
}
