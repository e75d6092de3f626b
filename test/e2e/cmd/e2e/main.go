// Command e2e is the entrypoint of the image that the end-to-end suite runs in the cluster.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/slipway-dev/slipway/test/e2e/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := agent.Main(ctx, os.Args[1:]); err != nil {
		slog.Error("the agent failed", "error", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}
