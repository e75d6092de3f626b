package network

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/slipway-dev/slipway/dataplane/auth/ticket"
	"github.com/slipway-dev/slipway/test/crash/rig"
)

// strangersTo take every connection that they get with a request that is refused, whose body has begun and goes on
// with a few bytes: half of them have a ticket that nobody made, and half ask for what there is not.
func strangersTo(t *testing.T, p *place, s *rig.Session) *hostile {
	t.Helper()
	refused := []struct {
		path, header string
		want         int
	}{
		{rig.ChunkPath(0), "Authorization: Bearer " + ticket.Prefix + "made.up.ticket\r\n", http.StatusUnauthorized},
		{"/nothing", "", http.StatusNotFound},
	}
	return &hostile{t: t, figure: "strangers_turned_away", address: p.Dataplane.URL(), hold: func(
		h *hostile, n int, conn *net.TCPConn, replies *bufio.Reader,
	) bool {
		request := refused[n%len(refused)]
		const announced = 100_000 // which net/http would read on to the end
		_, _ = fmt.Fprintf(conn, "PUT %s%s HTTP/1.1\r\nHost: dataplane\r\n%sContent-Length: %d\r\n\r\nit has begun",
			p.World.Path(s), request.path, request.header, announced)
		defer h.holds()()
		h.running.Go(func() { trickle(conn) })
		response := replyOf(replies) //nolint:bodyclose // it is the connection's, which is closed
		if response != nil && response.StatusCode != request.want {
			t.Errorf("a stranger got %s, not %d", response.Status, request.want)
		}
		_, _ = io.Copy(io.Discard, replies) // until it is closed
		return true
	}}
}
