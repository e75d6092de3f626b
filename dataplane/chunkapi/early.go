package chunkapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Serve serves whoever comes through a listener until the server is closed, over TLS where there is a config, whose
// NextProtos say what is offered. Like http.Server's own it returns an error always, and http.ErrServerClosed
// after a Shutdown or Close. Call it once, with a server that is whole: it puts itself before the handler and
// the hooks, which get connections whose NetConn leads to those of the listener.
//
// A request that is no HTTP never gets to a handler: net/http answers it itself, in plain text. Such a
// reply is whatever is written over HTTP/1.1 before a handler began, and here it becomes a problem like all
// others. What is written from then on until the connection is idle again is the handler's, and goes out as it is.
func Serve(server *http.Server, listener net.Listener, config *tls.Config) error {
	handler, inContext, onState := server.Handler, server.ConnContext, server.ConnState
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && c != nil {
			c.handled.Store(true)
		}
		handler.ServeHTTP(w, r)
	})
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if inContext != nil {
			ctx = inContext(ctx, c)
		}
		return context.WithValue(ctx, connectionKey{}, connectionOf(c))
	}
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if watched := connectionOf(c); watched != nil && state == http.StateIdle {
			watched.handled.Store(false)
		}
		if onState != nil {
			onState(c, state)
		}
	}
	if config == nil {
		return server.Serve(plain{listener})
	}
	server.TLSConfig = config.Clone() // by which the server sees whether HTTP/2 is offered; it changes it
	return server.Serve(shakeHands(server, listener, config))
}

// plain is a listener without TLS.
type plain struct{ net.Listener }

// Accept accepts.
func (p plain) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &connection{Conn: c}, nil
}

// connection is one that speaks HTTP/1.1. It is written to by one at a time.
type connection struct {
	net.Conn
	handled atomic.Bool // a handler has begun with the request
	refused bool
}

// connectionKey is under which the context of a request has its *connection, nil over HTTP/2.
type connectionKey struct{}

func connectionOf(c net.Conn) *connection {
	switch c := c.(type) {
	case *connection:
		return c
	case *securedConnection:
		return c.connection
	default:
		return nil
	}
}

// NetConn returns what the connection is made of.
func (c *connection) NetConn() net.Conn { return c.Conn }

// CloseWrite says that nothing more is sent, as net/http does where it wants the last reply read.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Write writes, and has a problem take the place of a reply that is no handler's, after which the connection ends.
func (c *connection) Write(p []byte) (int, error) {
	if c.handled.Load() {
		return c.Conn.Write(p)
	}
	if c.refused {
		return len(p), nil // more of a reply that has been replaced
	}
	k, detail, ok := early(p)
	if !ok {
		return c.Conn.Write(p)
	}
	c.refused = true
	if err := writeEarly(c.Conn, k, detail); err != nil {
		return 0, err
	}
	return len(p), nil
}

// early says what a reply of net/http becomes. It knows a reply by its status alone; what follows the colon
// in the first line says what is wrong, in words of net/http's own.
func early(reply []byte) (k kind, detail string, ok bool) {
	line, _, _ := strings.Cut(string(reply[:min(len(reply), 256)]), "\r\n")
	version, rest, _ := strings.Cut(line, " ")
	status, reason, _ := strings.Cut(rest, " ")
	code, err := strconv.Atoi(status)
	if err != nil || !strings.HasPrefix(version, "HTTP/1.") {
		return kind{}, "", false
	}
	_, detail, _ = strings.Cut(reason, ": ")
	for _, c := range []Code{
		CodeMalformedRequest, CodeExpectationFailed, CodeHeaderTooLarge,
		CodeUnsupportedTransferCoding, CodeUnsupportedVersion,
	} {
		if k := kindWith(c); k.status == code {
			return k, detail, true
		}
	}
	return kind{}, "", false
}

// writeEarly writes a problem as the last reply on a connection. It has no request to speak of: no id, no path.
func writeEarly(w io.Writer, k kind, detail string) error {
	var body, reply bytes.Buffer
	if err := json.NewEncoder(&body).Encode(k.problem(detail)); err != nil { // plain structs always encode
		panic(err)
	}
	r := http.Response{
		StatusCode: k.status, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		ContentLength: int64(body.Len()), Body: io.NopCloser(&body),
		Header: http.Header{
			"Cache-Control": {"no-store"}, "Content-Type": {problemType}, "X-Content-Type-Options": {"nosniff"},
			"Date": {time.Now().UTC().Format(http.TimeFormat)},
		},
	}
	if err := r.Write(&reply); err != nil { // to memory
		panic(err)
	}
	_, err := w.Write(reply.Bytes())
	return err
}
