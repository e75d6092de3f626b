package cluster_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// wire is the line between a dataplane and the API server, which can be cut.
type wire struct {
	t      *testing.T
	server string
	local  string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]struct{}
	running  sync.WaitGroup
}

// newWire returns a wire that holds, and a way to the API server through it.
func newWire(t *testing.T, api *rest.Config) (*wire, *rest.Config) {
	t.Helper()
	u, err := url.Parse(api.Host)
	if err != nil {
		t.Fatal(err)
	}
	if u.Host == "" { // without a scheme
		u = &url.URL{Scheme: "https", Host: api.Host}
	}
	w := &wire{t: t, server: u.Host, local: "127.0.0.1:0"}
	w.mend()
	t.Cleanup(w.cut)
	through := rest.CopyConfig(api)
	through.Host = u.Scheme + "://" + w.local
	return w, through
}

// mend makes the wire hold again.
func (w *wire) mend() {
	w.t.Helper()
	listener, err := net.Listen("tcp", w.local)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.local, w.listener, w.open = listener.Addr().String(), listener, map[net.Conn]struct{}{}
	w.running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", w.server)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.join(near, far)
		}
	})
}

func (w *wire) join(near, far net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener == nil { // cut meanwhile
		_, _ = near.Close(), far.Close()
		return
	}
	for from, to := range map[net.Conn]net.Conn{near: far, far: near} {
		w.open[from] = struct{}{}
		w.running.Go(func() {
			_, _ = io.Copy(to, from)
			_, _ = to.Close(), from.Close()
		})
	}
}

// cut closes every connection and refuses new ones until the wire is mended.
func (w *wire) cut() {
	w.mu.Lock()
	if w.listener != nil {
		_ = w.listener.Close()
	}
	w.listener = nil
	for conn := range w.open {
		_ = conn.Close()
	}
	w.mu.Unlock()
	w.running.Wait()
}
