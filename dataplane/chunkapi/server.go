package chunkapi

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"
)

// Limits of the server. A chunk and its answer may take any time, as long as
// bytes move: the handler sees to that, so there is no ReadTimeout and no WriteTimeout.
const (
	readHeaderTimeout = 10 * time.Second
	keepAliveTimeout  = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// NewServer returns a server for the handler that New returns, or for one in
// front of it, that logs to log (nil is slog.Default).
//
// It speaks HTTP/1.1 and, where a TLS handshake agrees on it, HTTP/2: see http2.go.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler: tellingWhoAsks(handler),
		// The handler answers OPTIONS * too: nothing goes past it.
		DisableGeneralOptionsHandler: true,
		Protocols:                    protocols,
		HTTP2:                        overHTTP2(),
		ReadHeaderTimeout:            readHeaderTimeout,
		IdleTimeout:                  keepAliveTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		ErrorLog:                     slog.NewLogLogger(cmp.Or(log, slog.Default()).Handler(), slog.LevelWarn),
	}
}
