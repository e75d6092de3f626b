package door

import (
	"container/list"
	"context"
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
// together with its ConnState, its ConnContext and, for HTTP/2, its TLS. Methods may be called concurrently.
type Door struct {
	net.Listener
	bounds Bounds

	mu     sync.Mutex
	change sync.Cond // somebody left, or may give way, or the door was closed
	closed bool
	open   int
	http2  int
	// Every connection is in one of these two, of *conn, but those on which somebody is served who was let in. Of
	// each the first one gives way first, and of those who were turned away all do before the others.
	turnedAway list.List
	strangers  list.List
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
	among *list.List    // those with whom it gives way, or nil
	place *list.Element // its place there
	letIn int           // requests under way whose callers were let in
	http2 bool
	left  bool
}

// Accept lets the next one in. Where as many are open as may be, one that gives way is closed: of those
// whose last request was turned away the longest waiting, else of those on which nobody was let in. Where
// somebody is served on all, Accept waits, and whoever comes meanwhile waits in the kernel's queue.
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
		first := d.turnedAway.Front()
		if first == nil {
			first = d.strangers.Front()
		}
		if first == nil {
			d.change.Wait()
			continue
		}
		gone := first.Value.(*conn) //nolint:errcheck // the lists hold nothing else
		d.leave(gone)
		_ = gone.Conn.Close() // whoever is there dials again
	}
	if d.closed {
		return false
	}
	d.open++
	d.givesWay(c, &d.strangers)
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
	d.stays(c)
	d.change.Broadcast()
}

// stays takes a connection from those that give way. The lock is held.
func (d *Door) stays(c *conn) {
	if c.among != nil {
		c.among.Remove(c.place)
		c.among, c.place = nil, nil
	}
}

// givesWay makes a connection the last one of those. The lock is held.
func (d *Door) givesWay(c *conn, among *list.List) {
	d.stays(c)
	c.among, c.place = among, among.PushBack(c)
	d.change.Broadcast()
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

// ConnState is for http.Server: who asks for something, or has got a reply to all of it, gives way after
// those who did before.
func (d *Door) ConnState(served net.Conn, state http.ConnState) {
	c := cameIn(served)
	if c == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case c.left:
	case state == http.StateIdle, state == http.StateActive && c.letIn == 0:
		d.givesWay(c, &d.strangers)
	}
}

// connKey is under which the context of a request has its *conn.
type connKey struct{}

// ConnContext is for http.Server: it tells LetIn and TurnAway on which connection a request came.
func (d *Door) ConnContext(ctx context.Context, served net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, cameIn(served))
}

// LetIn is told, with the context of a request, that it is known who sent it. Their connection stays until
// served is called, once, and it falls silent.
func (d *Door) LetIn(request context.Context) (served func()) {
	c, _ := request.Value(connKey{}).(*conn)
	if c == nil {
		return func() {}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c.letIn++
	d.stays(c)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		c.letIn-- // it stays all the same until the server calls it idle: the reply is on its way
	}
}

// TurnAway is told, with the context of a request, that it was refused, and that all that is still done
// for it is to get the reply through. Its connection gives way first, unless others on it were let in and
// are not served yet.
func (d *Door) TurnAway(request context.Context) {
	c, _ := request.Value(connKey{}).(*conn)
	if c == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.letIn == 0 && !c.left {
		d.givesWay(c, &d.turnedAway)
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

// cameIn returns what came in through a door, which TLS and others may be around; nil where it did not.
func cameIn(served net.Conn) *conn {
	for {
		around, ok := served.(interface{ NetConn() net.Conn })
		if !ok {
			c, _ := served.(*conn)
			return c
		}
		served = around.NetConn()
	}
}
