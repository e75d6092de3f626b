package chunkapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"slices"
	"time"
)

// securedConnection is one that speaks HTTP/1.1 over TLS.
type securedConnection struct {
	*connection
	secured *tls.Conn
}

// ConnectionState is for net/http, which tells handlers of it.
func (c *securedConnection) ConnectionState() tls.ConnectionState { return c.secured.ConnectionState() }

// handshakes is a listener whose connections have agreed on a protocol. net/http would do that itself, and
// then speaks HTTP/2 with a *tls.Conn and with nothing that is around one. So they agree before: those on HTTP/2 are a
// *tls.Conn, all others a *securedConnection.
type handshakes struct {
	net.Listener
	config  *tls.Config
	timeout time.Duration
	log     *log.Logger
	done    chan accepted
	ctx     context.Context //nolint:containedctx // of the listener: until it is closed
	cancel  context.CancelFunc
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// shakeHands returns a listener that must be closed. A handshake may take as long as a header.
func shakeHands(server *http.Server, listener net.Listener, config *tls.Config) *handshakes {
	h := &handshakes{
		Listener: listener, config: config, timeout: cmp.Or(server.ReadHeaderTimeout, readHeaderTimeout),
		log: cmp.Or(server.ErrorLog, log.Default()), done: make(chan accepted),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	go h.run()
	return h
}

// Accept returns a connection whose handshake is done.
func (h *handshakes) Accept() (net.Conn, error) {
	select {
	case a := <-h.done:
		return a.conn, a.err
	case <-h.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close closes the listener, and the connections that it has not returned.
func (h *handshakes) Close() error {
	h.cancel()
	return h.Listener.Close()
}

// run accepts until the listener is closed. How many shake hands at once the listener bounds.
func (h *handshakes) run() {
	for {
		c, err := h.Listener.Accept()
		switch {
		case err == nil:
			go h.shake(c)
		case !h.deliver(accepted{err: err}): // who takes it decides how long to wait
			return
		}
	}
}

// deliver reports whether somebody took it; nobody does once the listener is closed.
func (h *handshakes) deliver(a accepted) bool {
	select {
	case h.done <- a:
		return true
	case <-h.ctx.Done():
		return false
	}
}

// shake agrees with a client on a protocol.
func (h *handshakes) shake(c net.Conn) {
	ctx, cancel := context.WithTimeout(h.ctx, h.timeout)
	defer cancel()
	secured := tls.Server(c, h.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		if speaksPlainly(err) {
			_ = c.SetWriteDeadline(time.Now().Add(h.timeout))
			_ = writeEarly(c, kindWith(CodeTLSRequired), "") // who does not take it has lost nothing
		}
		_ = c.Close() // nothing was said on it
		h.log.Printf("http: TLS handshake error from %s: %v", c.RemoteAddr(), err)
		return
	}
	var agreed net.Conn = secured
	if secured.ConnectionState().NegotiatedProtocol != "h2" {
		agreed = &securedConnection{connection: &connection{Conn: secured}, secured: secured}
	}
	if !h.deliver(accepted{conn: agreed}) {
		_ = c.Close() // no request came yet
	}
}

// speaksPlainly reports whether a handshake failed since the client speaks HTTP without TLS.
func speaksPlainly(err error) bool {
	no, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || no.Conn == nil {
		return false
	}
	begins := []string{"GET /", "HEAD ", "POST ", "PUT /", "DELET", "OPTIO", "PATCH"}
	return slices.Contains(begins, string(no.RecordHeader[:]))
}
