package network

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/slipway-dev/slipway/dataplane/chunkapi"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// tricklingSenders hold every slot of a chunk, for sessions of their own.
func tricklingSenders(t *testing.T, p *place) *hostile {
	t.Helper()
	const each = chunkSlots // chunks of a session, of which it may send three quarters at once
	sessions := []*rig.Session{p.admitted(t, "trickled-a", each), p.admitted(t, "trickled-b", each)}
	return &hostile{t: t, figure: "trickling_senders_ended", address: p.Dataplane.URL(), hold: func(
		h *hostile, n int, conn *net.TCPConn, replies *bufio.Reader,
	) bool {
		path := p.World.Path(sessions[n/each%len(sessions)]) + rig.ChunkPath(n%each)
		const header = "PUT %s HTTP/1.1\r\nHost: dataplane\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
		_, _ = fmt.Fprintf(conn, header, path, chunkSize)
		response := replyOf(replies) //nolint:bodyclose // it is the connection's, which is closed
		if response == nil || response.StatusCode != http.StatusContinue {
			return false // it was not its turn
		}
		defer h.holds()()
		h.running.Go(func() { trickle(conn) })
		response = replyOf(replies) //nolint:bodyclose // it is the connection's, which is closed
		if response == nil {
			return false // it all ends
		}
		var problem chunkapi.Problem
		err := json.NewDecoder(response.Body).Decode(&problem)
		if problem.Code != chunkapi.CodeTooSlow {
			t.Errorf("who trickles a chunk got %d %s, %v", response.StatusCode, problem.Code, err)
		}
		return true
	}}
}

// tricklingReaders hold every slot of those who read, with an object of their own.
func tricklingReaders(t *testing.T, p *place) *hostile {
	t.Helper()
	const enough = 16 // chunks, more than kernels take in advance
	object := p.published(t, "trickled-c", enough)
	return &hostile{t: t, figure: "trickling_readers_ended", address: p.Dataplane.URL(), hold: func(
		h *hostile, _ int, conn *net.TCPConn, replies *bufio.Reader,
	) bool {
		_, _ = fmt.Fprintf(conn, "GET %s/content HTTP/1.1\r\nHost: dataplane\r\n\r\n", p.World.Path(object))
		response := replyOf(replies) //nolint:bodyclose // it is the connection's, which is closed
		if response == nil || response.StatusCode != http.StatusOK {
			return false // others hold the slots
		}
		defer h.holds()()
		// What is sent after the request is never read. It tells at once that the server has closed the connection: to
		// who only reads that is told once all was taken that the kernels have in store.
		for {
			_, gone := conn.Write(make([]byte, fewBytes))
			if _, err := io.CopyN(io.Discard, response.Body, fewBytes); err != nil || gone != nil {
				return true
			}
			time.Sleep(everyNow)
		}
	}}
}
