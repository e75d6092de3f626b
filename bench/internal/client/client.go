// Package client is an HTTP/1.1 client that costs as little as a client can,
// because it runs on the cores of the server that is measured: bodies go from
// memory to the socket in large writes, and headers are written by hand. It
// notes when the last byte was sent and when the reply was there.
package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// writeBytes is how much is handed to the kernel at once.
const writeBytes = 1 << 20

// maxReply bounds the body of a reply in bytes.
const maxReply = 4 << 20

// keepFor is how long a connection is kept without use: less than any of the servers keeps one, for
// what is sent on a connection that the server has just closed is lost, and is not sent again.
const keepFor = 20 * time.Second

// patience is how long a request may take in all.
const patience = 5 * time.Minute

// Body is bytes to send.
type Body interface {
	// At returns bytes from an offset on, at least one and at most limit.
	At(offset, limit int64) []byte
}

// Request is one request. Its fields are written as they are.
type Request struct {
	Method, Path string
	Header       [][2]string
	// Body is sent from Offset on, Length bytes of it.
	Body           Body
	Offset, Length int64
}

// Reply is what came back.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	// Sent is when the last byte was handed to the kernel, Done when the reply was read.
	Sent, Done time.Time
}

// Want returns an error where the status is none of those.
func (r *Reply) Want(statuses ...int) error {
	for _, s := range statuses {
		if r.Status == s {
			return nil
		}
	}
	return fmt.Errorf("replied %d: %s", r.Status, strings.TrimSpace(string(r.Body[:min(len(r.Body), 500)])))
}

// Pool is the connections to one server. It may be used concurrently.
type Pool struct {
	address string
	keepFor time.Duration

	mu   sync.Mutex
	idle []*connection
}

type connection struct {
	net.Conn
	reader *bufio.Reader
	used   time.Time // last
}

// NewPool returns a pool without connections to host:port.
func NewPool(address string) *Pool { return &Pool{address: address, keepFor: keepFor} }

// Close closes the idle connections.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		_ = c.Close() // nothing is on its way
	}
	p.idle = nil
}

// Do sends a request and reads the reply. It never sends one twice.
func (p *Pool) Do(ctx context.Context, r Request) (*Reply, error) {
	c, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	reply, keep, err := c.do(p.address, r)
	if err != nil || !keep {
		_ = c.Close() // what went wrong is known, or the server closes too
	} else {
		c.used = time.Now()
		p.mu.Lock()
		p.idle = append(p.idle, c)
		p.mu.Unlock()
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	return reply, nil
}

func (p *Pool) take(ctx context.Context) (*connection, error) {
	p.mu.Lock()
	n := len(p.idle)
	// The last one is the one that was used last: where it is too old all are.
	old := n > 0 && time.Since(p.idle[n-1].used) >= p.keepFor
	if n > 0 && !old {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	if old {
		p.Close()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn, reader: bufio.NewReader(conn)}, nil
}

func (c *connection) do(host string, r Request) (_ *Reply, keep bool, err error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, false, err
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, host)
	for _, field := range r.Header {
		fmt.Fprintf(&head, "%s: %s\r\n", field[0], field[1])
	}
	if r.Body != nil || r.Method == http.MethodPost || r.Method == http.MethodPut {
		fmt.Fprintf(&head, "Content-Length: %d\r\n", r.Length)
	}
	head.WriteString("\r\n")
	broken := c.send([]byte(head.String()), r)
	sent := time.Now()
	// A server that refuses a body says why and may not read it.
	response, err := http.ReadResponse(c.reader, &http.Request{Method: r.Method})
	if err != nil {
		return nil, false, errors.Join(broken, err)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, false, err
	}
	return &Reply{
		Status: response.StatusCode, Header: response.Header, Body: body, Sent: sent, Done: time.Now(),
	}, broken == nil && !response.Close, nil
}

// send sends the head, with the body in the same write where that is small.
func (c *connection) send(head []byte, r Request) error {
	next, left := r.Offset, r.Length
	if r.Body != nil && left > 0 && left <= writeBytes {
		if whole := r.Body.At(next, left); int64(len(whole)) == left {
			buffers := net.Buffers{head, whole}
			_, err := buffers.WriteTo(c.Conn)
			return err
		}
	}
	if _, err := c.Write(head); err != nil {
		return err
	}
	for left > 0 {
		n, err := c.Write(r.Body.At(next, min(left, writeBytes)))
		if err != nil {
			return err
		}
		next, left = next+int64(n), left-int64(n)
	}
	return nil
}

// Text is a small body.
type Text string

// At returns the text from an offset on.
func (t Text) At(offset, limit int64) []byte {
	return []byte(t[offset:min(offset+limit, int64(len(t)))])
}
