package client

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A connection is used again, but not one that the server may have closed by now.
func TestOldConnectionsAreNotUsed(t *testing.T) {
	for name, test := range map[string]struct {
		keepFor     time.Duration
		connections int64
	}{
		"young": {time.Hour, 1},
		"old":   {0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int64
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
			server.Start()
			defer server.Close()
			pool := NewPool(strings.TrimPrefix(server.URL, "http://"))
			defer pool.Close()
			pool.keepFor = test.keepFor
			for range 3 {
				reply, err := pool.Do(t.Context(), Request{Method: http.MethodGet, Path: "/"})
				if err != nil {
					t.Fatal(err)
				}
				if err := reply.Want(http.StatusNotFound); err != nil {
					t.Fatal(err)
				}
			}
			if n := connections.Load(); n != test.connections {
				t.Errorf("%d connections were made, want %d", n, test.connections)
			}
		})
	}
}
