package heartbeat

import (
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/slipway-dev/slipway/api/v1alpha1"
)

// FuzzRead: a Lease is what anybody wrote who may write Leases. What is taken
// of it is a place that clients can be sent to, as the API server has it in a
// status, and numbers that are no less than nothing and mean what was written.
func FuzzRead(f *testing.F) {
	for _, seed := range []struct{ name, endpoint, capacity, available string }{
		{"slipway-models-0", "http://10.0.0.1:8080", "100", "50"},
		{"slipway-models-0", "https://models-0.models.ml.svc", "0", "0"},
		{"slipway-", "http://h", "1", "1"},
		{"other", "http://h", "1", "1"},
		{"slipway-a", "", "", ""},
		{"slipway-a", "http://h#x", "1", "1"},
		{"slipway-a", "http://h?x", "1", "1"},
		{"slipway-a", "http://user:password@h", "1", "1"},
		{"slipway-a", "javascript://h/%0aalert(1)", "1", "1"},
		{"slipway-a", "file:///etc/passwd", "1", "1"},
		{"slipway-a", "http://:80", "1", "1"},
		{"slipway-a", "http://h\n", "1", "1"},
		{"slipway-a", "http://h/" + strings.Repeat("a", 512), "1", "1"},
		{"slipway-a", "http://[::1]:1", "-1", "1"},
		{"slipway-a", "http://h", "9223372036854775808", "1"},
		{"slipway-a", "http://h", "+1", "01"},
		{"slipway-a", "http://h", "1", "1e3"},
		{"slipway-a", strings.Repeat("a", 40_000), "1", "1"},
		{"slipway-a", strings.Repeat("\x00\u202e", 10_000), "1", "1"},
		{"slipway-a", "http://h", strings.Repeat("9", 40_000), "1"},
		{"slipway-a", "http://h", "1", strings.Repeat("\n", 40_000)},
		{strings.Repeat("a", 253), "http://h", "1", "1"},
	} {
		f.Add(seed.name, seed.endpoint, seed.capacity, seed.available)
	}
	f.Fuzz(func(t *testing.T, name, endpoint, capacity, available string) {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			v1alpha1.EndpointAnnotation: endpoint, v1alpha1.CapacityBytesAnnotation: capacity, v1alpha1.AvailableBytesAnnotation: available,
		}}}
		report, err := Read(lease)
		if err != nil {
			// The API server lets no longer name be.
			if len(name) <= 253 && len(err.Error()) > MaxErrorBytes {
				t.Errorf("%d bytes tell what is wrong", len(err.Error()))
			}
			if !reflect.DeepEqual(report, Report{}) {
				t.Errorf("%v, and %+v", err, report)
			}
			return
		}
		if LeaseName(report.Replica.Name) != name || report.Replica.Endpoint != endpoint {
			t.Errorf("%q at %q reads as %+v", name, endpoint, report.Replica)
		}
		u, err := url.ParseRequestURI(endpoint)
		if err != nil || !strings.HasPrefix(u.Scheme, "http") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || len(endpoint) > 512 {
			t.Errorf("no client can be sent to %q: %+v, %v", endpoint, u, err)
		}
		if strings.ContainsAny(endpoint, "\r\n\x00# ") {
			t.Errorf("%q is no endpoint", endpoint)
		}
		for _, n := range []struct {
			written string
			read    int64
		}{{capacity, report.CapacityBytes}, {available, report.AvailableBytes}} {
			if want, err := strconv.ParseInt(n.written, 10, 64); err != nil || n.read != want || want < 0 {
				t.Errorf("%q reads as %d", n.written, n.read)
			}
		}
	})
}
