package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// CheckLoopback refuses an address that is not one of the loopback interface, and returns it
// resolved, so that it is not resolved again to another one. Empty stays empty.
func CheckLoopback(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return "", err
	}
	if !resolved.IP.IsLoopback() {
		return "", fmt.Errorf("%q is not a loopback address, such as 127.0.0.1:6060: profiles tell what is in memory, to whoever asks", address)
	}
	return resolved.String(), nil
}

// ListenForProfiles opens the port of profiles on an address that CheckLoopback
// returned; nil where that is empty.
func ListenForProfiles(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // without an address there is none
	}
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", address)
}

// ServeProfiles serves /debug/pprof/ until the context is done; without a listener it does nothing.
func ServeProfiles(ctx context.Context, listener net.Listener, log *slog.Logger) {
	if listener == nil {
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // a profile may be cut short
	defer stop()
	log.Info("profiles are served", "address", listener.Addr().String())
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Warn("profiles are not served any more", "error", err)
	}
}
