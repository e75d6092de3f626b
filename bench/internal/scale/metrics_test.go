package scale

import (
	"strings"
	"testing"
)

func TestWritesAreCountedByGroupAndOperation(t *testing.T) {
	families, err := parse(strings.NewReader(`# TYPE etcd_requests_total counter
etcd_requests_total{group="uploads.slipway.dev",operation="create",resource="uploadsessions"} 10
etcd_requests_total{group="uploads.slipway.dev",operation="update",resource="uploadsessions"} 20
etcd_requests_total{group="uploads.slipway.dev",operation="delete",resource="uploadsessions"} 5
etcd_requests_total{group="uploads.slipway.dev",operation="get",resource="uploadsessions"} 1000
etcd_requests_total{group="uploads.slipway.dev",operation="update",resource="uploadstores"} 1000
etcd_requests_total{group="example.com",operation="update",resource="uploadsessions"} 1000
`))
	if err != nil {
		t.Fatal(err)
	}
	if got := countEtcd(families, "uploadsessions"); got != 35 {
		t.Errorf("got %d", got)
	}
}
