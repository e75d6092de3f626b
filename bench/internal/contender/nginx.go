package contender

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-dev/slipway/bench/internal/client"
	"github.com/slipway-dev/slipway/bench/internal/load"
	"github.com/slipway-dev/slipway/bench/internal/proc"
)

// nginxConfig has one process a core, the body written in large pieces to the
// filesystem where the object will be, and no log. The user is nobody's
// business: the benchmark's own, or root's where it is root.
const nginxConfig = `daemon off;
worker_processes auto;
pid %[1]s/pid;
error_log stderr error;
%[3]s
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  client_body_temp_path %[1]s/temporary;
  proxy_temp_path %[1]s/unused-proxy;
  fastcgi_temp_path %[1]s/unused-fastcgi;
  uwsgi_temp_path %[1]s/unused-uwsgi;
  scgi_temp_path %[1]s/unused-scgi;
  server {
    listen %[2]s;
    location / { root %[1]s/objects; dav_methods PUT; dav_access user:rw; }
  }
}
`

// Nginx returns nginx as a WebDAV server.
func Nginx(binary, version string) Contender {
	return Contender{
		ID: "nginx", Title: "nginx, WebDAV PUT", Version: version, Synced: "no", Verified: "no",
		Note: "never syncs, computes no checksum, can't resume; one process a core, bodies written in pieces of 1 MiB",
		Start: func(ctx context.Context, dir string) (Server, error) {
			if err := os.MkdirAll(filepath.Join(dir, "objects"), 0o755); err != nil {
				return nil, err
			}
			user := ""
			if os.Geteuid() == 0 {
				user = "user root root;"
			}
			config := filepath.Join(dir, "nginx.conf")
			b, err := newBase(ctx, "nginx", dir, func(address string) proc.Spec {
				_ = os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, address, user), 0o600) // nginx says what is wrong
				return proc.Spec{Command: []string{binary, "-p", dir, "-c", config, "-e", "stderr"}}
			})
			if err != nil {
				return nil, err
			}
			return &nginx{b}, nil
		},
	}
}

type nginx struct{ base }

// Prepare has nothing to do.
func (n *nginx) Prepare(context.Context, []load.Object) error { return nil }

// Put sends the object in one request.
func (n *nginx) Put(ctx context.Context, o load.Object) (time.Duration, error) {
	reply, err := n.call(ctx, client.Request{
		Method: http.MethodPut, Path: "/" + o.Name, Body: o, Length: o.Size(),
	}, http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return 0, err
	}
	return reply.Done.Sub(reply.Sent), nil
}

// Path is where the object lies.
func (n *nginx) Path(o load.Object) string { return filepath.Join(n.dir, "objects", o.Name) }
