package network

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Position is a place in a request or its reply.
type Position int

// The positions, in order.
const (
	BeforeHeaders Position = iota
	InHeaders
	AfterHeaders
	FirstByte
	Middle
	LastByte    // all but the last byte of the body has passed
	BeforeReply // all of the request has passed, nothing of the reply
	InReply
	Nowhere // everything passes
)

// String names the position.
func (p Position) String() string {
	return [...]string{
		"before the headers", "in the headers", "after the headers", "after the first byte", "in the middle",
		"before the last byte", "before the reply", "in the reply", "nowhere",
	}[p]
}

// Manner is what happens at the position.
type Manner int

// The manners.
const (
	// Close closes the connection on both sides.
	Close Manner = iota
	// Reset resets it.
	Reset
	// Stall lets nothing more of the request pass until Resume; the reply passes.
	Stall
)

// String names the manner.
func (m Manner) String() string { return [...]string{"closed", "reset", "stalled"}[m] }

// Fault is what happens to every connection through a proxy. One request is
// sent on each.
type Fault struct {
	At  Position
	How Manner
	// Pieces makes the body pass in so many pieces with a Pause before each; 0 lets it through.
	Pieces int
	Pause  time.Duration
	// Twice sends each request on two connections; the client gets the first one's reply.
	Twice bool
}

// inReply is after how many bytes of the reply InReply is: within its status line.
const inReply = 5

// Proxy passes connections on to a server and breaks them.
type Proxy struct {
	// Acted is closed when the fault has happened first.
	Acted chan struct{}
	// Seconds gets the status of the reply to the second one of a request that is sent twice; 0
	// where none came.
	Seconds chan int

	target   string
	fault    Fault
	listener net.Listener
	resumed  chan struct{}
	resume   sync.Once
	acted    sync.Once
	running  sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn
	done bool
}

// NewProxy is a proxy to an address. The caller closes it.
func NewProxy(target string, fault Fault) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		Acted: make(chan struct{}), Seconds: make(chan int, 1), target: target, fault: fault, listener: listener, resumed: make(chan struct{}),
	}
	p.running.Go(p.accept)
	return p, nil
}

// Address is where the proxy listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Resume lets what is stalled go on.
func (p *Proxy) Resume() { p.resume.Do(func() { close(p.resumed) }) }

// Close ends the proxy and all its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close() // it ends either way
	p.mu.Lock()
	p.done = true
	for _, conn := range p.open {
		_ = conn.Close() // it may be closed already
	}
	p.mu.Unlock()
	p.Resume()
	p.running.Wait()
}

// hold makes Close close the connection; false where that was called already.
func (p *Proxy) hold(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		_ = conn.Close() // nobody else has it
		return false
	}
	p.open = append(p.open, conn)
	return true
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = near.Close() // the client sees it
			continue
		}
		if !p.hold(near) || !p.hold(far) {
			return
		}
		c := &passage{proxy: p, near: near.(*net.TCPConn), far: far.(*net.TCPConn)} //nolint:errcheck // both are of TCP
		p.running.Go(c.request)
		p.running.Go(c.reply)
	}
}

// passage is one connection through the proxy.
type passage struct {
	proxy     *Proxy
	near, far *net.TCPConn
}

// request passes the request on, as far as the fault lets it.
func (c *passage) request() {
	fault := c.proxy.fault
	head, body, length, err := readHead(c.near)
	if err != nil {
		return
	}
	if fault.Twice {
		c.twice(head, body, length)
		return
	}
	switch fault.At {
	case BeforeHeaders:
		if !c.act() {
			return
		}
	case InHeaders:
		half := len(head) / 2
		if _, err := c.far.Write(head[:half]); err != nil || !c.act() {
			return
		}
		head = head[half:]
	}
	if _, err := c.far.Write(head); err != nil {
		return
	}
	before, cut := map[Position]int64{AfterHeaders: 0, FirstByte: min(1, length), Middle: length / 2, LastByte: max(0, length-1)}[fault.At]
	if cut {
		if _, err := io.CopyN(c.far, body, before); err != nil || !c.act() {
			return
		}
		length -= before
	}
	if !c.trickle(body, length) {
		return
	}
	// A client that says that it sends no more is passed on too.
	if _, err := io.Copy(c.far, body); err == nil {
		_ = c.far.CloseWrite() // the reply tells whether it mattered
	}
}

// trickle passes the body on; false where it could not.
func (c *passage) trickle(body io.Reader, length int64) bool {
	pieces := int64(max(1, c.proxy.fault.Pieces))
	for i := range pieces {
		time.Sleep(c.proxy.fault.Pause)
		if _, err := io.CopyN(c.far, body, length*(i+1)/pieces-length*i/pieces); err != nil {
			return false
		}
	}
	return true
}

// twice sends the whole request on two connections at once.
func (c *passage) twice(head []byte, body io.Reader, length int64) {
	whole := bytes.NewBuffer(head)
	if _, err := io.CopyN(whole, body, length); err != nil {
		return
	}
	other, err := net.Dial("tcp", c.proxy.target)
	if err != nil || !c.proxy.hold(other) {
		return
	}
	c.proxy.running.Go(func() { c.proxy.Seconds <- statusOf(other, whole.Bytes()) })
	_, _ = c.far.Write(whole.Bytes()) // the reply tells whether it arrived
}

// statusOf sends a request and returns the status of its reply.
func statusOf(conn net.Conn, request []byte) int {
	if _, err := conn.Write(request); err != nil {
		return 0
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_ = response.Body.Close() // only the status counts
	return response.StatusCode
}

// reply passes the reply on, as far as the fault lets it.
func (c *passage) reply() {
	if c.proxy.fault.At == BeforeReply || c.proxy.fault.At == InReply {
		first := make([]byte, inReply)
		if _, err := io.ReadFull(c.far, first); err != nil {
			return
		}
		if c.proxy.fault.At == InReply {
			_, _ = c.near.Write(first) // it is cut anyway
		}
		if !c.act() {
			return
		}
	}
	_, err := io.Copy(c.near, c.far)
	if err == nil || !errors.Is(err, net.ErrClosed) {
		_ = c.near.Close() // the server has closed it, or it is broken
		_ = c.far.Close()
	}
}

// act does what the fault says; true where the connection goes on.
func (c *passage) act() bool {
	c.proxy.acted.Do(func() { close(c.proxy.Acted) })
	switch c.proxy.fault.How {
	case Stall:
		<-c.proxy.resumed
		return true
	case Reset:
		_ = c.far.SetLinger(0) // a close is no reset, but a cut too
		_ = c.near.SetLinger(0)
	case Close:
	}
	_ = c.far.Close() // it is cut either way
	_ = c.near.Close()
	return false
}

// readHead reads the headers of one request, and tells how long its body is.
func readHead(conn net.Conn) (head []byte, body io.Reader, length int64, err error) {
	var read bytes.Buffer
	block := make([]byte, 4<<10)
	for {
		n, err := conn.Read(block)
		if err != nil {
			return nil, nil, 0, err
		}
		read.Write(block[:n])
		end := bytes.Index(read.Bytes(), []byte("\r\n\r\n"))
		if end < 0 {
			continue
		}
		end += len("\r\n\r\n")
		head := bytes.Clone(read.Bytes()[:end])
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			return nil, nil, 0, err
		}
		return head, io.MultiReader(bytes.NewReader(read.Bytes()[end:]), conn), max(0, request.ContentLength), nil
	}
}
