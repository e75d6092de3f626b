package network

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A few bytes every now and then: often enough that nobody is idle.
const (
	fewBytes = 2
	everyNow = 500 * time.Millisecond
)

// hostile are clients of one kind that hold what they get for as long as they are let, and come again at once.
type hostile struct {
	// figure is what is counted of them.
	figure string
	// hold sends the request of the n-th one, and holds what it gets. It reports whether that was taken from it.
	hold func(h *hostile, n int, conn *net.TCPConn, replies *bufio.Reader) (ended bool)

	address        string
	t              *testing.T
	holding, ended atomic.Int64
	running        sync.WaitGroup
}

// come begins with so many clients, until the context is done.
func (h *hostile) come(ctx context.Context, clients int) {
	h.address = strings.TrimPrefix(h.address, "http://")
	for n := range clients {
		h.running.Go(func() {
			for ctx.Err() == nil {
				h.once(ctx, n)
				select {
				case <-ctx.Done():
				case <-time.After(everyNow / 10):
				}
			}
		})
	}
}

// once is a connection from its beginning to its end.
func (h *hostile) once(ctx context.Context, n int) {
	var dialer net.Dialer
	dialed, err := dialer.DialContext(ctx, "tcp", h.address)
	if err != nil {
		return
	}
	conn := dialed.(*net.TCPConn)                                           //nolint:errcheck // it is of TCP
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })             // whoever holds it, ends
	defer func() { stop(); _ = conn.Close() }()                             // it is over either way
	if err := conn.SetReadBuffer(4 << 10); err != nil && ctx.Err() == nil { // what the kernel takes is not trickled
		h.t.Error(err)
	}
	if h.hold(h, n, conn, bufio.NewReader(conn)) && ctx.Err() == nil {
		h.ended.Add(1)
	}
}

// holds counts the client among those that have what they want, until it is called back.
func (h *hostile) holds() (noMore func()) {
	h.holding.Add(1)
	return func() { h.holding.Add(-1) }
}

// trickle sends bytes for as long as the connection takes them.
func trickle(conn io.Writer) {
	for {
		if _, err := conn.Write(make([]byte, fewBytes)); err != nil {
			return
		}
		time.Sleep(everyNow)
	}
}

// replyOf reads a reply; nil where none comes.
func replyOf(replies *bufio.Reader) *http.Response {
	response, err := http.ReadResponse(replies, nil)
	if err != nil {
		return nil
	}
	return response
}
