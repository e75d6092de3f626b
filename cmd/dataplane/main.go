// Command dataplane runs one replica of an UploadStore: it takes chunks, keeps
// them on a volume, publishes objects there, and reports to the UploadSessions.
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
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/slipway-dev/slipway/telemetry"
)

// version is set when the program is linked.
var version = "dev"

func main() {
	var o options
	o.register(flag.CommandLine)
	flag.Parse()
	if err := o.complete(os.Hostname); err != nil {
		fmt.Fprintf(os.Stderr, "dataplane: refuses to start:\n%v\n", err)
		os.Exit(2)
	}
	handler := telemetry.Handler(o.handler(os.Stderr))
	log := slog.New(handler)
	slog.SetDefault(log)
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	klog.SetSlogLogger(log)

	if err := run(ctrl.SetupSignalHandler(), o, log); err != nil {
		log.Error("the dataplane stopped", "error", err)
		os.Exit(1)
	}
}

// run serves until the context is done and what is in flight has ended.
func run(ctx context.Context, o options, log *slog.Logger) (err error) {
	traces, err := telemetry.OpenTraces(ctx, "slipway-dataplane", version, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traces.Close()) }()
	api, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	d, err := open(o, api, traces, log)
	if err != nil {
		return err
	}
	defer d.close()
	return d.serve(ctx)
}
