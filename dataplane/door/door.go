package door

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
)

// DefaultMaxConnections is how many connections a door lets in unless it is told otherwise.
const DefaultMaxConnections = 2048

// Bounds are those of a Door. All are positive.
type Bounds struct {
	// Connections may be open at once.
	Connections int
	// HTTP2 of them may speak HTTP/2. Whoever comes beyond that is offered HTTP/1.1 alone.
	HTTP2 int
}

// Door is a listener whose connections are bounded. Give it to a server
// together with its ConnState and, for HTTP/2, its TLS. Methods may be called concurrently.
type Door struct {
	net.Listener
	bounds Bounds

	mu     sync.Mutex
	change sync.Cond // somebody left, or fell silent, or the door was closed
	closed bool
	open   int
	http2  int
	silent list.List // of *conn: nobody asks for anything on them; the longest silent first
}

// New returns the door of a listener.
func New(listener net.Listener, b Bounds) *Door {
	d := &Door{Listener: listener, bounds: b}
	d.change.L = &d.mu
	return d
}

// conn is a connection that came in. Its fields are the door's, under its lock.
type conn struct {
	net.Conn
	door  *Door
	place *list.Element // among the silent, or nil
	http2 bool
	left  bool
}

// Accept lets the next one in. Where as many are open as may be, the
// longest silent is closed; where none is silent, Accept waits, and whoever
// comes meanwhile waits in the kernel's queue.
func (d *Door) Accept() (net.Conn, error) {
	accepted, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, door: d}
	if !d.admit(c) {
		_ = accepted.Close() // it was promised nothing
		return nil, net.ErrClosed
	}
	return c, nil
}

// admit counts a connection in once there is room, and reports whether the door is open still.
func (d *Door) admit(c *conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.open >= d.bounds.Connections && !d.closed {
		longest := d.silent.Front()
		if longest == nil {
			d.change.Wait()
			continue
		}
		gone := longest.Value.(*conn) //nolint:errcheck // the list holds nothing else
		d.leave(gone)
		_ = gone.Conn.Close() // whoever is there dials again
	}
	if d.closed {
		return false
	}
	d.open++
	c.place = d.silent.PushBack(c)
	return true
}

// leave counts a connection out, once. The lock is held.
func (d *Door) leave(c *conn) {
	if c.left {
		return
	}
	c.left = true
	d.open--
	if c.http2 {
		d.http2--
	}
	d.speaks(c)
	d.change.Broadcast()
}

// speaks takes a connection from the silent. The lock is held.
func (d *Door) speaks(c *conn) {
	if c.place != nil {
		d.silent.Remove(c.place)
		c.place = nil
	}
}

// Close lets nobody in any more. Those who are in stay.
func (d *Door) Close() error {
	d.mu.Lock()
	d.closed = true
	d.change.Broadcast()
	d.mu.Unlock()
	return d.Listener.Close()
}

// Close closes the connection.
func (c *conn) Close() error {
	c.door.mu.Lock()
	c.door.leave(c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite says that nothing more is sent, as net/http does where it wants the last reply read.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// ConnState is for http.Server: a connection is silent until the header of a
// request is read, and again after the reply.
func (d *Door) ConnState(served net.Conn, state http.ConnState) {
	c := cameIn(served)
	if c == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case c.left:
	case state == http.StateActive:
		d.speaks(c)
	case state == http.StateIdle && c.place == nil:
		c.place = d.silent.PushBack(c)
		d.change.Broadcast()
	}
}

// TLS returns a configuration that offers what this one does, and HTTP/2 before HTTP/1.1 only
// while there is room for it.
func (d *Door) TLS(config *tls.Config) *tls.Config {
	full, offered := config.Clone(), config.Clone()
	full.NextProtos = []string{protocolHTTP1}
	offered.NextProtos = []string{protocolHTTP2, protocolHTTP1}
	offered.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, protocolHTTP2) && !d.takeHTTP2(cameIn(hello.Conn)) {
			return full, nil
		}
		return nil, nil // as it is offered
	}
	return offered
}

// The protocols as TLS names them.
const (
	protocolHTTP1 = "http/1.1"
	protocolHTTP2 = "h2"
)

// takeHTTP2 reports whether a connection may speak HTTP/2; then it counts until it is closed.
func (d *Door) takeHTTP2(c *conn) bool {
	if c == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.left || d.http2 >= d.bounds.HTTP2 {
		return false
	}
	d.http2++
	c.http2 = true
	return true
}

// cameIn returns what came in through a door, which TLS may be around; nil where it did not.
func cameIn(served net.Conn) *conn {
	if secured, ok := served.(*tls.Conn); ok {
		served = secured.NetConn()
	}
	c, _ := served.(*conn)
	return c
}
